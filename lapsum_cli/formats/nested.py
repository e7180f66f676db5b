"""Types that hold others: how each is taken apart, as a type and as an array, and put together of other parts.

Whoever changes what stands in a column at any depth, or looks at it, says so for the types that hold no other, and
leaves the rest to this table. A type of extension holds its storage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.cuts import sizes_before


class Holder(NamedTuple):
    """A kind of type that holds others.

    fields  of what it holds
    remade  the type with other fields
    parts   (array) -> what it holds, an array for each field, of the rows of this array alone where these lie together
    joined  (type, array, parts) -> an array of the type, its nulls and lengths those of the array
    """

    fields: Callable[[pa.DataType], list[pa.Field]]
    remade: Callable[[pa.DataType, Sequence[pa.Field]], pa.DataType]
    parts: Callable[[pa.Array], list[pa.Array]]
    joined: Callable[[pa.DataType, pa.Array, list[pa.Array]], pa.Array]


def is_extension(kind: pa.DataType) -> bool:
    """Whether values are those of another type, with a meaning of their own, as UUIDs are 16 bytes."""
    return isinstance(kind, pa.BaseExtensionType)


def lengths(array: pa.Array) -> np.ndarray:
    """(n,) int64: how many values each list or map has; a null list has none."""
    if pa.types.is_map(array.type):
        return np.diff(np.asarray(array.offsets)).astype(np.int64)
    return np.asarray(pc.fill_null(pc.list_value_length(array), 0)).astype(np.int64)


def nulls(array: pa.Array) -> pa.Array | None:
    """Which elements are null, if any is."""
    return array.is_null() if array.null_count else None


def chosen(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(n,) codes of the types of a union's values, and (n,) where each stands among those of its type.

    From the buffers, since a slice's own properties (PyArrow 26) are those of the first rows of the whole.
    """
    rows = slice(array.offset, array.offset + len(array))
    _, codes, *places = array.buffers()[: 2 if array.type.mode == "sparse" else 3]
    at = np.frombuffer(places[0], np.int32)[rows] if places else np.arange(len(array))
    return np.frombuffer(codes, np.int8)[rows], at.astype(np.int64)


def holder(kind: pa.DataType) -> Holder | None:
    """How a type holds others; None where it holds none."""
    if is_extension(kind):
        return _EXTENSION
    return _HOLDERS.get(kind.id)


def rebuilt(kind: pa.DataType, inner: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """The type with other types inside; itself where nothing changes, or where it holds none."""
    how = holder(kind)
    if how is None:
        return kind
    fields = how.fields(kind)
    changed = [field.with_type(inner(field.type)) for field in fields]
    same = all(new.type.equals(old.type, check_metadata=True) for new, old in zip(changed, fields, strict=True))
    return kind if same else how.remade(kind, changed)


def contains(kind: pa.DataType, is_kind: Callable[[pa.DataType], bool]) -> bool:
    """Whether the type, or one that stands in it at any depth, is of a kind."""
    how = holder(kind)
    inside = [field.type for field in how.fields(kind)] if how else []
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        inside = [kind.value_type]
    return is_kind(kind) or any(contains(inner, is_kind) for inner in inside)


def _values(array: pa.Array) -> list[pa.Array]:
    return [array.flatten()]


def _listed(make: type[pa.Array], width: type[np.signedinteger]) -> Callable[..., pa.Array]:
    def joined(kind: pa.DataType, array: pa.Array, parts: list[pa.Array]) -> pa.Array:
        offsets = pa.array(sizes_before(lengths(array)).astype(width))
        return make.from_arrays(offsets, parts[0], type=kind, mask=nulls(array))

    return joined


def _viewed(make: type[pa.Array], width: type[np.signedinteger]) -> Callable[..., pa.Array]:
    def joined(kind: pa.DataType, array: pa.Array, parts: list[pa.Array]) -> pa.Array:
        sizes = lengths(array)
        at = pa.array(sizes_before(sizes)[:-1].astype(width))
        return make.from_arrays(at, pa.array(sizes.astype(width)), parts[0], type=kind, mask=nulls(array))

    return joined


def _fixed_values(array: pa.Array) -> list[pa.Array]:
    size = array.type.list_size
    return [array.values.slice(array.offset * size, len(array) * size)]


def _fixed(kind: pa.DataType, array: pa.Array, parts: list[pa.Array]) -> pa.Array:
    if kind.list_size == 0:  # no number of values tells how many lists there are
        return pa.array([[] if valid else None for valid in array.is_valid().to_pylist()], kind)
    return pa.FixedSizeListArray.from_arrays(parts[0], type=kind, mask=nulls(array))


def _map_parts(array: pa.Array) -> list[pa.Array]:
    first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
    return [part.slice(first, last - first) for part in (array.keys, array.items)]


def _map(kind: pa.DataType, array: pa.Array, parts: list[pa.Array]) -> pa.Array:
    offsets = np.asarray(array.offsets)
    return pa.MapArray.from_arrays(pa.array(offsets - offsets[0]), *parts, type=kind, mask=nulls(array))


def _struct(kind: pa.DataType, array: pa.Array, parts: list[pa.Array]) -> pa.Array:
    return pa.StructArray.from_arrays(parts, fields=list(kind), mask=nulls(array)) if parts else array


def _union_fields(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(i) for i in range(kind.num_fields)]


def _union(kind: pa.DataType, array: pa.Array, parts: list[pa.Array]) -> pa.Array:
    names, known = [field.name for field in _union_fields(kind)], kind.type_codes
    codes, at = chosen(array)
    if kind.mode == "sparse":
        return pa.UnionArray.from_sparse(pa.array(codes), parts, names, known)
    return pa.UnionArray.from_dense(pa.array(codes), pa.array(at.astype(np.int32)), parts, names, known)


def _union_parts(array: pa.Array) -> list[pa.Array]:
    return [array.field(i) for i in range(array.type.num_fields)]


def _list_of(make: Callable[[pa.Field], pa.DataType]) -> Callable[..., pa.DataType]:
    return lambda kind, fields: make(fields[0])


def _value_field(kind: pa.DataType) -> list[pa.Field]:
    return [kind.value_field]


_INT, _LARGE = np.int32, np.int64
_HOLDERS = {
    pa.lib.Type_LIST: Holder(_value_field, _list_of(pa.list_), _values, _listed(pa.ListArray, _INT)),
    pa.lib.Type_LARGE_LIST: Holder(_value_field, _list_of(pa.large_list), _values, _listed(pa.LargeListArray, _LARGE)),
    pa.lib.Type_LIST_VIEW: Holder(_value_field, _list_of(pa.list_view), _values, _viewed(pa.ListViewArray, _INT)),
    pa.lib.Type_LARGE_LIST_VIEW: Holder(
        _value_field, _list_of(pa.large_list_view), _values, _viewed(pa.LargeListViewArray, _LARGE)
    ),
    pa.lib.Type_FIXED_SIZE_LIST: Holder(
        _value_field, lambda kind, fields: pa.list_(fields[0], kind.list_size), _fixed_values, _fixed
    ),
    pa.lib.Type_MAP: Holder(
        lambda kind: [kind.key_field, kind.item_field],
        lambda kind, fields: pa.map_(*fields, kind.keys_sorted),
        _map_parts,
        _map,
    ),
    pa.lib.Type_STRUCT: Holder(
        list,
        lambda kind, fields: pa.struct(fields),
        lambda array: [pc.struct_field(array, [i]) for i in range(array.type.num_fields)],
        _struct,
    ),
    pa.lib.Type_SPARSE_UNION: Holder(
        _union_fields, lambda kind, fields: pa.sparse_union(fields, kind.type_codes), _union_parts, _union
    ),
    pa.lib.Type_DENSE_UNION: Holder(
        _union_fields, lambda kind, fields: pa.dense_union(fields, kind.type_codes), _union_parts, _union
    ),
}
_EXTENSION = Holder(
    lambda kind: [pa.field("storage", kind.storage_type)],
    lambda kind, fields: fields[0].type,
    lambda array: [array.storage],
    lambda kind, array, parts: pa.ExtensionArray.from_storage(kind, parts[0]),
)
