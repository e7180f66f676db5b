"""The columns that several inputs have in common: their types may differ where a wider one holds the values of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa

from ..core.errors import DataError
from .nested import holder, is_extension


def common_schema(first: pa.Schema, others: Iterable[tuple[str, pa.Schema]], first_name: str) -> pa.Schema:
    """The columns of the first, of types that hold what all inputs have; DataError names the input, the column and both
    types where there is no such type, or where columns differ.

    others: (name, schema) of each other input
    """
    common = first
    for name, schema in others:
        if schema.equals(common):
            continue
        if schema.names != common.names:
            raise DataError(f"{name}: its columns differ from those of {first_name}: {difference(schema, first)}")
        fields = []
        for i, (theirs, ours) in enumerate(zip(schema, common, strict=True)):
            made = _common_field(ours, theirs)
            if made is None:
                differs = difference(pa.schema([theirs]), pa.schema([first.field(i)]))
                raise DataError(f"{name}: its columns differ from those of {first_name}: {differs}")
            fields.append(made)
        common = pa.schema(fields, first.metadata)
    return common


def difference(schema: pa.Schema, expected: pa.Schema) -> str:
    """The words for how columns differ from what was expected."""
    theirs, ours = ({f"{f.name}: {f.type}" for f in s} for s in (schema, expected))
    changed = [f"has {field}" for field in sorted(theirs - ours)] + [
        f"lacks {field}" for field in sorted(ours - theirs)
    ]
    known = {field.name for field in expected if not field.nullable}
    changed = changed or [f"{f.name} may be null" for f in schema if f.nullable and f.name in known]
    return ", ".join(changed) or "their order differs"


def _common_field(one: pa.Field, two: pa.Field) -> pa.Field | None:
    kind = common_type(one.type, two.type)
    return None if kind is None else one.with_type(kind).with_nullable(one.nullable or two.nullable)


def common_type(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """The type that holds all values of both, as they are; None where there is none. Of some pairs it holds most:
    whoever converts a value that it does not hold, as an integer beyond 2^53 as a float64, is told (plain.converted).
    """
    if one.equals(two, check_metadata=True):
        return one
    for rule in _RULES:
        for pair in ((one, two), (two, one)):
            made = rule(*pair)
            if made is not None:
                return made
    return None


def _null(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    return two if pa.types.is_null(one) else None


def _dictionary(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if not pa.types.is_dictionary(one):
        return None
    kind = common_type(one.value_type, two.value_type if pa.types.is_dictionary(two) else two)
    if kind is None or not pa.types.is_dictionary(two):
        return kind
    index = max(one.index_type, two.index_type, key=lambda kind: kind.bit_width)
    return pa.dictionary(index, kind, one.ordered and two.ordered)


def _runs(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if not pa.types.is_run_end_encoded(one):
        return None
    return common_type(one.value_type, two.value_type if pa.types.is_run_end_encoded(two) else two)


def _extension(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """What one input has as an extension and another as what that is stored as, has the type of the extension."""
    if is_extension(one) and not is_extension(two) and common_type(one.storage_type, two) == one.storage_type:
        return one
    return None


def _texts(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    for kinds in _TEXTS:
        if one.id in kinds and two.id in kinds:
            return kinds[one.id]
    return None


_TEXTS = [
    {kind.id: pa.large_string() for kind in (pa.string(), pa.large_string(), pa.string_view())},
    {kind.id: pa.large_binary() for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1))},
]


def _numbers(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """The wider of two; a signed integer for both signs, and a float for integers and floats."""
    if pa.types.is_integer(one) and pa.types.is_floating(two):
        return two if one.bit_width < _DIGITS[two] else pa.float64()
    if pa.types.is_unsigned_integer(one) and pa.types.is_signed_integer(two):
        return next((kind for kind in _SIGNED if kind.bit_width >= max(two.bit_width, 2 * one.bit_width)), pa.int64())
    for is_alike in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        if is_alike(one) and is_alike(two):
            return max(one, two, key=lambda kind: kind.bit_width)
    return None


_SIGNED = (pa.int16(), pa.int32(), pa.int64())
_DIGITS = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}


def _decimals(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_decimal(one) and pa.types.is_decimal(two)):
        return None
    scale = max(one.scale, two.scale)
    digits = scale + max(one.precision - one.scale, two.precision - two.scale)
    width = max(one.bit_width, two.bit_width)
    for bits, most, make in _DECIMALS:
        if bits >= width and digits <= most:
            return make(digits, scale)
    return None


_DECIMALS: tuple[tuple[int, int, Callable[[int, int], pa.DataType]], ...] = (
    (32, 9, pa.decimal32),
    (64, 18, pa.decimal64),
    (128, 38, pa.decimal128),
    (256, 76, pa.decimal256),
)


def _times(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """The finer unit of two times of a kind; a date of days is one of milliseconds."""
    if pa.types.is_date32(one) and pa.types.is_date64(two):
        return two
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(two) and one.tz == two.tz:
        return pa.timestamp(_finer(one, two), one.tz)
    if pa.types.is_duration(one) and pa.types.is_duration(two):
        return pa.duration(_finer(one, two))
    if pa.types.is_time(one) and pa.types.is_time(two):
        unit = _finer(one, two)
        return pa.time64(unit) if unit in ("us", "ns") else pa.time32(unit)
    return None


def _finer(one: pa.DataType, two: pa.DataType) -> str:
    return max(one.unit, two.unit, key=("s", "ms", "us", "ns").index)


def _lists(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """Lists that may be as long as those of both; of one length where both are."""
    if one.id not in _OF_LISTS or two.id not in _OF_LISTS:
        return None
    field = _common_field(one.value_field, two.value_field)
    if field is None:
        return None
    if pa.types.is_fixed_size_list(one) and pa.types.is_fixed_size_list(two) and one.list_size == two.list_size:
        return pa.list_(field, one.list_size)
    return pa.list_(field) if one.id == two.id == pa.lib.Type_LIST else pa.large_list(field)


_OF_LISTS = {
    pa.lib.Type_LIST,
    pa.lib.Type_LARGE_LIST,
    pa.lib.Type_FIXED_SIZE_LIST,
    pa.lib.Type_LIST_VIEW,
    pa.lib.Type_LARGE_LIST_VIEW,
}


def _fields(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """Structs of the same fields, in the order of the first, and maps."""
    how = holder(one)
    if how is None or one.id != two.id or one.id not in (pa.lib.Type_STRUCT, pa.lib.Type_MAP):
        return None
    ours, theirs = how.fields(one), how.fields(two)
    if pa.types.is_struct(one):
        names = [field.name for field in ours]
        if len({*names}) < len(names) or sorted(names) != sorted(field.name for field in theirs):
            return None
        theirs = [two.field(name) for name in names]
    made = [field for pair in zip(ours, theirs, strict=True) if (field := _common_field(*pair)) is not None]
    return how.remade(one, made) if len(made) == len(ours) else None


_RULES = (_null, _dictionary, _runs, _extension, _texts, _numbers, _decimals, _times, _lists, _fields)
