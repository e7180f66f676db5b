"""Columns in plain form: every value where its row is.

A slice of a dictionary column holds the whole dictionary, and one of views all that its text or its lists lie among:
bytes of such rows do not add up, and rows that are kept keep what they do not need. They are therefore plain between a
source and a sink, at any depth, and have their own type again where a format can say so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .nested import holder, is_extension, rebuilt

_OF_VIEWS = {pa.string_view().id: pa.large_string(), pa.binary_view().id: pa.large_binary()}


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type with values for dictionaries and runs, and side by side what views look at, at any depth."""
    if is_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_list_view(kind):
        return plain_type(pa.list_(kind.value_field))
    if pa.types.is_large_list_view(kind):
        return plain_type(pa.large_list(kind.value_field))
    return _OF_VIEWS.get(kind.id) or rebuilt(kind, plain_type)


def undictionaried_type(kind: pa.DataType) -> pa.DataType:
    """The type with values for dictionaries and text side by side for its views, but runs and views of lists as they
    are.
    """
    if pa.types.is_dictionary(kind):
        return undictionaried_type(kind.value_type)
    if pa.types.is_run_end_encoded(kind):
        return pa.run_end_encoded(kind.run_end_type, undictionaried_type(kind.value_type))
    return _OF_VIEWS.get(kind.id) or rebuilt(kind, undictionaried_type)


def is_encoded(kind: pa.DataType) -> bool:
    """Whether several rows share a value, in a dictionary or as a run."""
    return pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with plain types; itself where all are."""
    return with_types(schema, plain_type)


def with_types(schema: pa.Schema, change: Callable[[pa.DataType], pa.DataType]) -> pa.Schema:
    """The schema with other types; itself where all stay."""
    made = pa.schema([field.with_type(change(field.type)) for field in schema], schema.metadata)
    return schema if made.equals(schema) else made


def wide_schema(schema: pa.Schema) -> pa.Schema:
    """The schema that Parquet's reader can restore, of what it declares: with indices of 32 bits or more in its
    dictionaries, which can name the values of several batches, with values for runs, and for dictionaries of what holds
    other values, as PyArrow (26) writes such a note and cannot read it.
    """
    return pa.schema([field.with_type(_wide_type(field.type)) for field in schema], schema.metadata)


def _wide_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_run_end_encoded(kind) or (pa.types.is_dictionary(kind) and holder(kind.value_type)):
        return _wide_type(kind.value_type)
    if pa.types.is_dictionary(kind):
        return pa.dictionary(
            kind.index_type if kind.index_type.bit_width >= 32 else pa.int32(), kind.value_type, kind.ordered
        )
    return rebuilt(kind, _wide_type)


def as_declared(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows with these types, which hold their values; pa.ArrowInvalid names the column of which one does not."""
    if batch.schema.equals(schema):
        return batch
    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        try:
            columns.append(converted(column, field.type))
        except pa.ArrowInvalid as error:
            types = f"has type {column.type}, and {field.type} is to hold it"
            raise pa.ArrowInvalid(f'column "{field.name}" {types}: {error}') from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def converted(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values with another type, in which each is the same, and nothing beside the rows; pa.ArrowInvalid where the
    type does not hold one of them.
    """
    source = array.type
    if source == kind:
        return array
    if is_encoded(source):
        return _decoded(array, kind)
    if is_encoded(kind):
        return _encoded(array, kind)
    if is_extension(kind) and source != kind:
        storage = array.storage if is_extension(source) else array
        return pa.ExtensionArray.from_storage(kind, converted(storage, kind.storage_type))
    if is_extension(source):
        return converted(array.storage, kind)
    how = holder(kind)
    if how is None:
        return array.cast(kind)
    if pa.types.is_fixed_size_list(source) and not pa.types.is_fixed_size_list(kind):
        array = array.cast(pa.large_list(source.value_field))
    fields, parts = how.fields(kind), _parts(array, kind)
    return how.joined(kind, array, [converted(part, f.type) for part, f in zip(parts, fields, strict=True)])


def _parts(array: pa.Array, kind: pa.DataType) -> list[pa.Array]:
    """What the array holds, in the order in which the type has it: fields of a struct go by their names."""
    how = holder(array.type)
    assert how, f"{array.type} does not become {kind}"
    parts = how.parts(array)
    names = [field.name for field in array.type] if pa.types.is_struct(array.type) else []
    if len({*names}) == len(names) and names != [field.name for field in how.fields(kind)]:
        parts = [parts[names.index(field.name)] for field in kind] if names else parts
    return parts


def _decoded(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values of a dictionary or of runs, each where its row is. They are plain first: none of Arrow's functions
    takes views from where they are.
    """
    if pa.types.is_dictionary(array.type):
        values, at = array.dictionary, array.indices
    else:
        first, runs = array.find_physical_offset(), array.find_physical_length()
        values = array.values.slice(first, runs)
        ends = np.asarray(array.run_ends)[first : first + runs].astype(np.int64) - array.offset
        at = pa.array(np.repeat(np.arange(runs), np.diff(np.minimum(ends, len(array)), prepend=0)))
    return converted(converted(values, plain_type(kind)).take(at), kind)


def _encoded(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values as a dictionary or as runs. What Arrow does not compare, as lists, shares no value: each row has its
    own.
    """
    values = converted(array, plain_type(kind.value_type))
    storage = values.storage if is_extension(values.type) else values
    try:
        if pa.types.is_dictionary(kind):
            encoded = storage.dictionary_encode()
            indices, shared = encoded.indices, encoded.dictionary
        else:
            encoded = pc.run_end_encode(storage, run_end_type=kind.run_end_type)
            indices, shared = encoded.run_ends, encoded.values
    except pa.ArrowNotImplementedError:
        first = 0 if pa.types.is_dictionary(kind) else 1
        indices, shared = pa.array(np.arange(first, len(array) + first)), storage
    shared = converted(shared, values.type)
    if pa.types.is_dictionary(kind):
        values = converted(shared, kind.value_type)
        return pa.DictionaryArray.from_arrays(indices.cast(kind.index_type), values, ordered=kind.ordered)
    ends = indices.cast(kind.run_end_type)
    return pa.RunEndEncodedArray.from_arrays(ends, converted(shared, kind.value_type))
