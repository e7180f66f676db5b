"""Columns that the names of folders give, as Hive, Spark and DuckDB write them: qid=7/part-0.parquet has a qid of 7."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

_NULL = "__HIVE_DEFAULT_PARTITION__"
_LEAST, _MOST = -(2**63), 2**63 - 1


class Partitions:
    """The columns that the folders of files give, and their values for each file. There are none where the files do not
    all lie in folders that name the same columns.

    Types are those of DuckDB: integers, dates and times where every value is one, else text, with %20 and the like
    decoded. So are names: one that differs from a column of the file in case at most replaces it.
    """

    def __init__(self, paths: list[str]):
        self.of = {path: _named(path) for path in paths}
        names = {tuple(sorted(given)) for given in self.of.values()}
        self.columns: dict[str, pa.DataType] = {}
        if len(names) == 1:
            for name in names.pop():
                texts = [given[name] for given in self.of.values()]
                kind, parse = _kind([text for text in texts if text is not None])
                self.columns[name] = kind
                for given in self.of.values():
                    given[name] = None if given[name] is None else parse(given[name])

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The columns of a file with these."""
        for name, kind in self.columns.items():
            at = _place(schema, name)
            schema = (
                schema.append(pa.field(name, kind)) if at is None else schema.set(at, schema.field(at).with_type(kind))
            )
        return schema

    def batch(self, batch: pa.RecordBatch, path: str) -> pa.RecordBatch:
        """Rows of a file with these columns."""
        if not self.columns:
            return batch
        schema, columns = self.schema(batch.schema), batch.columns
        columns += [None] * (len(schema) - len(columns))
        for name, kind in self.columns.items():
            columns[schema.names.index(_spelt(schema, name))] = pa.repeat(
                pa.scalar(self.of[path][name], kind), batch.num_rows
            )
        return pa.RecordBatch.from_arrays(columns, schema=schema)


def _place(schema: pa.Schema, name: str) -> int | None:
    names = [known.lower() for known in schema.names]
    return names.index(name.lower()) if name.lower() in names else None


def _spelt(schema: pa.Schema, name: str) -> str:
    at = _place(schema, name)
    return name if at is None else schema.names[at]


def _named(path: str) -> dict[str, Any]:
    """The names and texts of the folders on a path; of two with one name the first counts."""
    found: dict[str, Any] = {}
    for folder in PurePath(path).parts[:-1]:
        name, mark, text = folder.partition("=")
        if name and mark and "=" not in text:
            found.setdefault(name, None if text == _NULL else unquote(text, errors="surrogateescape"))
    return found


def _kind(texts: list[str]) -> tuple[pa.DataType, Callable[[str], Any]]:
    """The type of which all texts are, and how one becomes a value of it."""
    for kind, parse in _KINDS:
        try:
            if texts and all(parse(text) is not None for text in texts):
                return kind, parse
        except ValueError:
            continue
    return pa.string(), str


def _integer(text: str) -> int | None:
    number = int(text) if re.fullmatch(r"0|-?[1-9][0-9]*", text, re.ASCII) else None
    return number if number is not None and _LEAST <= number <= _MOST else None


def _date(text: str) -> dt.date | None:
    parts = re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text, re.ASCII)
    return dt.date(*map(int, parts.groups())) if parts else None


def _moment(text: str) -> dt.datetime | None:
    is_one = re.fullmatch(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?", text, re.ASCII)
    return dt.datetime.fromisoformat(text.rstrip("Z")) if is_one else None


_KINDS: list[tuple[pa.DataType, Callable[[str], Any]]] = [
    (pa.int64(), _integer),
    (pa.date32(), _date),
    (pa.timestamp("us"), _moment),
]
