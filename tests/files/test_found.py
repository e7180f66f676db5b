"""Columns are found by what they are called, in every format alike; what is not certain is asked about."""

import datetime as dt
import decimal
import json

import numpy as np
import pyarrow as pa
import pytest
from reading import layout_of, read
from tables import TABLES, put

from lapsum_cli import DataError, OptionError, run_file
from lapsum_cli.api.operation import make_operation
from lapsum_cli.operations import OPERATIONS
from lapsum_cli.stream import Silent
from lapsum_cli.tables.roles import Names, is_result

X = [0.5, 2.5, 1.5]
QID = [7, 7, 8]


def score_in(folder, format, columns, names=None):
    layout, _ = layout_of(put(pa.table(columns), folder / f"in.{format}"), names=names)
    return layout.score


SCORES = [
    "score", "Score", "SCORES", "bm25_score", "bm25-score", "BM25 Score", "relevanceScore", "BM25Score", 
    "score.bm25.pred", "y_pred", "yPred", "click_prob", "predicted-probs", "model_logits", "cosine_sim", "Similarity",
]  # fmt: skip
NOT_SCORES = ["price", "underscore", "scored_at", "problem", "simple", "predator"]


@pytest.mark.parametrize("format", TABLES)
@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_found_by_its_name(tmp_path, format, name):
    assert score_in(tmp_path, format, {"qid": QID, name: X, "price": X}) == name
    assert score_in(tmp_path, format, {"qid": QID, name: [3, 1, 2], "price": X}) == name
    assert score_in(tmp_path, format, {"qid": QID, name: [True, False, True], "price": X}) == name


@pytest.mark.parametrize("format", TABLES)
@pytest.mark.parametrize("name", NOT_SCORES)
def test_a_number_of_another_name_is_asked_about(tmp_path, format, name):
    columns = {"qid": QID, name: X, "label": [1, 0, 2], "title": ["a", "b", "c"]}
    with pytest.raises(OptionError, match=f'"{name}" could be the score, but .*score="{name}"'):
        score_in(tmp_path, format, columns)
    with pytest.raises(OptionError, match=f'several columns could be the score: "{name}", "weight"'):
        score_in(tmp_path, format, {**columns, "weight": X})
    assert score_in(tmp_path, format, columns, Names(score=name)) == name


@pytest.mark.parametrize("format", TABLES)
def test_a_usual_name_comes_before_one_that_ends_like_it(tmp_path, format):
    assert score_in(tmp_path, format, {"old_score": X, "score": X}) == "score"
    assert score_in(tmp_path, format, {"score": ["a", "b", "c"], "bm25_score": X}) == "bm25_score"
    for columns in ({"score": X, "pred": X}, {"a_score": X, "b_score": X}):
        with pytest.raises(OptionError, match="several columns could be the score"):
            score_in(tmp_path, format, columns)
    assert score_in(tmp_path, format, {"label_score": X, "my_score": X}, Names(target="label_score")) == "my_score"


@pytest.mark.parametrize("format", TABLES)
def test_a_carried_column_with_such_a_name_stays_as_it_is(tmp_path, format):
    if format in ("csv", "tsv"):
        separator = "\t" if format == "tsv" else ","
        lines = ["score", "old_score", "pred_text"], ["1", "1.50", "x"], ["2", "007", "y"]
        (tmp_path / f"in.{format}").write_text("".join(separator.join(line) + "\n" for line in lines))
        assert read(tmp_path / f"in.{format}")["old_score"].to_pylist() == ["1.50", "007"]


@pytest.mark.parametrize("format", TABLES)
@pytest.mark.parametrize(
    "name", ["qid", "query_id", "query-id", "queryId", "Query ID", "QueryID", "userId", "session-id"]
)
def test_a_group_is_found_by_its_name(tmp_path, format, name):
    layout, said = layout_of(put(pa.table({name: QID, "score": X}), tmp_path / f"in.{format}"))
    assert layout.group == (name,)
    assert said == [f'scores from "score", grouped by "{name}"']


@pytest.mark.parametrize("name", ["docid", "doc-id", "DocId", "corpus-id", "corpus_id", "productId"])
def test_an_item_is_found_by_its_name(tmp_path, name):
    put(pa.table({"qid": QID, name: ["a", "b", "c"], "score": X}), tmp_path / "in.csv")
    run_file("permute", tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == f"qid,{name},position,probability"


MADE = [
    ("rank", {}, {"grad_alpha": True}),
    ("sort", {}, {"grad_alpha": True}),
    ("topk", {"k": "3"}, {"grad_alpha": True, "grad_k": True, "threshold": True}),
    ("topk", {"k": "3,10%"}, {"log": True}),
    ("quantile", {"q": "0.5"}, {"gradient": True, "grad_alpha": True, "grad_q": True}),
    ("quantile", {"q": "0.5,1"}, {}),
    ("permute", {}, {}),
    ("loss", {}, {"loss": "ndcg"}),
    ("loss", {}, {"loss": "ndcg", "gradient": True, "grad_alpha": True}),
]


@pytest.mark.parametrize(("name", "k", "options"), MADE)
def test_no_result_of_ours_is_a_candidate(name, k, options):
    is_loss, takes_upstream = name == "loss", "grad_alpha" in options and "gradient" not in options
    names = Names(target="label" if is_loss else None, upstream="up" if takes_upstream else None)
    made = make_operation(name, None, k.get("k"), names, q=k.get("q"), **options)
    for slot in made.gives:
        assert all(map(is_result, (slot.name, f"{slot.name}_s_1", f"{slot.name}_{slot.k or 10}")))


def test_every_operation_is_looked_at():
    assert {name for name, *_ in MADE} == set(OPERATIONS)


@pytest.mark.parametrize("format", TABLES)
def test_results_are_carried_past_detection(tmp_path, format):
    columns = {"soft_rank": X, "soft_topk_10": X, "log_soft_topk": X, "grad": X, "grad_alpha": X, "my_score": X}
    assert score_in(tmp_path, format, columns) == "my_score"
    with pytest.raises(DataError, match="no score column"):
        score_in(tmp_path, format, {"soft_rank": X})
    assert score_in(tmp_path, format, {"soft_rank": X}, Names(score="soft_rank")) == "soft_rank"


KINDS = {
    "bool": pa.array([True, False, True]),
    "int8": pa.array([1, 0, 1], pa.int8()),
    "uint64": pa.array([1, 0, 1], pa.uint64()),
    "decimal": pa.array([decimal.Decimal("1.0"), decimal.Decimal("0.0"), decimal.Decimal("1.0")], pa.decimal128(5, 1)),
    "float": pa.array([1.0, 0, 1]),
}


@pytest.mark.parametrize("format", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_targets_of_any_kind_of_number(tmp_path, kind, format):
    if format == "jsonl" and kind == "decimal":
        pytest.skip("JSON has no decimals")
    table = pa.table({"qid": [1, 1, 1], "score": KINDS[kind], "label": KINDS[kind], "x": X})
    put(table, tmp_path / f"in.{format}")
    run_file("rank", tmp_path / f"in.{format}", tmp_path / "out.jsonl", alpha=0.01)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([row["soft_rank"] for row in rows], [1.5, 3, 1.5])
    assert [float(row["score"]) for row in rows] == [1, 0, 1]
    run_file("loss", tmp_path / f"in.{format}", tmp_path / "loss.jsonl", loss="spearman", score="x", target="label")
    assert json.loads((tmp_path / "loss.jsonl").read_text())["loss"] > 0


def test_a_value_that_is_no_boolean_is_named(tmp_path):
    (tmp_path / "in.csv").write_text("score\n" + "true\nFalse\n" * 20_000 + "maybe\n")
    with pytest.raises(DataError, match="row 40001: column \"score\": invalid value 'maybe' after true and false"):
        read(tmp_path / "in.csv")


def test_a_value_that_is_no_number_is_named_by_its_row(tmp_path):
    (tmp_path / "in.csv").write_text("score\n" + "1\n" * 600_000 + "high\n1\n")
    with pytest.raises(
        DataError, match="row 600001: column \"score\": CSV conversion error to double: invalid value 'high'"
    ):
        read(tmp_path / "in.csv")


NEAR = {"sorce": "score", "SCORES": "score", "queryid": "query-id", "qurey_id": "query-id", "day": None}


@pytest.mark.parametrize("asked", NEAR)
def test_a_misspelt_column_suggests_the_nearest(tmp_path, asked):
    put(pa.table({"query-id": QID, "score": X}), tmp_path / "in.csv")
    with pytest.raises(OptionError) as refused:
        layout_of(tmp_path / "in.csv", names=Names(score=asked))
    assert f'no column "{asked}"' in str(refused.value)
    assert ("meant" in str(refused.value)) == (NEAR[asked] is not None)
    assert NEAR[asked] is None or f'; is "{NEAR[asked]}" meant?' in str(refused.value)


RUNS = [
    ({"session": ["a", "a", "b", "b"]}, ["session"]),
    ({"visit": [4, 4, 2, 2], "page": [1, 1, 1, 2]}, ["visit", "page"]),
    ({"day": [dt.date(2024, 1, 1)] * 2 + [dt.date(2024, 1, 2)] * 2}, ["day"]),
    ({"label": [1, 1, 0, 1]}, []),  # comes back
    ({"id": [1, 2, 3, 4]}, []),
    ({"constant": ["x"] * 4}, []),
    ({"price": [1.0, 1.0, 2.0, 2.0]}, []),
]


class Words(Silent):
    """Who keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, line):
        self.said.append(line)


@pytest.mark.parametrize(("columns", "found"), RUNS)
@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_runs_of_equal_values_are_named_where_no_group_is_known(tmp_path, columns, found, format):
    if format == "csv" and "price" in columns:
        pytest.skip("text does not say that it is floats")
    put(pa.table({**columns, "score": [1.0, 2, 3, 4]}), tmp_path / f"in.{format}")
    for group, expected in ((None, found), ([], [])):
        words = Words()
        run_file("rank", tmp_path / f"in.{format}", tmp_path / "out.csv", group=group, words=words, force=True)
        notes = [line for line in words.said if "stand together" in line]
        assert len(notes) == bool(expected)
        assert all(f'"{name}"' in notes[0] for name in expected)


FOREIGN = {
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0\0\3abc", "is compressed with gzip; .*gzip -dc"),
    "gzip without a zero": (b"\x1f\x8b\x08\x01\x01\x01\x01\x01\x01\3abc\xff", "gzip"),
    "zip": (b"PK\x03\x04\x14\0", "ZIP archive"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00", "zstd"),
    "sqlite": (b"SQLite format 3\0", "SQLite"),
    "utf-16": ("qid,score\n1,2\n".encode("utf-16"), "UTF-16; .*iconv|not recognised"),
    "array": (b'[{"score": 1},\n {"score": 2}]\n', "JSON array; .*jq"),
    "pretty array": (b'\xef\xbb\xbf\n[\n  {"score": 1}\n]\n', "JSON array; .*jq"),
    "letor": (b"2 qid:10 1:0.3 2:0.5 #docid = a\n1 qid:10 1:0.1 2:0.2\n", "LETOR lines"),
    "spaces": (b"q1 Q0 d1 1 3.5 run\nq1 Q0 d2 2 2.5 run\n", "separated by ' ': pass delimiter=\" \""),
    "semicolons": (b"qid;score\n1;2,5\n", "separated by ';': pass delimiter=\";\""),
    "bars": (b"qid|score\n1|2\n", r"separated by '\|'"),
    "no names": (b"1,2.5\n1,3.5\n", "no_header=True"),
}


@pytest.mark.parametrize("suffix", ["", ".csv"])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_none_of_ours_is_told(tmp_path, name, suffix):
    content, words = FOREIGN[name]
    if "array" in name:
        suffix = suffix and ".jsonl"
    if name == "utf-16" and suffix:
        words = "UTF-16; .*iconv"
    (tmp_path / f"in{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=words):
        layout_of(tmp_path / f"in{suffix}")


def test_words_that_begin_as_other_formats_do_are_text(tmp_path):
    for first in ("ORC", "BZh", "PK", "[id]", "{x"):
        (tmp_path / "in.csv").write_text(f"{first},score\na,1\n")
        assert read(tmp_path / "in.csv")[first].to_pylist() == ["a"]
