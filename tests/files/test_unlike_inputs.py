"""Inputs that are read as one: parts whose types differ, folders of any depth, names of any bytes."""

import contextlib
import os
import shutil

import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import get, put

from lapsum_cli import DataError, InputMissing, run_file

SCORES = {"score": [2.0, 1.0]}
OPTIONS = {"group": (), "score": "score", "force": True}
MICROSECONDS = pa.array([253402214400000000, -(10**15)], pa.int64()).view(pa.timestamp("us"))


def part(path, column, nullable=True):
    schema = pa.schema([pa.field("c", column.type, nullable=nullable), ("score", pa.float64())])
    pq.write_table(pa.table([column, pa.array(np.arange(float(len(column))))], schema=schema), path)
    return path


# Two columns, and the type that holds both; None where there is none.
PAIRS = {
    "text": (pa.array(["a"]), pa.array(["b"], pa.large_string()), pa.large_string()),
    "views": (pa.array(["a"]), pa.array(["b"], pa.string_view()), pa.large_string()),
    "bytes": (pa.array([b"a"]), pa.array([b"bc"], pa.binary(2)), pa.large_binary()),
    "dictionary": (pa.array(["a"]).dictionary_encode(), pa.array(["b"]), pa.string()),
    "indices": (
        pa.array(["a"]).dictionary_encode(),
        pa.array(["b"]).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
        pa.dictionary(pa.int32(), pa.string()),
    ),
    "integers": (pa.array([1], pa.int32()), pa.array([2**40]), pa.int64()),
    "signs": (pa.array([2**32 - 1], pa.uint32()), pa.array([-1], pa.int8()), pa.int64()),
    "floats": (pa.array([0.1], pa.float32()), pa.array([0.1]), pa.float64()),
    "with nulls": (pa.array([1, 2**53 - 1]), pa.array([2.5, None]), pa.float64()),
    "nothing": (pa.nulls(1), pa.array(["b"]), pa.string()),
    "decimals": (
        pa.array([1], pa.decimal128(5, 1)),
        pa.array([2], pa.decimal128(9, 2)),
        pa.decimal128(9, 2),
    ),
    "units": (pa.array([1]).view(pa.timestamp("ms")), pa.array([1]).view(pa.timestamp("us")), pa.timestamp("us")),
    "lists": (
        pa.array([[1]], pa.list_(pa.int32())),
        pa.array([[2, None]], pa.large_list(pa.int64())),
        pa.large_list(pa.field("element", pa.int64())),
    ),
    "structs": (
        pa.array([{"a": 1, "b": "x"}]),
        pa.array([{"b": "y", "a": 2}], pa.struct([("b", pa.large_string()), ("a", pa.int8())])),
        pa.struct([("a", pa.int64()), ("b", pa.large_string())]),
    ),
    "words and numbers": (pa.array(["1"]), pa.array([1]), None),
    "zones": (pa.array([1]).view(pa.timestamp("us")), pa.array([1]).view(pa.timestamp("us", "UTC")), None),
    "fields": (pa.array([{"a": 1}]), pa.array([{"b": 1}]), None),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_parts_of_unlike_types_are_one_where_a_type_holds_both(tmp_path, name, turned):
    *columns, kind = PAIRS[name]
    files = [part(tmp_path / f"{i}.parquet", column) for i, column in enumerate(columns[:: -1 if turned else 1])]
    if kind is None:
        one, two = (get(file)["c"].type for file in files)
        with pytest.raises(DataError) as refused:
            run_file("rank", files, tmp_path / "out.arrows", **OPTIONS)
        assert f"{files[1]}: its columns differ from those of {files[0]}: has c: {two}" in str(refused.value)
        assert f"lacks c: {one}" in str(refused.value)
        return
    run_file("rank", files, tmp_path / "out.arrows", **OPTIONS)
    got = get(tmp_path / "out.arrows")["c"]
    if not turned:
        assert got.type == kind
    expected = [value for column in columns[:: -1 if turned else 1] for value in column.to_pylist()]
    if name == "floats":
        expected = [float(np.float32(0.1)), 0.1][:: -1 if turned else 1]
    assert got.to_pylist() == expected


@pytest.mark.parametrize("to", ["parquet", "arrow", "arrows", "csv"])
def test_parts_that_differ_in_not_null_are_one(tmp_path, to):
    """As DuckDB writes them; results with columns that are not null are written, too."""
    files = [part(tmp_path / "0.parquet", pa.array([7, 7]), nullable=False)]
    files.append(part(tmp_path / "1.parquet", pa.array([7, None])))
    for order in (files, files[::-1], files[:1], files[:1] * 2):
        run_file("rank", order, tmp_path / f"out.{to}", **OPTIONS)
        assert len(get(tmp_path / f"out.{to}")) == 2 * len(order)
    run_file("permute", files[0], tmp_path / f"out.{to}", item="c", **OPTIONS)


@pytest.mark.parametrize("columns", [([1], [2**64 - 1]), ([2**60 + 1], [0.5])])
def test_a_value_that_the_type_of_all_parts_does_not_hold_is_refused(tmp_path, columns):
    kinds = [pa.int64(), pa.uint64() if columns[1][0] > 1 else pa.float64()]
    files = [
        part(tmp_path / f"{i}.parquet", pa.array(*pair)) for i, pair in enumerate(zip(columns, kinds, strict=True))
    ]
    with pytest.raises(
        DataError, match=r'[01]\.parquet: column "c" has type u?int64, and .* is to hold it: Integer value'
    ):
        run_file("rank", files, tmp_path / "out.csv", **OPTIONS)
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_is_searched_to_any_depth_but_for_notes_of_programs(tmp_path):
    for i, name in enumerate(["b.parquet", "a/z.parquet", "a/deep/er/x.parquet", "_kind=1/y.parquet"]):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        put(pa.table({"n": [i], "score": [1.0]}), tmp_path / "in" / name)
    for name in ("._b.parquet", ".hidden.parquet", "_metadata.parquet", "_temporary/0.parquet", ".git/x.parquet"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "in" / "_SUCCESS").touch()
    os.symlink("..", tmp_path / "in" / "a" / "again")
    run_file("rank", tmp_path / "in", tmp_path / "out.arrow", **OPTIONS)
    assert get(tmp_path / "out.arrow")["n"].to_pylist() == [3, 2, 1, 0]
    assert "_kind" not in get(tmp_path / "out.arrow").column_names  # which only one of them has
    (tmp_path / "in" / "empty").mkdir()
    with pytest.raises(InputMissing, match=r"no \.parquet"):
        run_file("rank", tmp_path / "in" / "empty", tmp_path / "out.csv")


# Folders, and what DuckDB gives for them.
FOLDERS = [
    ["qid=7", "qid=10"],
    ["qid=007", "qid=10"],
    ["q=a%20b", "q=1"],
    ["q=1", "q=__HIVE_DEFAULT_PARTITION__"],
    ["d=2020-01-01", "d=2020-02-29"],
    ["d=2020-01-01 10:00:00"],
    ["x=1.5"],
    ["x=true"],
    ["a=1/b=x", "a=2/b=y"],
    ["b=1/a=2", "a=3/b=4"],
    ["a=1", "b=2"],
    ["a=1", "c"],
    ["score=9"],
    ["q="],
    ["a=b=c"],
    ["q=99999999999999999999"],
    ["q=-5", "q=6"],
    ["a=1/a=2"],
]


@pytest.mark.parametrize("folders", FOLDERS, ids=" ".join)
def test_folders_name_columns_as_duckdb_has_them(tmp_path, folders):
    for i, folder in enumerate(folders):
        (tmp_path / "in" / folder).mkdir(parents=True)
        put(pa.table({"n": [i], "score": [1.5]}), tmp_path / "in" / folder / "a.parquet")
    for source in (tmp_path / "in", tmp_path / "in" / "**" / "*.parquet"):
        run_file("rank", source, tmp_path / "out.arrow", alpha=1, **OPTIONS)
        got = get(tmp_path / "out.arrow").drop(["soft_rank"]).sort_by("n")
        want = duckdb.sql(f"from read_parquet('{tmp_path}/in/**/*.parquet') order by n").to_arrow_table()
        assert got.to_pydict() == want.to_pydict()
        assert got.schema.types == want.schema.types


def test_a_partition_is_the_group(tmp_path):
    query = "select i % 3 as qid, (i % 2)::varchar || ' x' as s, random() as score, uuid() as id from range(20) t(i)"
    duckdb.sql(f"copy ({query}) to '{tmp_path}/in' (format parquet, partition_by (qid, s))")
    summary = run_file("rank", tmp_path / "in", tmp_path / "out.parquet")
    assert (summary.rows, summary.rankings) == (20, 3)
    frame = pandas.read_parquet(tmp_path / "out.parquet")
    assert sorted(frame["s"].unique()) == ["0 x", "1 x"]


@pytest.mark.parametrize("format", ["parquet", "arrow", "arrows", "csv", "jsonl"])
def test_names_need_not_be_utf8(tmp_path, format):
    folder = os.path.join(os.fsencode(tmp_path), b"f\xff")
    os.mkdir(folder)
    shutil.copy(put(pa.table(SCORES), tmp_path / f"in.{format}"), os.path.join(folder, b"\xfe." + format.encode()))
    source, sink = (os.path.join(folder, name + format.encode()) for name in (b"\xfe.", b"\xfd."))
    for given in ((source, sink), (os.fsdecode(source), os.fsdecode(sink))):
        run_file("rank", *given, alpha=1, force=True)
        assert os.path.getsize(sink) > 20
    with pytest.raises(DataError, match=r"\udcfe"):
        run_file("rank", source, sink, score="score", group=(), force=True, from_format="npy")


def test_times_of_96_bits_are_read_at_microseconds(tmp_path):
    nested = {
        "s": pa.StructArray.from_arrays([MICROSECONDS], ["t"]),
        "l": pa.ListArray.from_arrays([0, 1, 2], MICROSECONDS),
    }
    table = pa.table({"t": MICROSECONDS, **nested, **SCORES})
    pq.write_table(table, tmp_path / "in.parquet", use_deprecated_int96_timestamps=True)
    run_file("rank", tmp_path / "in.parquet", tmp_path / "out.arrow", group="t", score="score")
    got = get(tmp_path / "out.arrow").drop(["soft_rank"])
    assert got.to_pydict() == table.to_pydict()
    assert str(got["t"][0]) == "9999-12-31 00:00:00"


CATEGORIES = {
    "c": polars.Series(["a", "b", "a"], dtype=polars.Categorical),
    "e": polars.Series(["x", "y", None], dtype=polars.Enum(["x", "y"])),
    "l": polars.Series([["a"], ["b", "a"], []], dtype=polars.List(polars.Categorical)),
    "s": polars.Series([{"k": "a"}, {"k": "b"}, None], dtype=polars.Struct({"k": polars.Categorical})),
}


@pytest.mark.parametrize("to", ["parquet", "arrow", "arrows"])
@pytest.mark.parametrize("write", ["write_ipc", "write_ipc_stream", "write_parquet"])
def test_categories_of_polars_are_carried(tmp_path, write, to):
    frame = polars.DataFrame({**CATEGORIES, "score": [1.0, 3.0, 2.0]})
    getattr(frame, write)(tmp_path / "in")
    run_file("rank", tmp_path / "in", tmp_path / f"out.{to}", **OPTIONS)
    got = get(tmp_path / f"out.{to}").drop(["soft_rank"])
    assert got.to_pylist() == frame.to_dicts()


def test_lists_of_few_words_may_stand_in_several_row_groups(tmp_path):
    table = pa.table({"score": np.arange(3e4), "words": pa.array([["w", "b"], ["k"]] * 15_000)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=10_000)
    run_file("rank", tmp_path / "in.parquet", tmp_path / "out.parquet", **OPTIONS)
    assert get(tmp_path / "out.parquet").drop(["soft_rank"]).equals(table)


@pytest.mark.parametrize("format", ["arrow", "arrows"])
def test_a_length_that_no_file_has_is_damage(tmp_path, format):
    for compression in (None, "zstd"):
        batch = pa.record_batch({"score": np.zeros(300)})
        make = pa.ipc.new_file if format == "arrow" else pa.ipc.new_stream
        with make(tmp_path / "in", batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as out:
            out.write_batch(batch)
        data = (tmp_path / "in").read_bytes()
        for at in [*range(0, 48, 8), *range(len(data) - 48, len(data) - 8, 8), *range(48, len(data) - 48, 80)]:
            damaged = data[:at] + (2**62).to_bytes(8, "little") + data[at + 8 :]
            (tmp_path / "damaged").write_bytes(damaged)
            with contextlib.suppress(DataError):  # or it is none that is read
                run_file("rank", tmp_path / "damaged", tmp_path / "out.csv", from_format=format, **OPTIONS)
