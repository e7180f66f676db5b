"""Tables in memory as sources and as a sink: the same numbers as from files, every kind of frame, nothing altered."""

import json

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lapsum_cli import run_file
from lapsum_cli.core.errors import DataError, OptionError


def table(rows=2000, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "qid": pa.array(np.sort(rng.integers(0, 50, rows)).astype(str)),
            "score": rng.standard_normal(rows).astype(np.float32),
            "label": rng.integers(0, 3, rows),
            "lang": pa.array(rng.choice(["en", "de", "pl"], rows)).dictionary_encode(),
            "tags": pa.array([[i % 3] * (i % 4) for i in range(rows)]),
        }
    )


KINDS = {
    "Arrow table": lambda t: t,
    "Arrow batch": lambda t: t.combine_chunks().to_batches()[0],
    "Arrow stream": lambda t: pa.RecordBatchReader.from_batches(t.schema, t.to_batches(max_chunksize=77)),
    "pandas": lambda t: t.to_pandas(),
    "Polars": lambda t: pl.from_arrow(t),
    "DuckDB": lambda t: duckdb.sql("from t"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("operation", "options"),
    [
        ("rank", {}),
        ("rank", {"alpha": "0.15mad", "upstream": "label"}),
        ("topk", {"k": 3, "only_top": True, "order": True}),
        ("sort", {}),
        ("permute", {}),
        ("loss", {"loss": "ndcg", "target": "label"}),
        ("loss", {"loss": "spearman", "target": "label", "reduction": "mean"}),
    ],
)
def test_a_frame_is_as_a_file(kind, operation, options, tmp_path):
    pq.write_table(table(), tmp_path / "in.parquet")
    run_file(operation, tmp_path / "in.parquet", tmp_path / "out.parquet", item="", **options)
    want = pq.read_table(tmp_path / "out.parquet")
    got = run_file(operation, KINDS[kind](table()), "arrow", item="", **options)
    assert isinstance(got, pa.Table)
    assert got.column_names == want.column_names
    for name in want.column_names:
        assert got[name].to_pylist() == want[name].to_pylist(), name


def test_rows_in_any_order_stay_in_it():
    given = table().take(np.random.default_rng(1).permutation(2000))
    got = run_file("rank", given, "arrow", sort_groups=True)
    for name in given.column_names:
        assert got[name].to_pylist() == given[name].to_pylist(), name
    with pytest.raises(DataError, match="the table, row"):
        run_file("rank", given, "arrow")


def test_several_frames_and_files_are_one_in_their_order(tmp_path):
    parts = [table().slice(start, 500) for start in range(0, 2000, 500)]
    pq.write_table(parts[1], tmp_path / "1.parquet")
    given = [parts[0], tmp_path / "1.parquet", parts[2].to_pandas(), pl.from_arrow(parts[3])]
    want = run_file("rank", table(), "arrow")
    got = run_file("rank", given, "arrow")
    for name in want.column_names:
        assert got[name].to_pylist() == want[name].to_pylist()


def test_what_pandas_has_comes_back():
    frame = (
        table()
        .to_pandas()
        .assign(
            at=pd.Timestamp("2026-01-01", tz="Europe/Warsaw"),
            size=pd.Categorical(["S", "M"] * 1000, ["S", "M"], ordered=True),
        )
    )
    frame.index = pd.Index(np.arange(2000) * 3, name="row")
    got = run_file("rank", frame, "arrow").to_pandas()
    pd.testing.assert_index_equal(got.index, frame.index)
    for name in ("qid", "score", "label", "at"):
        pd.testing.assert_series_equal(got[name], frame[name])
    assert got["lang"].dtype == "category"
    assert list(got["lang"]) == list(frame["lang"])
    assert list(got["size"]) == list(frame["size"])  # values: their order of their own is not Arrow's to keep
    assert list(got.columns) == [*frame.columns, "soft_rank"]


def test_how_it_was_made_is_noted(tmp_path):
    got = run_file("topk", table(), "arrow", k=5, alpha=0.3)
    noted = json.loads(got.schema.metadata[b"lapsum"])
    assert (noted["operation"], noted["k"], noted["alpha"]) == ("topk", ["5"], "0.3")
    assert noted["inputs"] == [{"name": "the table", "rows": 2000}]
    assert (noted["rankings"], noted["scores"]) == (50, 2000)


def test_a_frame_to_a_file_and_a_file_to_a_frame(tmp_path):
    counts = run_file("rank", table(), tmp_path / "out.csv")
    assert (counts.rows, counts.rankings) == (2000, 50)
    np.save(tmp_path / "in.npy", np.random.default_rng(0).standard_normal((5, 7)))
    assert run_file("rank", tmp_path / "in.npy", "arrow").num_rows == 5


def test_the_gradient_of_a_mean_reads_a_frame_twice_and_refuses_a_stream():
    how = {"loss": "ndcg", "target": "label", "gradient": True, "reduction": "mean"}
    held = run_file("loss", table(), "arrow", **how)
    assert held.num_rows == 2000
    with pytest.raises(OptionError, match="twice"):
        run_file("loss", KINDS["Arrow stream"](table()), "arrow", **how)


@pytest.mark.parametrize("given", [3, None, {"score": [1.0]}, [[1.0, 2.0]], np.arange(3.0)])
def test_what_is_no_source_is_refused(given):
    with pytest.raises(OptionError, match="a source is a path, or a table of Arrow, pandas, Polars or DuckDB, got"):
        run_file("rank", given, "arrow")


def test_a_column_is_no_table():
    with pytest.raises(DataError, match="the table: is a column, not a table"):
        run_file("rank", pd.Series([1.0, 2.0]), "arrow")


def test_relations_of_one_connection_are_read_one_after_another():
    """DuckDB has one open result at a time; and a query is not made twice."""
    rows = table()
    got = run_file("rank", [duckdb.sql("from rows limit 1000"), duckdb.sql("from rows offset 1000")], "arrow")
    assert got["soft_rank"].to_pylist() == run_file("rank", rows, "arrow")["soft_rank"].to_pylist()


class Once:
    """A stream of somebody else's, which can be had once, and may fail."""

    def __init__(self, batches):
        self.reader = pa.RecordBatchReader.from_batches(table().schema, batches)

    def __arrow_c_stream__(self, requested_schema=None):
        return self.reader.__arrow_c_stream__(requested_schema)


def failing():
    yield table().to_batches()[0]
    raise RuntimeError("the line went dead")


def test_streams_that_cannot_be_read_again_or_fail_are_refused():
    how = {"loss": "ndcg", "target": "label", "gradient": True, "reduction": "mean"}
    with pytest.raises(OptionError, match="twice"):
        run_file("loss", Once(table().to_batches()), "arrow", **how)
    stream = KINDS["Arrow stream"](table())
    with pytest.raises(OptionError, match="the same stream is given twice"):
        run_file("rank", [stream, stream], "arrow")
    with pytest.raises(DataError, match=r"the table: reading failed: .*the line went dead"):
        run_file("rank", Once(failing()), "arrow")


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ([], {}, "name a source"),
        (table(), {"to_format": "csv"}, "stays in memory"),
        (table(), {"from_format": "csv"}, "is for files"),
        (table(), {"delimiter": ";"}, "the input is arrow"),
    ],
)
def test_what_is_of_use_to_files_alone_is_refused(given, options, said):
    with pytest.raises(OptionError, match=said):
        run_file("rank", given, "arrow", **options)


def test_an_error_leaves_no_rows(tmp_path):
    given = table().append_column("again", pa.array([1.0] * 1999 + [None]))
    with pytest.raises(DataError, match=r"the table, row 2000.*NaN or null"):
        run_file("rank", given, "arrow", score="again", memory="240MiB")


def test_memory_is_beside_what_is_given():
    """A frame larger than the memory that a run may take: batches are views of it, of a size as ever."""
    rows = 1 << 22
    given = pa.table(
        {"qid": np.arange(rows) // 64, "score": np.zeros(rows), **{f"c{i}": np.zeros(rows) for i in range(9)}}
    )
    assert given.nbytes > 300 << 20
    assert run_file("rank", given, "arrow", memory="240MiB").num_rows == rows
