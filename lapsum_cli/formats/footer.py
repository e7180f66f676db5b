"""The footer of a Parquet file, looked through for what ends the process when PyArrow is asked for it.

PyArrow reads a footer in C++ and hands out a column's part of it through calls that catch no exception of C++: where
the statistics of sizes contradict the schema, `metadata.row_group(i).column(j)` terminates Python (seen with 26.0, in
files of which one byte was changed). So they are compared here before: Thrift's compact protocol
(github.com/apache/thrift, doc/specs/thrift-compact-protocol.md), of parquet.thrift the fields named below.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TypeVar

Value = TypeVar("Value")

_FLAGS, _INTEGERS, _BINARY, _LISTS, _STRUCT = (1, 2), (4, 5, 6), 8, (9, 10), 12  # Thrift's kinds
_WIDTHS = {1: 1, 2: 1, 3: 1, 7: 8}  # bytes of those of one size: flags in lists, bytes, doubles
_BYTE_ARRAY = 6  # of parquet.thrift's Type
_OPTIONAL, _REPEATED = 1, 2  # of its FieldRepetitionType


def contradiction(stream: io.BufferedIOBase) -> str | None:
    """What in the footer contradicts its schema, in words; None where nothing does, or the footer is encrypted.

    Of each column of each row group: a histogram of levels has one number more than the highest level, or none, and
    only text has a size besides. Some 30 us a column.
    """
    stream.seek(-8, io.SEEK_END)
    end = stream.read(8)
    if end[4:] != b"PAR1":
        return None
    stream.seek(-8 - int.from_bytes(end[:4], "little"), io.SEEK_END)
    try:
        return _contradiction(_Thrift(stream.read()))
    except (IndexError, KeyError):
        return "its parts are not those of a footer"


def _contradiction(footer: _Thrift) -> str | None:
    leaves: list[tuple[int, int, bool]] = []
    for field in footer.fields():
        if field == 2:
            leaves = _leaves(footer.values(lambda: _element(footer)))
        elif field == 4:
            for i, group in enumerate(footer.values(lambda: _group(footer))):
                for j, (told, is_of) in enumerate(zip(group, leaves, strict=False)):
                    if not _agree(told, is_of):
                        return f"the statistics of sizes of column {j} in row group {i} are not those of its type"
        else:
            footer.skip()
    return None


def _agree(told: tuple[int, int, bool], leaf: tuple[int, int, bool]) -> bool:
    (repeated, defined, has_size), (most_repeated, most_defined, is_text) = told, leaf
    return repeated in (0, most_repeated + 1) and defined in (0, most_defined + 1) and is_text >= has_size


def _element(footer: _Thrift) -> tuple[int, int, int]:
    """(physical type, repetition, number of children) of an element of the schema."""
    kind = repetition = children = 0
    for field in footer.fields():
        if field == 1:
            kind = footer.integer()
        elif field == 3:
            repetition = footer.integer()
        elif field == 5:
            children = footer.integer()
        else:
            footer.skip()
    return kind, repetition, children


def _leaves(elements: list[tuple[int, int, int]]) -> list[tuple[int, int, bool]]:
    """(highest repetition level, highest definition level, whether it is text) of each column of a schema, which
    stands with every element before its children (Dremel's levels: Melnik et al. 2010).
    """
    leaves = []
    open_groups = [(len(elements), 0, 0)]  # children still to come, and the levels that they begin with
    for i, (kind, repetition, children) in enumerate(elements):
        while len(open_groups) > 1 and not open_groups[-1][0]:
            open_groups.pop()
        left, repeated, defined = open_groups.pop()
        open_groups.append((left - 1, repeated, defined))
        if i:  # the root has no level
            repeated += repetition == _REPEATED
            defined += repetition in (_OPTIONAL, _REPEATED)
        if children:
            open_groups.append((children, repeated, defined))
        else:
            leaves.append((repeated, defined, kind == _BYTE_ARRAY))
    return leaves


def _group(footer: _Thrift) -> list[tuple[int, int, bool]]:
    """For each column of a row group: the lengths of its histograms of levels, and whether it tells a size of text."""
    columns: list[tuple[int, int, bool]] = []
    for field in footer.fields():
        if field == 1:
            columns = footer.values(lambda: _chunk(footer))
        else:
            footer.skip()
    return columns


def _chunk(footer: _Thrift) -> tuple[int, int, bool]:
    repeated = defined = 0
    has_size = False
    for field in footer.fields():
        if field != 3:  # meta_data
            footer.skip()
            continue
        for of_metadata in footer.fields():
            if of_metadata != 16:  # size_statistics
                footer.skip()
                continue
            for of_sizes in footer.fields():
                has_size |= of_sizes == 1
                if of_sizes == 2:
                    repeated = len(footer.values(footer.integer))
                elif of_sizes == 3:
                    defined = len(footer.values(footer.integer))
                else:
                    footer.skip()
    return repeated, defined, has_size


class _Thrift:
    """A reader of Thrift's compact protocol: of each field, the value must be taken, or skipped, before the next."""

    def __init__(self, data: bytes):
        self.data, self.at, self.kind = data, 0, _STRUCT  # the kind of the field that comes

    def fields(self) -> Iterator[int]:
        """The numbers of a struct's fields, in their order."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self.integer()
            self.kind = head & 15
            yield number

    def values(self, take: Callable[[], Value]) -> list[Value]:
        """The elements of a list, each as `take` takes it."""
        return [take() for _ in range(self._list()[0])]

    def integer(self) -> int:
        """A number of zigzag form."""
        number = self._number()
        return (number >> 1) ^ -(number & 1)

    def skip(self) -> None:
        """Go past the value of a field."""
        if self.kind not in _FLAGS:  # which their fields' heads hold
            self._skip(self.kind)

    def _skip(self, kind: int) -> None:
        if kind == _STRUCT:
            for _ in self.fields():
                self.skip()
        elif kind in _LISTS:
            length, of = self._list()
            for _ in range(length):
                self._skip(of)
        elif kind == _BINARY:
            size = self._number()
            self.at += size
        elif kind in _INTEGERS:
            while self._byte() & 0x80:
                pass
        else:
            self.at += _WIDTHS[kind]

    def _list(self) -> tuple[int, int]:
        """The length and the kind of the elements of a list that begins here."""
        head = self._byte()
        return head >> 4 if head >> 4 < 15 else self._number(), head & 15

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _number(self) -> int:
        """Seven bits a byte, the lowest first; the last byte has its eighth clear."""
        number = shift = 0
        while (byte := self._byte()) & 0x80:
            number |= (byte & 0x7F) << shift
            shift += 7
        return number | byte << shift
