"""Any input to any output that can hold it: results are those of the functions, other columns are left alone."""

import csv
import datetime as dt
import decimal
import io
import json

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lapsum_cli import DataError, InputMissing, OptionError, run_file, soft_rank, soft_topk

LENGTHS = [3, 1, 40, 2, 120, 7]
TITLES = [
    "plain",
    'a "quoted" one',
    "comma, then\nnewline",
    "\r\n",
    "naïve 东京 🚀",
    "tab\there",
    "back\\slash",
    None,
    " edges ",
]


def rng():
    return np.random.default_rng(20250713)


def rankings(dtype=np.float64, lengths=LENGTHS):
    return [rng().permuted(np.linspace(-3, 3, n)).astype(dtype) for n in lengths]


def long_table(rows, **columns) -> pa.Table:
    """Group ids as text with leading zeros, document ids of 19 digits, titles that need quotes."""
    total = sum(map(len, rows))
    return pa.table(
        {
            "qid": [f"{r:03}" for r, row in enumerate(rows, 7) for _ in row],
            "docid": pa.array(np.arange(total) + 9007199254740993007, pa.int64()),
            "title": [TITLES[i % len(TITLES)] for i in range(total)],
            "score": np.concatenate(rows),
            **columns,
        }
    )


def ranks(rows, **options) -> np.ndarray:
    return np.concatenate([soft_rank(row, **options) for row in rows])


def members(rows, k, **options) -> np.ndarray:
    return np.concatenate([soft_topk(row, k, **options) for row in rows])


# Written and read by other hands than the product's: a mistake made the same way twice would not show.


def put(table: pa.Table, path, format=None):
    format = format or path.suffix[1:]
    if format == "parquet":
        pq.write_table(table, path, row_group_size=50)
    elif format in ("arrow", "arrows"):
        with (pa.ipc.new_file if format == "arrow" else pa.ipc.new_stream)(path, table.schema) as out:
            out.write_table(table, max_chunksize=31)
    elif format == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()))
    else:
        with path.open("w", newline="") as out:
            rows = csv.writer(out, delimiter="\t" if format == "tsv" else ",")
            rows.writerows([table.column_names, *zip(*(column.to_pylist() for column in table.columns), strict=True)])
    return path


def get(path, format=None) -> pa.Table:
    format = format or path.suffix[1:]
    if format == "parquet":
        return pq.read_table(path)
    if format in ("arrow", "arrows"):
        return (pa.ipc.open_file if format == "arrow" else pa.ipc.open_stream)(path.read_bytes()).read_all()
    if format == "jsonl":
        return pa.Table.from_pylist([json.loads(line) for line in path.read_text().splitlines()])
    text = io.StringIO(path.read_bytes().decode(), newline="")
    names, *rows = csv.reader(text, delimiter="\t" if format == "tsv" else ",", strict=True)
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def floats(column) -> np.ndarray:
    return np.array([np.nan if value in (None, "") else float(value) for value in column.to_pylist()])


def as_text(column) -> list[str]:
    return ["" if value is None else str(value) for value in column.to_pylist()]


TABLES = ["parquet", "arrow", "arrows", "csv", "tsv", "jsonl"]


@pytest.mark.parametrize("to", TABLES)
@pytest.mark.parametrize("source", TABLES)
def test_a_long_table_keeps_its_columns_and_gains_ranks(tmp_path, source, to):
    rows = rankings()
    table = long_table(rows)
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
    assert result.drop(["soft_topk"]).equals(want)
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
    ids = [12345678901234567890123, 12345678901234567890124]
    (tmp_path / "in.jsonl").write_text("".join(f'{{"id": {i}, "score": 1.0}}\n' for i in ids))
    try:
        run_file("rank", tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    except DataError:
        return  # to refuse them is right, too
    assert [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == ids


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


# NPY: (dtype, shape); the header is of version 1 unless it is said to be 2.
ARRAYS = [
    ("float16", (30, 7)),
    ("float32", (1000,)),
    ("float32", (300, 40)),
    ("float64", (5, 1)),
    (">f8", (30, 7)),
    (">f4", (50,)),
    ("<f2", (64,)),
    ("float32", (0,)),
    ("float32", (0, 9)),
    ("float64", (9, 0)),
]


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize(("dtype", "shape"), ARRAYS)
def test_npy_in_gives_npy_of_the_same_shape(tmp_path, dtype, shape, version):
    x = rng().normal(size=shape).astype(dtype)
    with (tmp_path / "x.npy").open("wb") as out:
        np.lib.format.write_array(out, x, version=version)
    native = x.astype(x.dtype.newbyteorder("="))
    for name, want, options in [
        ("rank", soft_rank(native, alpha=0.3), {}),
        ("topk", soft_topk(native, 2, alpha=0.3), {"k": 2}),
    ]:
        run_file(name, tmp_path / "x.npy", tmp_path / f"{name}.npy", alpha=0.3, **options)
        got = np.load(tmp_path / f"{name}.npy")
        assert (got.shape, got.dtype) == (shape, want.dtype)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("to", ["parquet", "csv", "jsonl"])
def test_an_array_becomes_a_table(tmp_path, to):
    x = rng().normal(size=(20, 3))
    np.save(tmp_path / "x.npy", x)
    run_file("rank", tmp_path / "x.npy", tmp_path / f"out.{to}", alpha=0.3)
    result = get(tmp_path / f"out.{to}").to_pylist()
    read = json.loads if to == "csv" else lambda value: value
    np.testing.assert_array_equal([read(row["score"]) for row in result], x)
    np.testing.assert_array_equal([read(row["soft_rank"]) for row in result], soft_rank(x, alpha=0.3))


def test_a_table_becomes_an_array_where_its_rankings_are_of_one_length(tmp_path):
    x = rng().normal(size=(20, 3)).astype(np.float32)
    even = pa.table({"id": np.arange(20), "scores": pa.array(list(x), pa.list_(pa.float32()))})
    run_file("rank", put(even, tmp_path / "even.parquet"), tmp_path / "even.npy", alpha=0.3)
    np.testing.assert_array_equal(np.load(tmp_path / "even.npy"), soft_rank(x, alpha=0.3))
    rows = rankings()
    run_file("rank", put(long_table(rows), tmp_path / "long.csv"), tmp_path / "long.npy", alpha=0.3)
    np.testing.assert_array_equal(np.load(tmp_path / "long.npy"), ranks(rows, alpha=0.3))
    uneven = pa.table({"scores": [[1.0], [1.0, 2.0]]})
    with pytest.raises(DataError, match="1 and 2 scores"):
        run_file("rank", put(uneven, tmp_path / "uneven.parquet"), tmp_path / "uneven.npy")
    assert not (tmp_path / "uneven.npy").exists()


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
        path = put(long_table(rows), tmp_path / f"no extension {format}", format)
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


# Several inputs.


def test_a_ranking_may_continue_over_a_file_boundary(tmp_path):
    rows = rankings()
    table = long_table(rows)
    for i, (start, stop) in enumerate([(0, 20), (20, 21), (21, 60), (60, len(table))]):
        put(table.slice(start, stop - start), tmp_path / f"part-{i}.parquet")
    (tmp_path / "notes.txt").write_text("not a part")
    listed = [tmp_path / f"part-{i}.parquet" for i in range(4)]
    for sources in (listed, tmp_path, tmp_path / "part-*.parquet", tmp_path / "part-[0-3].parquet"):
        run_file("rank", sources, tmp_path / "out.arrow", alpha=0.3, force=True)
        result = get(tmp_path / "out.arrow")
        assert result.drop(["soft_rank"]).equals(table)
        np.testing.assert_array_equal(result["soft_rank"], ranks(rows, alpha=0.3))


def test_files_are_read_in_the_order_given(tmp_path):
    for name, qid in (("b", 1), ("a", 2)):
        put(pa.table({"qid": [qid] * 2, "score": [1.0, 2.0]}), tmp_path / f"{name}.parquet")
    run_file("rank", [tmp_path / "b.parquet", tmp_path / "a.parquet"], tmp_path / "out.arrow")
    assert get(tmp_path / "out.arrow")["qid"].to_pylist() == [1, 1, 2, 2]


def test_files_of_different_columns_are_refused(tmp_path):
    put(pa.table({"qid": [1], "score": [1.0]}), tmp_path / "a.parquet")
    put(pa.table({"qid": ["1"], "score": [1.0]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet.*differ.*a\.parquet.*has qid: string"):
        run_file("rank", tmp_path, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_files_of_different_formats_with_the_same_columns_are_one_input(tmp_path):
    sources = [put(long_table([np.arange(3.0)]), tmp_path / f"a.{format}") for format in ("parquet", "arrow")]
    run_file("rank", sources, tmp_path / "out.arrow", alpha=0.01)
    np.testing.assert_allclose(get(tmp_path / "out.arrow")["soft_rank"], [5.5, 3.5, 1.5] * 2)


# Options.


@pytest.fixture
def long(tmp_path):
    """Run an operation on a long table of two short rankings; returns the table that comes out."""
    rows = [np.array([0.0, 3.0, 1.0, 2.0]), np.array([5.0, 4.0])]
    put(
        pa.table(
            {
                "qid": [1, 1, 1, 1, 2, 2],
                "score": np.concatenate(rows),
                "soft": [0.5] * 4 + [2.0] * 2,
                "quota": [2] * 4 + [1] * 2,
            }
        ),
        tmp_path / "in.parquet",
    )

    def result(operation, **options):
        run_file(operation, tmp_path / "in.parquet", tmp_path / "out.parquet", score="score", force=True, **options)
        return pq.read_table(tmp_path / "out.parquet")

    result.rows = rows
    return result


def test_alpha_is_in_the_unit_of_the_scores_or_in_their_deviations(long):
    plain, relative = (long("rank", alpha=alpha)["soft_rank"].to_numpy() for alpha in ("0.5", "0.5std"))
    np.testing.assert_array_equal(plain, ranks(long.rows, alpha=0.5))
    np.testing.assert_allclose(relative, ranks([row / row.std() for row in long.rows], alpha=0.5))
    assert np.abs(plain - relative).max() > 0.01
    np.testing.assert_array_equal(long("rank")["soft_rank"], ranks(long.rows, alpha="0.1std"))


def test_alpha_and_k_may_come_from_a_column(long):
    got = long("topk", alpha_column="soft", k_column="quota")["soft_topk"].to_numpy()
    first, second = long.rows
    want = np.concatenate([soft_topk(first, 2, alpha=0.5), soft_topk(second, 1, alpha=2.0)])
    np.testing.assert_array_equal(got, want)


def test_alpha_and_k_may_come_from_a_column_of_text_files_and_of_lists(tmp_path):
    lines = [("a", 1.0, 0.5, 1), ("a", 2.0, 0.5, 1), ("b", 1.0, 2, 2), ("b", 4.0, 2, 2), ("b", 2.0, 2, 2)]
    table = pa.table(dict(zip(("qid", "score", "soft", "quota"), zip(*lines, strict=True), strict=True)))
    run_file("topk", put(table, tmp_path / "in.csv"), tmp_path / "a.csv", alpha_column="soft", k_column="quota")
    lists = pa.table({"scores": [[1.0, 2.0], [1.0, 4.0, 2.0]], "soft": [0.5, 2], "quota": [1, 2]})
    path = put(lists, tmp_path / "lists.parquet")
    run_file("topk", path, tmp_path / "b.parquet", alpha_column="soft", k_column="quota", score="scores")
    want = [*soft_topk(np.array([1.0, 2.0]), 1, alpha=0.5), *soft_topk(np.array([1.0, 4.0, 2.0]), 2, alpha=2.0)]
    np.testing.assert_array_equal(floats(get(tmp_path / "a.csv")["soft_topk"]), want)
    np.testing.assert_array_equal(get(tmp_path / "b.parquet")["soft_topk"].combine_chunks().flatten(), want)


def test_several_k_give_a_column_each(long):
    result = long("topk", k="1,2.5", alpha=0.5)
    assert result.column_names[-2:] == ["soft_topk_1", "soft_topk_2.5"]
    np.testing.assert_array_equal(result["soft_topk_1"], members(long.rows, 1, alpha=0.5))
    np.testing.assert_array_equal(result["soft_topk_2.5"], members(long.rows, 2.5, alpha=0.5))
    assert set(result["soft_topk_2.5"].to_pylist()[4:]) == {1.0}  # a ranking of two has no more to give


def test_k_may_be_a_share_of_each_ranking(long):
    got = long("topk", k="50%", alpha=0.5)["soft_topk"].to_numpy()
    assert [got[:4].sum(), got[4:].sum()] == pytest.approx([2, 1])


def test_ascending_turns_the_order_round_and_base_counts_from_zero(long):
    down, up, zero = (
        long("rank", alpha=0.01, **options)["soft_rank"].to_numpy().round(6).tolist()
        for options in ({}, {"descending": False}, {"base": 0})
    )
    assert down == [4, 1, 3, 2, 1, 2]
    assert up == [1, 4, 2, 3, 2, 1]
    assert zero == [3, 0, 2, 1, 0, 1]
    least = long("topk", k=1, alpha=0.01, descending=False)["soft_topk"].to_numpy().round(6).tolist()
    assert least == [1, 0, 0, 0, 0, 1]


def test_min_leaves_out_items_of_low_membership(long):
    every = long("topk", k=1, alpha=0.5)
    some = long("topk", k=1, alpha=0.5, minimum=0.1)
    kept = every.filter(pa.compute.greater_equal(every["soft_topk"], 0.1))
    assert 0 < len(some) < len(every)
    assert some.equals(kept)


def test_threshold_is_where_membership_is_one_half(long):
    result = long("topk", k=1, alpha=0.5, threshold=True)
    b = result["threshold"].to_numpy()
    assert len(np.unique(b)) == 2
    z = (result["score"].to_numpy() - b) / 0.5
    laplace = np.where(z <= 0, 0.5 * np.exp(-np.abs(z)), 1 - 0.5 * np.exp(-np.abs(z)))
    np.testing.assert_allclose(result["soft_topk"], laplace, atol=1e-12)
    assert long("topk", k="1,2", threshold=True).column_names[-2:] == ["threshold_1", "threshold_2"]


def test_column_names_the_result(long):
    assert long("rank", column="place").column_names[-1] == "place"
    assert long("topk", k="1,2", column="p").column_names[-2:] == ["p_1", "p_2"]


def test_groups_of_several_columns(tmp_path):
    table = pa.table({"day": [1, 1, 1, 2, 2], "user": ["a", "a", "b", "b", "b"], "score": [1.0, 2.0, 9.0, 4.0, 3.0]})
    run_file("rank", put(table, tmp_path / "in.csv"), tmp_path / "out.csv", group=["day", "user"], alpha=0.01)
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [2, 1, 1, 1, 2])


def test_a_null_group_is_a_group(tmp_path):
    table = pa.table({"qid": pa.array([None, None, 1, 1], pa.int64()), "score": [1.0, 2.0, 9.0, 4.0]})
    run_file("rank", put(table, tmp_path / "in.parquet"), tmp_path / "out.csv", alpha=0.01)
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [2, 1, 1, 2])


@pytest.mark.parametrize("name", ["score", "Score", "SCORE", "logit"])
@pytest.mark.parametrize("format", ["parquet", "csv", "jsonl"])
def test_the_score_is_found_by_its_usual_names(tmp_path, name, format):
    table = pa.table({"QID": ["1", "1", "2"], name: [1, 2, 3], "x": [0.5, 0.25, 0.125]})
    run_file("rank", put(table, tmp_path / f"in.{format}"), tmp_path / "out.csv", alpha=0.01)
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [2, 1, 1])


def test_without_a_group_the_table_is_one_ranking(tmp_path):
    table = pa.table({"item": list("abc"), "score": [1.0, 3.0, 2.0]})
    summary = run_file("rank", put(table, tmp_path / "in.csv"), tmp_path / "out.csv", alpha=0.01)
    assert summary.rankings == 1
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [3, 1, 2])


# NaN, null and infinity.

HOLES = [2.0, np.nan, 1.0, None, 3.0, 5.0, np.nan, 4.0]
HOLES_QID = [1, 1, 1, 1, 1, 2, 2, 2]


def with_holes(layout) -> pa.Table:
    scores = pa.array(HOLES, pa.float64())
    if layout == "long":
        return pa.table({"qid": HOLES_QID, "score": scores})
    if layout == "lists":
        return pa.table({"scores": pa.ListArray.from_arrays([0, 5, 8], scores)})
    return pa.table({f"s_{i}": scores[i : i + 1] for i in range(5)})


@pytest.mark.parametrize("layout", ["long", "lists", "wide"])
def test_nan_and_null_are_refused_ranked_last_or_dropped(tmp_path, layout):
    path = put(with_holes(layout), tmp_path / "in.parquet")
    columns = "s_*" if layout == "wide" else None

    def result(nan):
        sink = tmp_path / f"{nan}.arrow"
        summary = run_file("rank", path, sink, alpha=0.001, nan=nan, columns=columns)
        table = get(sink)
        if layout == "wide":
            return summary, [table[f"soft_rank_s_{i}"][0].as_py() for i in range(5)]
        column = table["soft_rank"].combine_chunks()
        return summary, (column if layout == "long" else column.flatten()).to_pylist()

    with pytest.raises(DataError, match="NaN or null"):
        result("error")
    assert not (tmp_path / "error.arrow").exists()
    first_only = 5 if layout == "wide" else 8
    summary, last = result("last")
    assert last == pytest.approx([2, 4.5, 3, 4.5, 1, 1, 3, 2][:first_only])
    summary, dropped = result("drop")
    assert summary.nan == (2 if layout == "wide" else 3)
    assert dropped == pytest.approx([2, None, 3, None, 1, 1, None, 2][:first_only])


@pytest.mark.parametrize("ascending", [False, True])
def test_nan_last_is_last_in_either_direction(tmp_path, ascending):
    path = put(pa.table({"score": [2.0, None, 1.0]}), tmp_path / "in.parquet")
    run_file("rank", path, tmp_path / "out.arrow", alpha=0.001, nan="last", descending=not ascending)
    assert get(tmp_path / "out.arrow")["soft_rank"].to_pylist() == pytest.approx([2, 3, 1] if ascending else [1, 3, 2])


def test_minus_infinity_masks_an_item(tmp_path):
    table = pa.table({"qid": [1] * 4 + [2] * 2, "score": [-np.inf, 2.0, 1.0, -np.inf, -np.inf, 7.0]})
    path = put(table, tmp_path / "in.parquet")
    run_file("topk", path, tmp_path / "top.arrow", alpha=0.5, k=2)
    assert get(tmp_path / "top.arrow")["soft_topk"].to_pylist() == [0, 1, 1, 0, 0, 1]
    run_file("rank", path, tmp_path / "ranks.arrow", alpha=0.001)
    assert get(tmp_path / "ranks.arrow")["soft_rank"].to_pylist() == pytest.approx([3.5, 1, 2, 3.5, 2, 1])


def test_infinity_survives_text(tmp_path):
    (tmp_path / "in.csv").write_text("qid,score\n1,-inf\n1,2\n1,inf\n")
    run_file("rank", tmp_path / "in.csv", tmp_path / "out.csv", alpha=0.5)
    assert floats(get(tmp_path / "out.csv")["score"]).tolist() == [-np.inf, 2, np.inf]
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [3, 2, 1])


def test_rankings_shorter_than_k_are_counted(tmp_path):
    path = put(long_table(rankings()), tmp_path / "in.parquet")
    assert run_file("topk", path, tmp_path / "out.arrow", k=3).short == sum(n < 3 for n in LENGTHS)


# What a result says about itself, and that nothing else changes it.


@pytest.mark.parametrize("to", ["parquet", "arrow", "arrows"])
def test_a_result_says_how_it_was_made(tmp_path, to):
    path = put(long_table(rankings()), tmp_path / "scores.parquet")
    sinks = [tmp_path / name / f"out.{to}" for name in ("one", "two")]
    for sink in sinks:
        sink.parent.mkdir()
        run_file("topk", path, sink, k="10%", alpha="0.2std", nan="drop")
    assert sinks[0].read_bytes() == sinks[1].read_bytes()
    metadata = pq.read_metadata(sinks[0]).metadata if to == "parquet" else get(sinks[0]).schema.metadata
    made = json.loads(metadata[b"lapsum"])
    want = {"operation": "topk", "k": ["10%"], "alpha": "0.2std", "nan": "drop", "device": "cpu"}
    assert {name: made.get(name) for name in want} == want
    if to == "parquet":  # the others put their metadata first, when nothing is counted yet
        assert (made["rankings"], made["scores"]) == (len(LENGTHS), sum(LENGTHS))
        assert made["inputs"] == [{"name": "scores.parquet", "rows": sum(LENGTHS)}]


def test_same_file_same_bytes_out(tmp_path):
    """Whatever the memory, the threads, and the row groups of the input."""
    lengths = rng().integers(1, 400, 1500)
    lengths[700] = 60_000
    table = long_table(rankings(np.float32, lengths))
    assert 300_000 < len(table) < 400_000
    results = {}
    for row_group, memory, threads in [
        (100, "2GiB", 2),
        (10**6, "2GiB", 1),
        (10**6, "256MiB", 2),
        (10**6, "256MiB", 1),
    ]:
        source = tmp_path / str(row_group) / "scores.parquet"
        if not source.exists():
            source.parent.mkdir()
            pq.write_table(table, source, row_group_size=row_group)
        for name, options in {"rank": {}, "topk": {"k": 10}}.items():
            sink = tmp_path / "out.parquet"
            run_file(name, source, sink, memory=memory, threads=threads, force=True, **options)
            results.setdefault(name, set()).add(sink.read_bytes())
    assert {name: len(different) for name, different in results.items()} == {"rank": 1, "topk": 1}
    assert pq.read_table(io.BytesIO(results["topk"].pop())).drop(["soft_topk"]).equals(table)


def test_other_programs_read_the_result(tmp_path):
    rows = rankings()
    run_file("rank", put(long_table(rows), tmp_path / "in.parquet"), tmp_path / "out.parquet", alpha=0.3)
    frame = polars.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_array_equal(frame["soft_rank"], ranks(rows, alpha=0.3))
    assert frame["title"].to_list()[: len(TITLES)] == TITLES


def test_a_directory_without_parquet_is_no_input(tmp_path):
    with pytest.raises(InputMissing, match=r"no \.parquet"):
        run_file("rank", tmp_path, tmp_path / "out.csv")


def test_npy_files_hold_one_result_each(tmp_path):
    path = put(long_table(rankings()), tmp_path / "in.parquet")
    run_file("topk", path, tmp_path / "out.npy", k="1,2")
    run_file("topk", path, tmp_path / "out.parquet", k="1,2")
    table = pq.read_table(tmp_path / "out.parquet")
    assert np.array_equal(np.load(tmp_path / "out.npy"), table["soft_topk_1"])
    assert np.array_equal(np.load(tmp_path / "out.soft_topk_2.npy"), table["soft_topk_2"])
    with pytest.raises(OptionError, match="soft_topk_1, soft_topk_2"):
        run_file("topk", path, "/dev/stdout", k="1,2", to_format="npy")
