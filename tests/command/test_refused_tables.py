"""Columns, options and outputs that cannot be used: one line that names what and where, an exit code, and no file."""

import pytest
from commands import parquet, run

# Tables: the columns, options, exit code and words of the line.

NAN, INF = float("nan"), float("inf")
QID, SCORE = [7, 7, 7, 8, 8, 9], [3.0, 1.0, 2.0, 1.0, 2.0, 5.0]
TWO = {"qid": QID, "score": SCORE}
RETURNS = {"qid": [7, 7, 8, 8, 9, 7], "score": SCORE}
TABLES = [
    ({"qid": QID, "name": list("abcdef")}, "rank", 65, "no score column", '"qid", "name"', "--score"),
    ({"qid": QID, "x": SCORE, "y": SCORE}, "rank", 2, 'could be the score: "x", "y"', "--score"),
    ({"score": SCORE, "pred": SCORE}, "rank", 2, 'could be the score: "score", "pred"', "--score"),
    (TWO | {"user_id": QID}, "rank", 2, 'could be the group: "qid", "user_id"', "--group"),
    ({"qid": QID, "score": list("abcdef")}, "rank --score score", 65, '"score" has type string'),
    ({"qid": QID, "score": [1] * 5 + [2**60 + 1]}, "rank", 65, "row 6", '"score"', "no float64 holds: 11529215"),
    (TWO | {"n": [1] * 5 + [2**60 + 1]}, "topk --k-column n", 65, "row 6", '"n"', "no float64 holds: 11529215"),
    (TWO | {"n": [1] * 5 + [2**60]}, "topk --k-column n --strict-k", 65, "row 6", "k = 1.15292e+18"),
    ({"s1": SCORE, "s2": [SCORE] * 6}, "rank --columns s*", 65, 'column "s2" has type list'),
    ({"scores": [[SCORE]] * 2}, "rank", 65, 'column "scores" has type list'),
    (TWO, "rank --score sorce", 2, 'no column "sorce"', '"qid", "score"'),
    (TWO, "rank --group qid,day", 2, 'no column "day"'),
    (TWO, "rank --columns s_*", 2, "no column matches --columns 's_*'"),
    (TWO, "rank --columns score --group qid", 2, "--columns", "--group"),
    ({"scores": [[1.0], [2.0]], "id": [1, 2]}, "rank --group id", 2, '"scores" holds a ranking in each row', "--group"),
    (TWO | {"soft_rank": SCORE}, "rank --score score", 2, '"soft_rank" already', "--column"),
    (TWO | {"threshold": QID}, "topk --k 1 --threshold", 2, '"threshold" already'),
    (TWO, "topk --k 1 --threshold --column threshold", 2, "threshold"),
    ({"qid": QID, "score": [1.0, 1, NAN, 1, 1, 1]}, "rank", 65, "in.parquet, row 3", 'qid "7"', "NaN", "--nan"),
    ({"qid": QID, "score": [1, 1, 1, 1, None, 1.0]}, "rank", 65, "in.parquet, row 5", 'qid "8"', "null", "--nan"),
    ({"scores": [[1.0], [2.0, None]]}, "rank", 65, "in.parquet, row 2, score 2", "null"),
    ({"s1": [1.0, 2.0], "s2": [1.0, NAN]}, "rank --columns s*", 65, 'row 2, column "s2"', "NaN"),
    (TWO, "rank --nan skip", 2, "--nan", "error, last or drop", "skip"),
    (RETURNS, "rank", 65, "in.parquet, row 6", 'qid "7"', "appears again", 'sort by "qid"'),
    ({"qid": list("ppqqrp"), "score": SCORE}, "rank", 65, "row 6", 'qid "p"', "appears again"),
    (
        {"a": [1, 1, 1, 1, 2, 1], "b": [1, 1, 2, 2, 2, 1], "score": SCORE},
        "rank --group a,b",
        65,
        "row 6",
        'a "1", b "1"',
    ),
    (TWO, "topk --k 3 --strict-k", 65, "in.parquet, row 4", 'qid "8"', "k = 3"),
    (TWO, "topk", 2, "--k"),
    (TWO, "topk --k 1 --k-column qid", 2, "--k", "--k-column"),
    (TWO, "topk --k=-1", 2, "k must be 0 or more", "-1"),
    (TWO, "topk --k nan", 2, "k must be 0 or more", "nan"),
    (TWO, "topk --k inf", 2, "k must be 0 or more", "inf"),
    (TWO, "topk --k ten", 2, "k must be a number", "ten"),
    (TWO, "topk --k 101%", 2, "at most 100%", "101%"),
    (TWO, "topk --k 10,", 2, "k must be a number", "''"),
    (TWO, "topk --k 2,2", 2, "twice"),
    (TWO, "topk --k 1,2 --min 0.1", 2, "--min needs a single k"),
    (TWO, "topk --k 1 --min 1.5", 2, "--min", "1.5"),
    (TWO, "topk --k 1 --min nan", 2, "--min", "nan"),
    (TWO, "rank --base 2", 2, "base must be 0 or 1, got 2"),
    (TWO, "rank --alpha 0", 2, "alpha must be positive", "got 0"),
    (TWO, "rank --alpha=-1", 2, "alpha must be positive", "got -1"),
    (TWO, "rank --alpha nan", 2, "alpha must be positive", "got nan"),
    (TWO, "rank --alpha inf", 2, "alpha must be positive", "got inf"),
    (TWO, "rank --alpha 0std", 2, "alpha must be positive", "got 0"),
    (TWO, "rank --alpha soft", 2, "alpha must be a number", "'soft'"),
    (TWO, "rank --alpha 1sd", 2, "alpha must be a number", "'1sd'"),
    (TWO | {"a": SCORE}, "rank --alpha 1 --alpha-column a", 2, "--alpha and --alpha-column"),
    (TWO, "rank --alpha-column a", 2, 'no column "a"'),
    (TWO | {"a": [1.0] * 5 + [0.0]}, "rank --score score --alpha-column a", 65, "row 6", 'qid "9"', "alpha", "got 0"),
    (TWO | {"a": [1.0] * 5 + [NAN]}, "rank --score score --alpha-column a", 65, "row 6", 'qid "9"', "alpha", "got nan"),
    (TWO | {"a": [1.0, 1, 1, None, None, 1]}, "rank --score score --alpha-column a", 65, "row 4", 'qid "8"', "alpha"),
    (TWO | {"a": [1.0, 1, 2, 1, 1, 1]}, "rank --score score --alpha-column a", 65, "row 3", '"a" changes within'),
    (TWO | {"a": [1.0, 1, None, 1, 1, 1]}, "rank --score score --alpha-column a", 65, "row 3", '"a" changes within'),
    (TWO | {"a": list("abcdef")}, "rank --alpha-column a", 65, '"a" has type string'),
    (TWO | {"n": [1, 1, 1, 1, 1, -1]}, "topk --k-column n", 65, "row 6", 'qid "9"', "k must be 0 or more", "-1"),
    (TWO | {"n": [1, 1, 1, 1, 1, None]}, "topk --k-column n", 65, "row 6", 'qid "9"', "k must be"),
    (TWO | {"n": [1, 2, 1, 1, 1, 1]}, "topk --k-column n", 65, "row 2", '"n" changes within'),
    (TWO, "rank --memory 50MiB", 2, "--memory 50MiB is too little", "MiB"),
    (TWO, "rank --memory lots", 2, "--memory must be a size", "'lots'"),
    (TWO, "rank --memory=-1GiB", 2, "--memory"),
    (TWO, "rank --memory nan", 2, "--memory", "nan"),
    (TWO, "rank --from xlsx", 2, "--from xlsx: unknown format", "parquet"),
    (TWO, "rank --to xlsx", 2, "--to xlsx: unknown format", "parquet"),
]


@pytest.mark.parametrize(("columns", "command", "code", "words"), [(c, m, e, w) for c, m, e, *w in TABLES])
def test_a_table_or_an_option_that_cannot_be_used_is_named(lapsum, tmp_path, columns, command, code, words):
    parquet(tmp_path / "in.parquet", **columns)
    name, *options = command.split()
    got, line = lapsum(name, "in.parquet", "-o", "out.csv", *options)
    assert got == code, line
    assert all(word in line for word in words), line


OUTPUTS = [
    ("out.xlsx", 2, "out.xlsx: no format has the extension '.xlsx'", "--to"),
    ("out", 2, "out: no format has the extension", "--to"),
    ("there.csv", 73, "there.csv: exists already", "--force"),
    ("no/such/out.csv", 73, "no/such/out.csv", "directory", "does not exist"),
    ("there.csv/", 73, "there.csv/: is no directory"),
    ("none/folder/", 73, "none does not exist; make it first"),
]


@pytest.mark.parametrize(("sink", "code", "words"), [(sink, code, words) for sink, code, *words in OUTPUTS])
def test_an_output_that_cannot_be_made_is_named(lapsum, tmp_path, sink, code, words):
    parquet(tmp_path / "in.parquet", **TWO)
    (tmp_path / "there.csv").write_text("precious")
    for name in ([], ["--to", "csv"])[: 1 if code == 2 else 2]:
        got, line = lapsum("rank", "in.parquet", "-o", sink, *name)
        assert all(word in line for word in words), line
        assert got == code


def test_an_existing_output_survives_a_failed_run_even_with_force(lapsum, tmp_path):
    parquet(tmp_path / "in.parquet", qid=QID, score=[*SCORE[:-1], NAN])
    (tmp_path / "there.csv").write_text("precious")
    code, line = lapsum("rank", "in.parquet", "-o", "there.csv", "--force")
    assert (code, "NaN" in line) == (65, True)
    assert (tmp_path / "there.csv").read_text() == "precious"


def test_force_replaces_an_existing_output(tmp_path):
    parquet(tmp_path / "in.parquet", **TWO)
    (tmp_path / "there.csv").write_text("old")
    assert run("rank", "in.parquet", "-o", "there.csv", "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "there.csv").read_text().startswith("qid,score,soft_rank\n7,")


def test_several_inputs_are_told_apart_in_a_message(lapsum, tmp_path):
    parquet(tmp_path / "a.parquet", **TWO)
    parquet(tmp_path / "b.parquet", qid=[10, 10], score=[1.0, NAN])
    code, line = lapsum("rank", "a.parquet", "b.parquet", "-o", "out.csv")
    assert (code, "b.parquet, row 2" in line) == (65, True), line


def test_standard_input_is_read_once(lapsum):
    code, line = lapsum("rank", "-", "-", "-o", "out.csv")
    assert code == 2
    assert "standard input" in line
