"""Any input to any output that can hold it: results are those of the functions, other columns are left alone."""

import datetime as dt
import decimal
import json

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import (
    LENGTHS,
    TABLES,
    TITLES,
    as_text,
    floats,
    get,
    long_table,
    members,
    on_one_line,
    put,
    rankings,
    ranks,
    rng,
)

from lapsum_cli import run_file, soft_rank, soft_topk


@pytest.mark.parametrize("to", TABLES)
@pytest.mark.parametrize("source", TABLES)
def test_a_long_table_keeps_its_columns_and_gains_ranks(tmp_path, source, to):
    rows = rankings()
    table = on_one_line(long_table(rows)) if "tsv" in (source, to) else long_table(rows)
    sink = tmp_path / f"ranks.{to}"
    summary = run_file("rank", put(table, tmp_path / f"scores.{source}"), sink, alpha=0.3)
    result = get(sink)
    assert (summary.rows, summary.rankings) == (len(table), len(rows))
    assert result.column_names == [*table.column_names, "soft_rank"]
    for name in ("qid", "docid", "title"):
        assert as_text(result[name]) == as_text(table[name])
    np.testing.assert_array_equal(floats(result["score"]), floats(table["score"]))
    np.testing.assert_array_equal(floats(result["soft_rank"]), ranks(rows, alpha=0.3))


def every_type(n=6) -> dict:
    """A column of every kind that a table may carry along."""
    moment = dt.datetime(2024, 2, 29, 23, 59, 59, 123456)
    return {
        "seen": pa.array([moment, None] * (n // 2), pa.timestamp("us")),
        "seen_utc": pa.array([moment] * n, pa.timestamp("ns", "UTC")),
        "day": pa.array([dt.date(1969, 12, 31)] * n),
        "time": pa.array([dt.time(1, 2, 3)] * n),
        "price": pa.array([decimal.Decimal("0.10")] * n, pa.decimal128(9, 2)),
        "big": pa.array([2**64 - 1] * n, pa.uint64()),
        "flag": pa.array([True, None, False] * (n // 3)),
        "nothing": pa.nulls(n),
        "tags": pa.array([["a,b", 'say "x"'], [], None] * (n // 3)),
        "where": pa.array([{"city": "東京", "at": [35.5, None]}, None] * (n // 2)),
        "pairs": pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int64())),
        "kind": pa.array(["x", "y", None] * (n // 3)).dictionary_encode(),
        "long_text": pa.array(["z"] * n, pa.large_string()),
    }


@pytest.mark.parametrize("to", ["parquet", "arrow", "arrows"])
@pytest.mark.parametrize("source", ["parquet", "arrow", "arrows"])
def test_columns_of_every_type_pass_through_untouched(tmp_path, source, to):
    blob = pa.array([b"\x00\xff"] * 6)
    wait = pa.array([dt.timedelta(seconds=1)] * 6)
    table = long_table([np.arange(4.0), np.arange(2.0)], **every_type(), blob=blob, wait=wait)
    path = put(table, tmp_path / f"scores.{source}")
    run_file("topk", path, tmp_path / f"out.{to}", k=1)
    result, want = get(tmp_path / f"out.{to}"), get(path)
    if to == "arrow":  # a file can hold one dictionary for all its batches: values are written instead
        want = want.set_column(want.schema.get_field_index("kind"), "kind", want["kind"].cast(pa.string()))
    assert result.drop(["soft_topk"]).schema.equals(want.schema)
    assert result.drop(["soft_topk"]).to_pydict() == want.to_pydict()
    assert result["soft_topk"].to_numpy().sum() == pytest.approx(2)


def test_every_type_has_a_text_form(tmp_path):
    table = long_table([np.arange(4.0), np.arange(2.0)], **every_type())
    put(table, tmp_path / "scores.parquet")
    run_file("rank", tmp_path / "scores.parquet", tmp_path / "out.jsonl")
    run_file("rank", tmp_path / "scores.parquet", tmp_path / "out.csv")
    want = {
        "docid": 9007199254740993007,
        "title": "plain",
        "day": "1969-12-31",
        "big": 2**64 - 1,
        "flag": True,
        "nothing": None,
        "tags": ["a,b", 'say "x"'],
        "where": {"city": "東京", "at": [35.5, None]},
        "kind": "x",
    }
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert {name: first[name] for name in want} == want
    assert first["seen"].startswith("2024-02-29 23:59:59.123456")
    assert float(first["price"]) == 0.10
    row = get(tmp_path / "out.csv").to_pylist()[0]
    assert json.loads(row["tags"]) == want["tags"]
    assert json.loads(row["where"]) == want["where"]
    assert row["docid"] == str(want["docid"])


LISTS = {
    "list": pa.list_(pa.float32()),
    "large_list": pa.large_list(pa.float64()),
    "fixed_size_list": pa.list_(pa.float32(), 4),
}


@pytest.mark.parametrize("format", ["parquet", "arrow", "arrows"])
@pytest.mark.parametrize("kind", LISTS)
def test_a_column_of_lists_gains_a_column_of_lists(tmp_path, kind, format):
    dtype = LISTS[kind].value_type.to_pandas_dtype()
    rows = rankings(dtype, [4] * 60 if kind == "fixed_size_list" else LENGTHS * 10)
    lists = [row.tolist() for row in rows]
    lists[5] = None
    if kind != "fixed_size_list":
        lists[7] = []
    table = pa.table({"user": [f"{i:04}" for i in range(60)], "scores": pa.array(lists, LISTS[kind])})
    sink = tmp_path / f"out.{format}"
    run_file("topk", put(table, tmp_path / f"in.{format}"), sink, k=2, alpha=0.5)
    result = get(sink)
    assert result.schema.field("soft_topk").type == LISTS[kind]
    assert result.select(["user", "scores"]).equals(table)
    for got, scores in zip(result["soft_topk"].to_pylist(), lists, strict=True):
        want = scores and soft_topk(np.array(scores, dtype), 2, alpha=0.5).tolist()
        assert got == want


def test_lists_of_very_unequal_lengths(tmp_path):
    rows = rankings(np.float32, [2] * 500 + [200_000] + [0, 3] * 250)
    table = pa.table({"id": np.arange(len(rows)), "scores": pa.array(rows, pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=10**6)
    run_file("rank", tmp_path / "in.parquet", tmp_path / "out.parquet", alpha=0.1, memory="256MiB")
    result = pq.read_table(tmp_path / "out.parquet")
    assert result.select(["id", "scores"]).equals(table)
    got = result["soft_rank"].combine_chunks()
    assert got.value_lengths().to_pylist() == [len(row) for row in rows]
    np.testing.assert_array_equal(got.flatten(), ranks(rows, alpha=0.1))


def test_numbers_that_are_not_floats_are_scores(tmp_path):
    whole = [[3, 1, 2], [5, 5]]
    for kind in (pa.int64(), pa.uint8(), pa.decimal128(5, 1)):
        table = pa.table({"qid": [1, 1, 1, 2, 2], "score": pa.array([3.0, 1, 2, 5, 5]).cast(kind)})
        put(table, tmp_path / "in.parquet")
        run_file("rank", tmp_path / "in.parquet", tmp_path / "out.parquet", alpha=1, force=True)
        result = pq.read_table(tmp_path / "out.parquet")
        assert result["score"].type == kind
        np.testing.assert_array_equal(result["soft_rank"], ranks(map(np.array, whole), alpha=1.0))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_results_have_the_type_of_the_scores(tmp_path, dtype):
    rows = rankings(dtype)
    put(long_table(rows), tmp_path / "in.parquet")
    run_file("topk", tmp_path / "in.parquet", tmp_path / "out.parquet", k=2, alpha=0.5)
    run_file("rank", tmp_path / "in.parquet", tmp_path / "ranks.parquet", alpha=0.5)
    got = pq.read_table(tmp_path / "out.parquet")["soft_topk"].to_numpy()
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, members(rows, 2, alpha=0.5))
    got = pq.read_table(tmp_path / "ranks.parquet")["soft_rank"].to_numpy()
    assert got.dtype == ("float32" if dtype == "float16" else dtype)
    np.testing.assert_array_equal(got, ranks(rows, alpha=0.5))


@pytest.mark.parametrize("format", ["parquet", "arrow", "csv", "jsonl"])
def test_a_wide_table_gains_a_column_for_each_score(tmp_path, format):
    matrix = rng().normal(size=(70, 5))
    table = pa.table({"id": [f"{i:03}" for i in range(70)], **{f"s_{j}": matrix[:, j] for j in range(5)}})
    sink = tmp_path / f"out.{format}"
    run_file("topk", put(table, tmp_path / f"in.{format}"), sink, k=2, alpha=0.3, columns="s_*")
    result = get(sink)
    assert result.column_names == [*table.column_names, *(f"soft_topk_s_{j}" for j in range(5))]
    assert as_text(result["id"]) == table["id"].to_pylist()
    got = np.stack([floats(result[f"soft_topk_s_{j}"]) for j in range(5)], axis=1)
    np.testing.assert_array_equal(got, soft_topk(matrix, 2, alpha=0.3))


@pytest.mark.parametrize("format", ["arrow", "arrows"])
def test_an_arrow_batch_may_be_of_any_size(tmp_path, format):
    rows = rankings(np.float32, [300] * 1000)
    table = long_table(rows)
    path = tmp_path / f"in.{format}"
    with (pa.ipc.new_file if format == "arrow" else pa.ipc.new_stream)(path, table.schema) as out:
        out.write_table(table.slice(0, 7))
        out.write_batch(table.slice(7).combine_chunks().to_batches()[0])
    run_file("rank", path, tmp_path / "out.parquet", alpha=0.3, memory="256MiB")
    result = pq.read_table(tmp_path / "out.parquet")
    assert result.drop(["soft_rank"]).equals(table)
    np.testing.assert_array_equal(result["soft_rank"], ranks(rows, alpha=0.3))


@pytest.mark.parametrize("to", ["parquet", "arrow", "arrows", "csv"])
def test_every_batch_may_have_a_dictionary_of_its_own(tmp_path, to):
    words = [["b", "a"] * 50_000, ["c", "b"] * 50_000]
    batches = [pa.record_batch({"word": pa.array(w).dictionary_encode(), "score": np.arange(1e5)}) for w in words]
    with pa.ipc.new_stream(tmp_path / "in.arrows", batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)
    run_file("rank", tmp_path / "in.arrows", tmp_path / f"out.{to}")
    assert get(tmp_path / f"out.{to}")["word"].to_pylist() == [*words[0], *words[1]]


def test_the_format_is_known_by_the_first_bytes(tmp_path):
    rows = rankings()
    for format in TABLES:
        path = put(on_one_line(long_table(rows)), tmp_path / f"no extension {format}", format)
        run_file("rank", path, tmp_path / "out.arrow", alpha=0.3, force=True)
        np.testing.assert_array_equal(get(tmp_path / "out.arrow")["soft_rank"], ranks(rows, alpha=0.3))
    with (tmp_path / "array").open("wb") as out:
        np.save(out, rows[4])
    run_file("rank", tmp_path / "array", tmp_path / "out.npy", alpha=0.3)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), soft_rank(rows[4], alpha=0.3))


def test_from_and_to_overrule_the_extension(tmp_path):
    rows = rankings()
    path = put(long_table(rows), tmp_path / "scores.parquet", "csv")
    run_file("rank", path, tmp_path / "out.csv", alpha=0.3, from_format="csv", to_format="jsonl")
    np.testing.assert_array_equal(floats(get(tmp_path / "out.csv", "jsonl")["soft_rank"]), ranks(rows, alpha=0.3))


@pytest.mark.parametrize("format", ["csv", "parquet", "npy"])
def test_no_rows_in_gives_no_rows_out(tmp_path, format):
    source = tmp_path / f"in.{format}"
    if format == "npy":
        np.save(source, np.empty(0, np.float32))
    else:
        put(long_table([np.arange(3.0)]).slice(0, 0), source)
    run_file("topk", source, tmp_path / "out.parquet", k=1)
    result = pq.read_table(tmp_path / "out.parquet")
    assert (result.num_rows, result.column_names[-1]) == (0, "soft_topk")


def test_other_programs_read_the_result(tmp_path):
    rows = rankings()
    run_file("rank", put(long_table(rows), tmp_path / "in.parquet"), tmp_path / "out.parquet", alpha=0.3)
    frame = polars.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_array_equal(frame["soft_rank"], ranks(rows, alpha=0.3))
    assert frame["title"].to_list()[: len(TITLES)] == TITLES
