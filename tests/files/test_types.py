"""Every type of Arrow, in every part that a column can play, from and to every format: the same values come out, or a
refusal names the column, its type and the formats that can hold it.
"""

import csv
import decimal
import itertools
import json
import re
import uuid

import numpy as np
import pyarrow as pa
import pytest
from tables import TABLES, get, put

from lapsum_cli import DataError, LapsumError, run_file
from lapsum_cli.formats.plain import converted, plain_type
from lapsum_cli.formats.sources import Chunk
from lapsum_cli.tables.long import Long
from lapsum_cli.tables.roles import Names

BINARY = ("parquet", "arrow", "arrows")
TEXT = ("csv", "tsv", "jsonl")
# A stream is read as a file of Arrow is: the gate looks at it.
SOURCES = ("parquet", "arrow", pytest.param("arrows", marks=pytest.mark.slow))
# Rows 0 and 1 hold a value, 2 and 3 another, 4 none, 5 a third: four groups.
ROWS = [0, 0, 1, 1, None, 2]
FAR = 253402214400  # seconds to the last day of 9999


ZONES = [
    (None, "00:00:00", ""),
    ("UTC", "00:00:00", "Z"),
    ("+05:30", "05:30:00", "+0530"),
    ("Europe/Paris", "01:00:00", "+0100"),
    ("Mars/Phobos", "00:00:00", "Z"),  # a zone that nobody knows has the text of UTC
]


class Celsius(pa.ExtensionType):
    """A type that nobody but this test knows."""

    def __init__(self):
        super().__init__(pa.int64(), "lapsum.celsius")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls()


def rows(values, kind) -> pa.Array:
    return pa.array([None if i is None else values[i] for i in ROWS], kind)


def stored(numbers, kind) -> pa.Array:
    """Values of a type that is stored as these integers."""
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    return rows(numbers, width).view(kind)


def dictionary(values, index=None, ordered=False) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(ROWS, index or pa.int32()), values, ordered=ordered)


def runs(values) -> pa.Array:
    ends = pa.array([2, 4, 5, 6], pa.int32())
    return pa.RunEndEncodedArray.from_arrays(ends, pa.array([values[0], values[1], None, values[2]]))


def every_number():
    """Types of numbers, and the text of their values where it is not that of 1, 2 and 3."""
    for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()):
        yield str(kind), rows([1, 2, 3], kind)
    for kind in (pa.float16(), pa.float32(), pa.float64()):
        yield str(kind), rows(np.array([1, 2, 3], kind.to_pandas_dtype()), kind)
    for kind in (pa.decimal32(9), pa.decimal64(18), pa.decimal128(38), pa.decimal256(76)):
        yield str(kind), rows([decimal.Decimal(i) for i in (1, 2, 3)], kind)
    yield "dictionary of floats", dictionary(pa.array([1.0, 2.0, 3.0]))
    yield "runs of floats", runs([1.0, 2.0, 3.0])


def every_time():
    """Times of every unit and zone, also those that Python has no object for, and their text."""
    digits = {"s": "", "ms": ".001", "us": ".000001", "ns": ".000000001"}
    for unit, tick in digits.items():
        zero = tick.replace("1", "0")
        for zone, shifted, end in ZONES:
            first = f"{shifted}{tick}" if tick else f"{shifted[:-1]}1"
            texts = [f"1970-01-01 {first}{end}", f"1970-01-01 {shifted}{zero}{end}"]
            yield f"timestamp {unit} {zone}", stored([1, 0, 9], pa.timestamp(unit, zone)), texts
        yield f"duration {unit}", stored([10**15 + 1, -5, 9], pa.duration(unit)), [str(10**15 + 1), "-5"]
    yield (
        "timestamp ns with digits",
        stored([1709251199123456789, -1, 9], pa.timestamp("ns")),
        [
            "2024-02-29 23:59:59.123456789",
            "1969-12-31 23:59:59.999999999",
        ],
    )
    yield "timestamp us far", stored([FAR * 10**6, -FAR * 10**6, 9], pa.timestamp("us")), ["9999-12-31 00:00:00.000000"]
    for unit, text in (("s", "00:00:01"), ("ms", "00:00:00.001")):
        yield f"time32 {unit}", stored([1, 0, 9], pa.time32(unit)), [text]
    for unit in ("us", "ns"):
        yield f"time64 {unit}", stored([1, 0, 9], pa.time64(unit)), [f"00:00:00{digits[unit]}"]
    yield "date32", stored([1, -1, 9], pa.date32()), ["1970-01-02", "1969-12-31"]
    yield "date64", stored([86_400_000, -86_400_000, 0], pa.date64()), ["1970-01-02", "1969-12-31"]
    interval = [pa.MonthDayNano(parts) for parts in ([1, 2, 3], [0, -1, 0], [0, 0, 0])]
    yield "interval", rows(interval, pa.month_day_nano_interval()), ["P1M2DT0.000000003S", "P0M-1DT0S"]


def every_other():
    """Text, bytes, dictionaries, runs, lists, structs, maps, unions and extensions, and their text as it is in CSV."""
    words = ["a", 'b\n"', "é"]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        yield str(kind), rows(words, kind), words
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1)):
        yield str(kind), rows([b"a", b"b", b"c"], kind), ["a", "b"]
    for kind in (pa.binary(), pa.binary(2)):
        yield f"{kind} that is no text", rows([b"\xff\x00", b"\xfe\x00", b"ab"], kind), None
    yield "bool", rows([True, False, True], pa.bool_()), ["true", "false"]
    yield "null", pa.nulls(6), [None, None]
    yield "date32 beyond calendars", stored([10**8, -(10**8), 1], pa.date32()), None
    yield "timestamp s beyond calendars", stored([10**14, -(10**14), 1], pa.timestamp("s")), None
    for index in (pa.int8(), pa.uint32(), pa.int64()):
        yield f"dictionary {index}", dictionary(pa.array(words), index), words
    yield "dictionary ordered", dictionary(pa.array(words), pa.int8(), ordered=True), words
    yield "dictionary of views", dictionary(pa.array(words, pa.string_view()), pa.uint32()), words
    yield "dictionary of times", dictionary(pa.array([1, 2, 3]).view(pa.timestamp("ns"))), None
    yield "dictionary of structs", dictionary(pa.array([{"a": 1}, {"a": 2}, {"a": None}])), ['{"a": 1}', '{"a": 2}']
    yield "runs of words", runs(words), words
    lists = [[1, 2], [3], []]
    for make in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view):
        kind = make(pa.int64())
        yield str(kind), rows(lists, kind), ["[1,2]", "[3]"]
    yield "list of two", rows([[1, 2], [3, None], [4, 5]], pa.list_(pa.int64(), 2)), ["[1,2]", "[3,null]"]
    structs = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": None, "b": None}]
    yield "struct", rows(structs, pa.struct([("a", pa.int64()), ("b", pa.string())])), ['{"a": 1, "b": "x"}']
    yield "map", rows([[("k", 1)], [("k", 2)], []], pa.map_(pa.string(), pa.int64())), ['[["k", 1]]', '[["k", 2]]']
    codes = pa.array([0, 0, 1, 1, 0, 1], pa.int8())
    sides = [pa.array([7, 7, None, None, None, None]), pa.array([None, None, "u", "u", None, "v"])]
    yield "sparse union", pa.UnionArray.from_sparse(codes, sides, ["n", "s"]), ["7", '"u"']
    places = pa.array([0, 0, 0, 0, 1, 1], pa.int32())
    dense = [pa.array([7, None]), pa.array(["u", "v"])]
    yield "dense union", pa.UnionArray.from_dense(codes, places, dense, ["n", "s"]), ["7", '"u"']
    ids = [uuid.UUID(int=i) for i in (1, 2**127, 3)]
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), rows([i.bytes for i in ids], pa.binary(16)))
    yield "uuid", uuids, [str(i) for i in ids]
    yield "list of uuid", pa.ListArray.from_arrays(range(7), uuids), [f'["{ids[0]}"]', f'["{ids[1]}"]']
    for name, kind, values, texts in (
        ("json", pa.json_(), ['{"a": 1}', "[1]", "2"], ['{"a": 1}', "[1]"]),
        ("bool8", pa.bool8(), [1, 0, 2], ["1", "0"]),
        ("celsius", Celsius(), [1, 2, 3], ["1", "2"]),
        ("tensor", pa.fixed_shape_tensor(pa.int64(), [2]), [[1, 2], [3, 4], [5, 6]], ["[1,2]", "[3,4]"]),
        ("hugeint", pa.opaque(pa.binary(16), "hugeint", "DuckDB"), [b"\xff" * 16, b"\xfe" * 16, b"\0" * 16], None),
    ):
        yield name, pa.ExtensionArray.from_storage(kind, rows(values, kind.storage_type)), texts


NUMBERS = dict(every_number())
TYPES = {name: (column, ["1", "2"]) for name, column in NUMBERS.items()}
TYPES |= {name: (column, texts) for name, column, texts in [*every_time(), *every_other()]}
# What cannot be written, by format.
NOT_IN_PARQUET = {"interval", "sparse union", "dense union"}
NOT_IN_TEXT = {
    "binary that is no text",
    "fixed_size_binary[2] that is no text",
    "date32 beyond calendars",
    "timestamp s beyond calendars",
    "hugeint",
}
REFUSED = {**dict.fromkeys(TEXT, NOT_IN_TEXT), "parquet": NOT_IN_PARQUET, "arrow": set(), "arrows": set()}
# What may pass for numbers, or for a ranking in each row, which are other tests'.
MEANT = {"bool", "bool8", "list of two", *(name for name in TYPES if "list<" in name or "view<item" in name)}
# What PyArrow itself writes to no Parquet file.
NOT_GIVEN_IN_PARQUET = {
    *NOT_IN_PARQUET,
    "runs of floats",
    "runs of words",
    "dictionary of views",
    "dictionary of structs",
}


def nested(column) -> dict:
    """The column by itself, and in each kind of type that holds others."""
    ends = pa.array(range(len(column) + 1), pa.int32())
    held = {"": column, " struct": pa.StructArray.from_arrays([column], ["x"])}
    held[" list"] = pa.ListArray.from_arrays(ends, column)
    held[" map"] = pa.MapArray.from_arrays(ends, pa.array(list("abcdef")), column)
    return held


def table(names) -> pa.Table:
    columns = {name + how: held for name in names for how, held in nested(TYPES[name][0]).items()}
    return pa.table({**columns, "score": np.arange(6.0)})


def given(names, source, path) -> pa.Table:
    """A file with these columns, and what it holds as PyArrow reads it."""
    left = [name for name in names if source != "parquet" or name not in NOT_GIVEN_IN_PARQUET]
    return get(put(table(left), path / f"in.{source}"))


def same(got, want) -> bool:
    """Whether values are the same, whatever stands in a dictionary or is a view."""
    left, right = (converted(column.combine_chunks(), plain_type(column.type)) for column in (got, want))
    if left.type != right.type:  # Parquet has no seconds, and no dates of milliseconds
        left = left.cast(right.type)
    return left.equals(right)


@pytest.fixture(scope="module")
def registered():
    pa.register_extension_type(Celsius())
    yield
    pa.unregister_extension_type("lapsum.celsius")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("to", BINARY)
@pytest.mark.parametrize("source", SOURCES)
def test_every_type_is_carried_at_any_depth(tmp_path, source, to):
    want = given([name for name in TYPES if name not in REFUSED[to]], source, tmp_path)
    run_file("rank", tmp_path / f"in.{source}", tmp_path / f"out.{to}", group=(), score="score")
    got = get(tmp_path / f"out.{to}")
    assert got.column_names == [*want.column_names, "soft_rank"]
    assert not [name for name in want.column_names if not same(got[name], want[name])]
    kept = [f.name for f in want.schema if isinstance(f.type, pa.BaseExtensionType)]
    assert len(kept) == 6 or source == "parquet"
    assert not [name for name in kept if got.schema.field(name).type != want.schema.field(name).type]


def spoken(name, how) -> list:
    """The first two values of a column of text, as JSON has them at that depth; None where the table does not say."""
    column, texts = TYPES[name]
    if texts is None:
        return []
    is_own = (name in NUMBERS and not name.startswith("decimal")) or name == "bool"
    is_json = pa.types.is_nested(plain_type(column.type)) or name in ("list of uuid", "tensor")
    values = [json.loads(text) if (is_own or is_json) and text is not None else text for text in texts[:2]]
    at = {
        "": lambda v, i: v,
        " struct": lambda v, i: {"x": v},
        " list": lambda v, i: [v],
        " map": lambda v, i: [["abcdef"[i], v]],
    }
    return [at[how](value, 2 * i) for i, value in enumerate(values)]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("to", ["csv", "jsonl"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_type_has_its_text_at_any_depth(tmp_path, source, to):
    names = [name for name in TYPES if name not in REFUSED[to]]
    want = given(names, source, tmp_path)
    run_file("rank", tmp_path / f"in.{source}", tmp_path / f"out.{to}", group=(), score="score")
    with (tmp_path / f"out.{to}").open(newline="") as text:
        lines = [json.loads(line) for line in text] if to == "jsonl" else list(csv.DictReader(text, strict=True))
    wrong = {}
    for name in [name for name in names if name in want.column_names]:
        if source == "parquet" and plain_type(want[name].type) != plain_type(TYPES[name][0].type):
            continue  # it has no seconds, which come out as milliseconds
        for how in nested(TYPES[name][0]):
            got = [lines[0][name + how], lines[2][name + how]]
            expected = spoken(name, how)
            if to == "csv":
                got = [json.loads(text) for text in got] if how else got
                expected = expected if how else [text or "" for text in (TYPES[name][1] or [])][:2]
            if got[: len(expected)] != expected:
                wrong[name + how] = (got, expected)
    assert not wrong, wrong


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("to", TABLES)
def test_what_a_format_cannot_hold_is_refused_by_column_type_and_format(tmp_path, to):
    for name in REFUSED[to]:
        for column in (TYPES[name][0], nested(TYPES[name][0])[" struct"]):
            put(pa.table({"odd": column, "score": np.arange(6.0)}), tmp_path / "in.arrow")
            with pytest.raises(LapsumError) as refused:
                run_file("rank", tmp_path / "in.arrow", tmp_path / f"out.{to}", group=(), score="score")
            words = str(refused.value)
            assert f'out.{to}: column "odd" has type {plain_type(column.type)}' in words, name
            assert re.search(r"write (parquet, )?arrow or arrows \(to_format=\)", words)
            assert ("parquet," in words) == (name not in NOT_IN_PARQUET)
    assert not (tmp_path / f"out.{to}").exists()


def alone(name, source, path) -> tuple:
    """A file with one column and scores, and that column as PyArrow reads it."""
    file = put(pa.table({"odd": TYPES[name][0], "score": np.arange(6.0)}), path / f"in.{source}")
    return file, get(file)["odd"]


def readable(source):
    return [name for name in TYPES if source != "parquet" or name not in NOT_GIVEN_IN_PARQUET]


@pytest.mark.usefixtures("registered")
def test_every_type_is_a_group_at_any_depth():
    """Equal values that stand together are one ranking, and one that comes back is refused, sorted or not."""
    for name, how in itertools.product([name for name in TYPES if name != "bool"], ("", " struct", " list", " map")):
        held = nested(TYPES[name][0])[how]
        plain = converted(held, plain_type(held.type))
        layout = Long("score", ("odd",), Names())
        seen = layout.seen(1 << 20)
        starts = layout.starts(Chunk(pa.record_batch({"odd": plain}), "in", 1), seen).tolist()
        again = Chunk(pa.record_batch({"odd": plain.slice(2, 2)}), "in", 7)
        if how == " map":  # each has a key of its own
            assert starts == [0, 1, 2, 3, 4, 5], name
        else:
            assert starts == ([0] if name == "null" else [0, 2, 4, 5]), name + how
        if name != "null":
            with pytest.raises(DataError, match=r"(?s)in, row 7: odd .* appears again after its ranking was closed"):
                layout.starts(again, seen)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("source", SOURCES)
def test_every_type_is_a_group_and_an_item(tmp_path, source):
    sink, options = tmp_path / "out.arrow", {"score": "score", "alpha": 1e-6, "force": True}
    for name in readable(source):
        file, want = alone(name, source, tmp_path)
        if name != "bool":  # which has no third value
            assert run_file("rank", file, sink, group="odd", **options).rankings == (1 if name == "null" else 4), name
        run_file("permute", file, sink, group=(), item="odd", **options)
        assert same(get(sink)["odd"], want), name


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("source", SOURCES)
def test_numbers_are_scores_and_targets_and_nothing_else_is(tmp_path, source):
    sink, options = tmp_path / "out.arrow", {"group": (), "nan": "last", "force": True, "alpha": 1e-6}
    target = {"target": "odd", "score": "score", "loss": "spearman"}
    for name in readable(source):
        file, _ = alone(name, source, tmp_path)
        if name in NUMBERS:
            run_file("rank", file, sink, score="odd", **options)
            ranks = np.asarray(get(sink)["soft_rank"], np.float64)
            np.testing.assert_allclose(ranks, [4.5, 4.5, 2.5, 2.5, 6, 1], rtol=1e-3)
            with pytest.raises(DataError, match='row 5: the target in "odd" is NaN or null'):
                run_file("loss", file, sink, **target, **options)
        elif name not in MEANT:
            for operation, role in (("rank", {"score": "odd"}), ("loss", target)):
                with pytest.raises(DataError, match='column "odd" has type'):
                    run_file(operation, file, sink, **role, **options)
