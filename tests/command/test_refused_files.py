"""Files and arrays that cannot be read: one line that names them, an exit code, and no file left behind."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

# Files: what is written, and words that the line about it must have.

FILES = {
    "missing.parquet": (None, 66, "missing.parquet: no such file"),
    "empty.parquet": (b"", 65, "empty.parquet: the file is empty"),
    "empty.csv": (b"", 65, "empty.csv: the file is empty"),
    "no-magic.parquet": (b"qid,score\n1,2\n", 65, "no-magic.parquet: not a Parquet file"),
    "no-magic.npy": (b"qid,score\n1,2\n", 65, "no-magic.npy: not an NPY file"),
    "no-magic.arrow": (b"qid,score\n1,2\n", 65, "no-magic.arrow: not an Arrow"),
    "no-magic.arrows": (b"qid,score\n1,2\n", 65, "no-magic.arrows: not an Arrow"),
    "binary": (b"\0\1\2\3" * 9, 65, "binary: its format is not recognised", "--from"),
    "ragged.csv": (b"qid,score\n1,2\n1,2,3\n", 65, "ragged.csv", "expected 2 columns, got 3"),
    "words.csv": (b"qid,score\n1,2\n1,high\n", 65, "words.csv", "high", '"score"'),
    "latin.csv": (b"qid,score\nK\xf6ln,2\n", 65, "latin.csv", "utf8"),
    "latin-header.csv": (b"K\xf6ln,score\n1,2\n", 65, "latin-header.csv", "utf"),
    "twice.csv": (b"score,score\n1,2\n", 65, "twice.csv", "score"),
    "header.csv": (b"qid,docid\n1,2\n", 65, "header.csv: no score column", '"qid", "docid"', "--score"),
    "hole.csv": (b"qid,score\na,1\nb,\n", 65, "hole.csv, row 2", 'qid "b"', "null"),
    "malformed.jsonl": (b'{"score": 1}\n{"score": 2}\n{"score": \n', 65, "malformed.jsonl", "JSON"),
    "array.jsonl": (b"[1, 2]\n", 65, "array.jsonl", "JSON"),
    "words.jsonl": (b'{"score": 1}\n{"score": "high"}\n', 65, "words.jsonl", "/score"),
    "blank.jsonl": (b"\n\n", 65, "blank.jsonl"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_named(lapsum, tmp_path, name):
    content, code, *words = FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    got, line = lapsum("rank", name, "-o", "out.csv")
    assert got == code, line
    assert all(word.lower() in line.lower() for word in words), line


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_malformed_line_far_into_a_file_is_named_by_its_number(lapsum, tmp_path, format):
    if format == "jsonl":
        lines = [json.dumps({"qid": i, "score": 1.0, "text": "x" * 100}) for i in range(20_000)]
        lines[17_000 - 1] = '{"qid": 5, "score": }'
    else:
        lines = ["qid,score,text", *(f"{i},1.0,{'x' * 100}" for i in range(20_000))]
        lines[17_000 - 1] = "5,1.0"
    (tmp_path / f"in.{format}").write_text("\n".join(lines))
    code, line = lapsum("rank", f"in.{format}", "-o", "out.csv")
    assert code == 65
    assert "17000" in line, line


@pytest.mark.parametrize("format", ["parquet", "npy", "arrow", "arrows"])
@pytest.mark.parametrize("keep", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(lapsum, tmp_path, format, keep):
    path = tmp_path / f"in.{format}"
    table = pa.table({"qid": np.arange(5000) // 10, "score": np.random.default_rng(1).random(5000)})
    if format == "npy":
        np.save(path, table["score"].to_numpy())
    elif format == "parquet":
        pq.write_table(table, path)
    else:
        with (pa.ipc.new_file if format == "arrow" else pa.ipc.new_stream)(path, table.schema) as out:
            out.write_table(table, max_chunksize=1000)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    code, line = lapsum("rank", path.name, "-o", "out.parquet")
    assert code == 65, line
    assert f"in.{format}" in line
    assert "truncated" in line


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_damaged_file_is_named(lapsum, tmp_path, format):
    table = pa.table({"qid": np.arange(5000) // 10, "score": np.random.default_rng(1).random(5000)})
    path = tmp_path / f"in.{format}"
    if format == "parquet":
        pq.write_table(table, path, compression="zstd", use_dictionary=False)
    else:
        with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as out:
            out.write_table(table)
    whole = bytearray(path.read_bytes())
    whole[2000 : len(whole) - 2000] = bytes(len(whole) - 4000)
    path.write_bytes(whole)
    code, line = lapsum("rank", path.name, "-o", "out.csv")
    assert code == 65, line
    assert f"in.{format}" in line
    assert "damaged" in line


ARRAYS = {
    "int64": (np.arange(3), "int64", "astype"),
    "complex128": (np.ones(3, complex), "complex128"),
    "bool": (np.ones(3, bool), "bool"),
    "text": (np.array(["a"]), "<U1"),
    "record": (np.zeros(2, [("score", "f4")]), "score"),
    "pickled": (np.array([{}, None], object), "pickled"),
    "cube": (np.ones((2, 3, 4)), "3 dimensions (2, 3, 4)"),
    "number": (np.array(1.0), "0 dimensions"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_without_scores_is_refused(lapsum, tmp_path, name):
    array, *words = ARRAYS[name]
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    code, line = lapsum("rank", "x.npy", "-o", "out.npy")
    assert code == 65, line
    assert all(word in line for word in ["x.npy", *words]), line
