"""Runs and closed groups, against plain Python on lists; cuts by bytes, against the rows they cut."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli.formats.plain import converted, plain_type
from lapsum_cli.formats.rowgroups import RowGroups
from lapsum_cli.formats.sizes import cumulative_bytes
from lapsum_cli.tables.groups import ClosedGroups, run_starts
from lapsum_cli.tables.keys import comparable

keys = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-3, 3)), min_size=1, max_size=40).map(lambda v: pa.array(v, pa.int64())),
    st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "ab"])), min_size=1, max_size=40).map(
        lambda v: pa.array(v, pa.string())
    ),
)
chunk_sizes = st.integers(1, 7)


@given(keys, chunk_sizes)
def test_a_run_starts_where_a_value_differs_from_the_one_before(column, size):
    found, previous = [], None
    for start in range(0, len(column), size):
        chunk = column[start : start + size]
        found += [start + i for i in run_starts([chunk], previous)]
        previous = [chunk[-1:]]
    values = column.to_pylist()
    assert found == [i for i, value in enumerate(values) if i == 0 or value != values[i - 1]]


def test_one_form_for_each_group():
    assert comparable(pa.array([0.0, -0.0, np.nan, None])).to_pylist() == [0.0, 0.0, None, None]
    assert run_starts([comparable(pa.array([np.nan, None, 0.0, -0.0]))], None).tolist() == [0, 2]
    assert run_starts([comparable(pa.array(["a", "a", "b"], pa.string_view()))], None).tolist() == [0, 2]
    assert run_starts([comparable(pa.array([None, None], pa.null()))], None).tolist() == [0]


orders = st.sampled_from([sorted, lambda v: sorted(v, reverse=True), list])


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40, unique=True), orders, st.data())
def test_a_group_that_returns_is_found_whatever_the_order(values, order, data):
    values = order(values)
    if data.draw(st.booleans()):  # a null is a group too, in whichever chunk it comes
        values.insert(data.draw(st.integers(0, len(values))), None)
    values += data.draw(st.lists(st.sampled_from(values), max_size=1))  # the last may have been seen before
    as_text = data.draw(st.booleans())
    size = data.draw(chunk_sizes)
    closed, found = ClosedGroups(1 << 20), None
    for start in range(0, len(values), size):
        chunk = [f"{v:+04}" if as_text and v is not None else v for v in values[start : start + size]]
        at = closed.add([pa.array(chunk, pa.string() if as_text else pa.int64())])
        if at is not None:
            found = start + at
            break
    assert found == (len(values) - 1 if values[-1] in values[:-1] else None)


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()], ids=str)
@pytest.mark.parametrize("size", [1, 3, 10])
def test_no_integer_is_taken_for_a_null(kind, size):
    """Any 64 bits may be an id, also those that a hash table would mark a null with."""
    golden = 11400714819323198485  # 2^64 divided by the golden ratio
    ids = [0, 2**64 - 1, golden] if kind == pa.uint64() else [0, -(2**63), 2**63 - 1, -1, golden - 2**64]
    for values in ([1, 9, None, 5, *ids], [1, 9, *ids, 5, None]):  # in no order
        closed = ClosedGroups(1 << 20)
        for start in range(0, len(values), size):
            assert closed.add([pa.array(values[start : start + size], kind)]) is None
        assert closed.add([pa.array([7, None, 8], kind)]) == 1
        for again in ids:
            assert closed.add([pa.array([again], kind)]) == 0


def test_more_groups_than_memory_need_an_order():
    sorted_keys = [pa.array(np.arange(start, start + 1000)) for start in range(0, 20_000, 1000)]
    closed = ClosedGroups(limit=8 * 4000)
    assert [closed.add([key]) for key in sorted_keys] == [None] * 20
    assert closed.add([pa.array([20_000, 20_001, 5])]) == (ClosedGroups.TooMany, 2)

    closed = ClosedGroups(limit=8 * 4000)
    shuffled = np.random.default_rng(0).permutation(20_000)
    answers = [closed.add([pa.array(part)]) for part in np.split(shuffled, 20)]
    assert answers[:3] == [None] * 3
    assert answers[5][0] is ClosedGroups.TooMany


rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 9),
            "text": st.one_of(st.none(), st.text(max_size=5)),
            "scores": st.one_of(st.none(), st.lists(st.floats(0, 1, width=32), max_size=5)),
        }
    ),
    min_size=1,
    max_size=30,
)
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string()), ("scores", pa.list_(pa.float32()))])


@given(rows, st.integers(0, 29), chunk_sizes)
def test_bytes_of_rows_add_up_however_they_are_cut(rows, start, size):
    batch = pa.RecordBatch.from_pylist(rows, SCHEMA)
    whole = np.diff(cumulative_bytes(batch))
    parts = [np.diff(cumulative_bytes(batch.slice(at, size))) for at in range(0, len(rows), size)]
    assert np.array_equal(np.concatenate(parts), whole)
    want = [8 + 8 + len((row["text"] or "").encode()) + 8 + 4 * len(row["scores"] or []) for row in rows]
    assert whole.tolist() == want


KINDS = {
    pa.dictionary(pa.int8(), pa.string()): ["a", None, "bb", "a", ""],
    pa.dictionary(pa.uint16(), pa.int64()): [1, None, 2, 1, 3],
    pa.list_(pa.dictionary(pa.int32(), pa.string())): [["a", "b"], None, [], ["b", None], ["a"]],
    pa.list_(pa.dictionary(pa.int32(), pa.string()), 2): [["a", "b"], None, ["b", "b"], [None, "a"], ["c", "a"]],
    pa.struct([("a", pa.dictionary(pa.int32(), pa.string())), ("b", pa.int8())]): [{"a": "x", "b": 1}, None] * 3,
    pa.map_(pa.string(), pa.dictionary(pa.int32(), pa.string())): [[("k", "v")], None, [], [("l", None)], []],
    pa.large_list(pa.string_view()): [["a", "b" * 30], None, [], ["b", None], ["c"]],
    pa.string_view(): ["a", "b" * 30, None, "", "c"],
    pa.binary_view(): [b"a", b"b" * 30, None, b"", b"c"],
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_plain_form_keeps_values_and_tells_their_bytes(kind):
    """Whatever part of a column is made plain: values stay, bytes are what was foretold, and the way back is open."""
    column = converted(pa.array(KINDS[kind], plain_type(kind)), kind)
    assert column.type == kind
    assert column.to_pylist() == KINDS[kind]
    for part in (column, column[1:], column[1:3], column[:2], column[:0]):
        plain = converted(part, plain_type(kind))
        plain.validate(full=True)
        assert plain.to_pylist() == converted(plain, kind).to_pylist() == part.to_pylist()
        as_they_came, as_they_are = (cumulative_bytes(pa.record_batch({"x": rows})) for rows in (part, plain))
        assert np.array_equal(as_they_came, as_they_are)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.integers(1, 500))
def test_row_groups_do_not_depend_on_how_the_rows_arrive(lengths, size):
    lists = pa.ListArray.from_arrays(np.cumsum([0, *lengths]), np.arange(sum(lengths), dtype=np.float64))
    table = pa.table({"scores": lists})

    def groups(tables):
        gathering = RowGroups()
        gathering.group.most_bytes, gathering.piece.most_bytes, gathering.piece.most_rows = 4000, 1500, 5
        made = [group for table in tables for group in gathering.add(table)]
        made += gathering.rest()
        return [[chunk.to_pylist() for chunk in group["scores"].chunks] for group in made]

    at_once = groups([table])
    assert at_once == groups([table.slice(at, size) for at in range(0, len(table), size)])
    assert [row for group in at_once for piece in group for row in piece] == table["scores"].to_pylist()


def test_a_buffer_may_end_within_an_element():
    """As that of a damaged file may, which Arrow's validation lets pass."""
    offsets = np.arange(0, 12, 3, dtype=np.int32).tobytes()
    made = [
        pa.Array.from_buffers(pa.string(), 3, [None, pa.py_buffer(offsets + end), pa.py_buffer(b"abcdefghi")])
        for end in (b"", b"x")
    ]
    for column in made:
        column.validate(full=True)
    whole, odd = (cumulative_bytes(pa.record_batch([column], ["x"])) for column in made)
    np.testing.assert_array_equal(whole, odd)
