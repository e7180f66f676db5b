"""Rows of text: whatever ends them, however fields are quoted, and however long they are, every field comes whole."""

import csv
import io
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import read, through_a_pipe
from tables import put

from lapsum_cli import DataError, OptionError, run_file
from lapsum_cli.formats import text
from lapsum_cli.formats.dialect import Dialect
from lapsum_cli.formats.quotes import Rows
from lapsum_cli.tables.roles import Names

ENDS = ["\n", "\r\n", "\r"]
NO_SCORE = Names(columns="none")


def fields(table: pa.Table) -> list[list[str]]:
    return [table.column_names, *(list(row.values()) for row in table.to_pylist())]


# A field of CSV: what is meant, and ways to write it.
PLAIN = st.text("ab 5é", max_size=4)
STRAY = st.sampled_from(['5" tall', 'a"b"c', " 'x'", '6""'])  # quotes that a field does not begin with are text
QUOTED = st.text('a,"\n\r;é', max_size=5)


@st.composite
def csv_files(draw):
    """A header and rows of as many fields, and the same as text, whose lines end anyhow."""
    width = draw(st.integers(2, 4))
    rows, lines = [], []
    for number in range(draw(st.integers(1, 12))):
        row, line = [], []
        for column in range(width):
            how = draw(st.sampled_from([PLAIN, STRAY, QUOTED])) if number else PLAIN
            value = draw(how) + (f"-{column}" if number == 0 else "")
            row.append(value)
            line.append(
                '"' + value.replace('"', '""') + '"'
                if how is QUOTED or (draw(st.booleans()) and how is PLAIN)
                else value
            )
        rows.append(row)
        lines.append(",".join(line) + draw(st.sampled_from(ENDS)))
    if draw(st.booleans()):
        lines[-1] = lines[-1].rstrip("\r\n") if not lines[-1].endswith('"') else lines[-1]
    return rows, "".join(lines).encode()


@given(made=csv_files(), block=st.sampled_from([7, 40, 1 << 20]))
def test_every_field_of_a_csv_comes_whole(tmp_path_factory, made, block):
    rows, content = made
    path = tmp_path_factory.mktemp("csv") / "in.csv"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        assert fields(read(path, names=NO_SCORE)) == rows


@given(
    rows=st.lists(
        st.lists(st.text("a\",\\é '", min_size=1, max_size=5), min_size=3, max_size=3), min_size=1, max_size=9
    ),
    end=st.sampled_from(ENDS),
    block=st.sampled_from([5, 1 << 20]),
)
def test_every_field_of_a_tsv_is_what_stands_between_tabs(tmp_path_factory, rows, end, block):
    path = tmp_path_factory.mktemp("tsv") / "in.tsv"
    rows = [["a", "b", "c"], *rows]
    path.write_bytes("".join("\t".join(row) + end for row in rows).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        assert fields(read(path, names=NO_SCORE)) == rows


@pytest.mark.parametrize(("as_a_pipe", "end"), [*((False, end) for end in ENDS), (False, "mixed"), (True, "mixed")])
@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl"])
def test_any_line_end_at_any_size(tmp_path, format, as_a_pipe, end):
    """More than 2^24 bytes, which was where a file of carriage returns was cut, and pieces that split line ends."""
    count = 400_000
    line = {"csv": "{0},{0:040d}", "tsv": "{0}\t{0:040d}", "jsonl": '{{"score": {0}, "id": "{0:040d}"}}'}[format]
    ends = itertools.cycle(ENDS if end == "mixed" else [end])
    head = [] if format == "jsonl" else ["score,id".replace(",", "\t" if format == "tsv" else ",")]
    content = "".join(row + next(ends) for row in (*head, *(line.format(i) for i in range(count)))).encode()
    assert len(content) > 1 << 24
    if as_a_pipe:
        table = through_a_pipe(content, (65536, 1, 4095), format=format)
    else:
        (tmp_path / f"in.{format}").write_bytes(content)
        table = read(tmp_path / f"in.{format}")
    assert table["score"].to_numpy().tolist() == list(range(count))
    assert table["id"][-1].as_py() == f"{count - 1:040d}"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("blanks", [(), (0,), (1, 2), (5,), (0, 3, 4, 5)], ids=str)
def test_a_blank_line_of_one_column_is_a_null_score(tmp_path, blanks, end):
    values = ["" if i in blanks else str(i / 2) for i in range(6)]
    for format in ("csv", "tsv"):
        path = tmp_path / f"in.{format}"
        path.write_text("score" + end + "".join(value + end for value in values), newline="")
        want = [float(value) if value else None for value in values]
        assert read(path)["score"].to_pylist() == want
        path.write_text("".join(value + end for value in values), newline="")
        assert read(path, names=Names(score="1"), no_header=True)["1"].to_pylist() == want


def test_results_of_one_column_line_up_with_it(tmp_path):
    (tmp_path / "in.csv").write_text("score\n3\n\n1\n\n")
    with pytest.raises(DataError, match="row 2: the score is NaN or null"):
        run_file("rank", tmp_path / "in.csv", tmp_path / "out.csv")
    run_file("rank", tmp_path / "in.csv", tmp_path / "out.csv", nan="drop", alpha=0.01)
    assert (tmp_path / "out.csv").read_text() == "score,soft_rank\n3,1\n,\n1,2\n,\n"


def test_a_blank_line_of_several_columns_is_none(tmp_path):
    (tmp_path / "in.csv").write_text("\n\nqid,score\n\n1,2\n\r\n\n1,3\n\n")
    assert read(tmp_path / "in.csv").to_pydict() == {"qid": ["1", "1"], "score": [2.0, 3.0]}


# What Spark and its like write: quotes within quotes have a backslash before them.
ESCAPED = [
    (r'"say \"hi\", ok"', 'say "hi", ok'),
    (r'"\"first"', '"first'),
    (r'"last\""', 'last"'),
    (r'"C:\\dir, \"x\""', 'C:\\dir, "x"'),
    (r'"a\nb \"c\""', r'a\nb "c"'),
]


@pytest.mark.parametrize(("written", "meant"), ESCAPED)
@pytest.mark.parametrize("given", [{}, {"escape": "\\"}], ids=["found", "named"])
def test_quotes_that_a_backslash_escapes(tmp_path, written, meant, given):
    (tmp_path / "in.csv").write_text(f"qid,title,score\n1,plain,3\n1,{written},2\n1,C:\\x,1\n")
    table = read(tmp_path / "in.csv", **given)
    assert table["title"].to_pylist() == ["plain", meant, "C:\\x"]
    assert table["score"].to_pylist() == [3, 2, 1]


def test_escapes_are_found_late_where_nothing_before_them_is_in_doubt(tmp_path):
    early, late = '1,"a, b\\c",3\n' * 200_000, '1,"say \\"hi\\"",2\n'
    (tmp_path / "in.csv").write_text("qid,title,score\n" + early + late)
    assert read(tmp_path / "in.csv")["title"][-1].as_py() == 'say "hi"'
    (tmp_path / "in.csv").write_text('qid,title,score\n1,"ends with \\",3\n' + early + late)
    with pytest.raises(DataError, match=r"line 200003: text follows a closing quote: .*escape="):
        read(tmp_path / "in.csv")


# Rows that could be meant in several ways, and the line that is named.
IN_DOUBT = {
    "text after a quote": ('1,"a"bc,3\n', 2),
    "a title in quotes": ('1,x,2\n1,"Heroes" by B,3\n', 3),
    "a blank after a quote": ('1,"a" ,3\n', 2),
    "a quote that stays open": ('1,x,2\n1,"a,3\n1,b,3\n', 3),
    "a backslash outside of quotes": ('1,a\\\\b,3\n1,"say \\"hi\\"",2\n', 3),
    "after lines in quotes": ('1,"a\nb",3\n1,"a"bc,3\n', 4),
}


@pytest.mark.parametrize("name", IN_DOUBT)
def test_quotes_in_doubt_are_refused_with_the_line_and_the_options(tmp_path, name):
    rows, line = IN_DOUBT[name]
    (tmp_path / "in.csv").write_text("qid,title,score\n" + rows)
    with pytest.raises(DataError, match=rf'in\.csv, line {line}: .*escape= names; with quote="" quotes are text'):
        read(tmp_path / "in.csv")


DIALECTS = [
    ({"delimiter": ";"}, 'qid;"a;b";2\n', ["qid", "a;b", "2"]),
    ({"delimiter": "\\t"}, 'qid\t"a\tb"\t2\n', ["qid", "a\tb", "2"]),
    ({"delimiter": "|", "quote": ""}, 'qid|"a|2\n', ["qid", '"a', "2"]),
    ({"quote": ""}, '1,"Heroes" by B,2\n', ["1", '"Heroes" by B', "2"]),
    ({"quote": "'"}, "1,'it''s, \"so\"',2\n", ["1", 'it\'s, "so"', "2"]),
    ({"escape": "\\"}, "1,a\\,b,2\n", ["1", "a,b", "2"]),
    ({"escape": "\\"}, "1,a\\nb\\\\,2\n", ["1", "a\\nb\\", "2"]),
    ({"escape": "\\", "quote": ""}, '1,"a\\\nb,2\n', ["1", '"a\nb', "2"]),
    ({"escape": '"'}, '1,"a ""b""",2\n', ["1", 'a "b"', "2"]),
]


@pytest.mark.parametrize(("given", "row", "want"), DIALECTS)
def test_a_dialect_that_is_named(tmp_path, given, row, want):
    (tmp_path / "in.csv").write_text(row, newline="")
    table = read(tmp_path / "in.csv", names=NO_SCORE, no_header=True, **given)
    assert fields(table) == [["1", "2", "3"], want]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"delimiter": ";;"}, "delimiter= must be one character"),
        ({"delimiter": ""}, "delimiter= must be one character"),
        ({"delimiter": "\n"}, "delimiter= must be one character"),
        ({"quote": "«"}, "quote= must be one character"),
        ({"delimiter": '"'}, "cannot be the quote"),
        ({"escape": ","}, "cannot be the quote or the escape"),
    ],
)
def test_a_dialect_that_cannot_be(tmp_path, given, words):
    (tmp_path / "in.csv").write_text("score\n1\n")
    with pytest.raises(OptionError, match=words):
        read(tmp_path / "in.csv", **given)


def test_a_dialect_is_of_delimited_text_alone(tmp_path):
    put(pa.table({"score": [1.0]}), tmp_path / "in.parquet")
    with pytest.raises(OptionError, match="delimiter=, no_header=True is for csv and tsv, and the input is parquet"):
        read(tmp_path / "in.parquet", delimiter=";", no_header=True)


@pytest.mark.parametrize("value", ["a\tb", "a\nb", "a\rb"])
def test_a_tsv_refuses_what_it_has_no_place_for(tmp_path, value):
    table = pa.table({"title": ["x"] * 5000 + [value], "score": np.arange(5001.0)})
    put(table, tmp_path / "in.parquet")
    with pytest.raises(DataError, match=r'row 5001: column "title" holds a tab or a line end.*csv or jsonl$'):
        run_file("rank", tmp_path / "in.parquet", tmp_path / "out.tsv", group=[])
    put(pa.table({value: ["x"], "score": [1.0]}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match=r"the name of column .* holds a tab"):
        run_file("rank", tmp_path / "in.parquet", tmp_path / "out.tsv", group=[])
    assert not (tmp_path / "out.tsv").exists()


def test_names_may_be_of_several_lines_and_long(tmp_path):
    long = "x" * (3 << 20)
    for name in ("first\nsecond", "a\r\nb", 'say "x"', long):
        with (tmp_path / "in.csv").open("w", newline="") as out:
            csv.writer(out).writerows([[name, "score"], ["a", 1]])
        table = read(tmp_path / "in.csv")
        assert (table.column_names, table[name].to_pylist()) == ([name, "score"], ["a"])


@pytest.mark.parametrize(
    "inside", ["x" * (5 << 20), "line\n" * (1 << 20), '"' * (2 << 20)], ids=["line", "lines", "quotes"]
)
def test_a_row_may_be_longer_than_a_block(inside):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([["score", "x"], [1, "a"], [2, inside], [3, "b"]])
    table = through_a_pipe(out.getvalue().encode(), format="csv")
    assert table.to_pydict() == {"score": [1, 2, 3], "x": ["a", inside, "b"]}


def test_what_a_block_begins_with_is_text(tmp_path):
    """A mark of UTF-8 is one at the beginning of a file, and nowhere else."""
    rows = [["﻿a", str(i)] for i in range(200)]
    (tmp_path / "in.csv").write_text("﻿x,score\n" + "".join(",".join(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", 8)
        table = read(tmp_path / "in.csv")
    assert table["x"].to_pylist() == ["﻿a"] * 200


@given(st.lists(st.sampled_from(['"', ",", "\n", "\r", "a", "\\"]), max_size=14).map("".join))
def test_a_row_ends_where_python_ends_it(content):
    """Where the csv module, which is strict, takes a text, its rows are as many."""
    try:
        want = sum(1 for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row)
    except csv.Error:
        return
    rows = Rows(Dialect())
    data = content.encode()
    try:
        rows.end(data, last=True)
    except Exception:
        return
    if not rows.dialect.escape:
        assert len(rows.starts(data, blank=False)) == want
