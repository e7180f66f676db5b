"""Columns in plain form: every value where its row is.

A slice of a dictionary column holds the whole dictionary, and one of views all that its text lies among: bytes of such
rows do not add up, and rows that are kept keep what they do not need. They are therefore plain between a source and a
sink, at any depth, and have their own type again where a format can say so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_OF_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type with values for dictionaries, and text side by side for views, at any depth."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_nested(kind):
        return _rebuilt(kind, plain_type)
    return _OF_VIEWS.get(kind, kind)


def _rebuilt(kind: pa.DataType, inner: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """The nested type with other types inside; the type itself where nothing changes or it is not one of lists."""
    if pa.types.is_struct(kind):
        made = pa.struct([field.with_type(inner(field.type)) for field in kind])
    elif pa.types.is_map(kind):
        key, item = (field.with_type(inner(field.type)) for field in (kind.key_field, kind.item_field))
        made = pa.map_(key, item, kind.keys_sorted)
    elif pa.types.is_list(kind):
        made = pa.list_(kind.value_field.with_type(inner(kind.value_type)))
    elif pa.types.is_large_list(kind):
        made = pa.large_list(kind.value_field.with_type(inner(kind.value_type)))
    elif pa.types.is_fixed_size_list(kind):
        made = pa.list_(kind.value_field.with_type(inner(kind.value_type)), kind.list_size)
    else:
        return kind
    return kind if made.equals(kind, check_metadata=True) else made


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with plain types; itself where all are."""
    made = pa.schema([field.with_type(plain_type(field.type)) for field in schema], schema.metadata)
    return schema if made.equals(schema) else made


def wide_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with indices of 32 bits or more in its dictionaries, which can name the values of several batches."""
    return pa.schema([field.with_type(_wide_type(field.type)) for field in schema], schema.metadata)


def _wide_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return pa.dictionary(
            kind.index_type if kind.index_type.bit_width >= 32 else pa.int32(), kind.value_type, kind.ordered
        )
    return _rebuilt(kind, _wide_type) if pa.types.is_nested(kind) else kind


def as_declared(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows with these types, which differ from theirs in dictionaries and views alone."""
    if batch.schema.types == schema.types:
        return batch
    columns = [converted(column, kind) for column, kind in zip(batch.columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def converted(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values with another type, of which dictionaries and views stand elsewhere, and nothing beside the rows."""
    if array.type == kind:
        return array
    if pa.types.is_dictionary(array.type):
        return converted(array.dictionary_decode(), kind)
    if pa.types.is_dictionary(kind):
        encoded = array.dictionary_encode()
        indices, values = encoded.indices.cast(kind.index_type), converted(encoded.dictionary, kind.value_type)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
    if not pa.types.is_nested(kind):
        return array.cast(kind)
    null = array.is_null() if array.null_count else None
    if pa.types.is_struct(kind):
        fields = list(kind)
        children = [converted(pc.struct_field(array, i), field.type) for i, field in enumerate(fields)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=null)
    if pa.types.is_fixed_size_list(kind):
        values = array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)
        return pa.FixedSizeListArray.from_arrays(converted(values, kind.value_type), type=kind, mask=null)
    offsets = np.asarray(array.offsets)
    start, stop = int(offsets[0]), int(offsets[-1])
    first = pa.array(offsets - start)
    if pa.types.is_map(kind):
        keys, items = (part.slice(start, stop - start) for part in (array.keys, array.items))
        made = (converted(keys, kind.key_type), converted(items, kind.item_type))
        return pa.MapArray.from_arrays(first, *made, type=kind, mask=null)
    values = converted(array.values.slice(start, stop - start), kind.value_type)
    make = pa.LargeListArray if pa.types.is_large_list(kind) else pa.ListArray
    return make.from_arrays(first, values, type=kind, mask=null)
