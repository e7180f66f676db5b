"""CSV, TSV and JSON lines: what has no type of its own keeps its digits and its words."""

import json

import numpy as np
import pyarrow as pa
import pytest
from reading import read, through_a_pipe
from tables import floats, get, long_table, put

from lapsum_cli import DataError, run_file


def test_bytes_that_are_no_text_are_refused_by_text_formats(tmp_path):
    put(long_table([np.arange(2.0)], blob=pa.array([b"ok", b"\xff\xfe"])), tmp_path / "scores.parquet")
    with pytest.raises(DataError, match="blob"):
        run_file("rank", tmp_path / "scores.parquet", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_json_values_keep_their_kind(tmp_path):
    """Dates stay the text they are, and an id beyond 64 bits does not become a float."""
    lines = [
        {"qid": "a", "day": "2024-01-02", "at": "2024-01-02T03:04:05", "id": "00012", "score": 2},
        {"qid": "a", "day": "2024-01-03", "at": "2024-01-02T03:04:06", "id": "00013", "score": 1.5},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_file("rank", tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    result = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{name: line[name] for name in lines[0]} for line in result] == lines


def test_json_ids_beyond_64_bits_never_become_floats(tmp_path):
    def ranked(ids):
        (tmp_path / "in.jsonl").write_text("".join(f'{{"id": {i}, "score": 1.0}}\n' for i in ids))
        run_file("rank", tmp_path / "in.jsonl", tmp_path / "out.jsonl", force=True)
        return [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]

    longest = [2**63 - 1, -(2**63), 2**53 + 1]
    assert ranked(longest) == longest
    for beyond in (2**63, -(2**64), 12345678901234567890123):
        with pytest.raises(DataError, match=r'"id" holds integers beyond 64 bits'):
            ranked([1, beyond])
    assert ranked([1e300, 2.5]) == [1e300, 2.5]  # floats as large are no ids


@pytest.mark.parametrize(("name", "early", "late"), [("score", 1, 0.25), ("note", None, "late")])
def test_json_types_may_show_late(tmp_path, name, early, late):
    """The first block of lines has whole numbers and nulls only; the last line has a fraction, or text."""
    lines = [{"qid": i // 10, "score": 1.0, name: early} for i in range(60_000)]
    lines[-1][name] = late
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert source.stat().st_size > 1 << 20
    run_file("rank", source, tmp_path / "out.jsonl", group="qid")
    result = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (result[0][name], result[-1][name], len(result)) == (early, late, len(lines))


@pytest.mark.parametrize("to", ["jsonl", "csv"])
def test_lists_travel_through_text(tmp_path, to):
    lines = [{"user": "01", "scores": [1, 3, 2]}, {"user": "02", "scores": []}, {"user": "03", "scores": [0.5]}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_file("rank", tmp_path / "in.jsonl", tmp_path / f"out.{to}", alpha=0.01)
    result = get(tmp_path / f"out.{to}").to_pylist()
    got = [json.loads(row["soft_rank"]) if to == "csv" else row["soft_rank"] for row in result]
    np.testing.assert_allclose(np.concatenate(got), [3, 1, 2, 1])
    assert [len(row) for row in got] == [3, 0, 1]
    assert [row["user"] for row in result] == ["01", "02", "03"]


# What comes late in a file of JSON lines that the first MiB has not shown, and what is said of it.
LATE = {
    "a key": ({"score": 1, "new": 2}, 'the key "new" comes first here'),
    "a key within": ({"score": 1, "at": {"x": 1, "y": 2}}, 'the key "at.y" comes first here'),
    "a fraction": ({"score": 1, "count": 1.5}, '"count" is 1.5, after values of type int64'),
    "a number for text": (
        {"score": 1, "title": 7},
        r"Column\(/title\) changed from string to number",
    ),
    "text for a number": ({"score": 1, "count": "many"}, r"Column\(/count\) changed from number to string"),
    "a list item": ({"score": 1, "tags": [1, 2.5]}, '"tags" is 2.5, after values of type int64'),
    "a number for nothing": ({"score": 1, "note": 3}, r"Column\(/note\) changed from string to number"),
}


@pytest.mark.parametrize("name", LATE)
def test_what_comes_late_in_json_is_named_with_its_line_and_key(tmp_path, name):
    early = {"score": 1.5, "count": 1, "title": "x" * 100, "tags": [1], "at": {"x": 1}, "note": None}
    late, words = LATE[name]
    (tmp_path / "in.jsonl").write_text((json.dumps(early) + "\n") * 20_000 + json.dumps(late) + "\n")
    with pytest.raises(DataError, match=words) as refused:
        read(tmp_path / "in.jsonl")
    assert "line 20001" in str(refused.value)


@pytest.mark.parametrize("before", ["\ufeff", "\n\n", "\ufeff \n"])
def test_json_is_known_behind_a_mark_and_blanks(tmp_path, before):
    """In a pipe each byte comes alone."""
    content = (before + '{"score": 1}\n{"score": 2}\n').encode()
    (tmp_path / "in").write_bytes(content)
    assert read(tmp_path / "in")["score"].to_pylist() == [1, 2]
    assert through_a_pipe(content, (1,))["score"].to_pylist() == [1, 2]


def test_infinity_survives_text(tmp_path):
    (tmp_path / "in.csv").write_text("qid,score\n1,-inf\n1,2\n1,inf\n")
    run_file("rank", tmp_path / "in.csv", tmp_path / "out.csv", alpha=0.5)
    assert floats(get(tmp_path / "out.csv")["score"]).tolist() == [-np.inf, 2, np.inf]
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [3, 2, 1])
