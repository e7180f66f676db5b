"""How much a record batch of Arrow IPC takes once it is decompressed, as its message says before anything is."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator

_DICTIONARIES, _ROWS = 2, 3  # kinds of messages, of which the former holds a batch of rows
_HEADER_KIND, _HEADER = 1, 2  # fields of a message
_DATA = 1  # of dictionaries
_BUFFERS, _COMPRESSION = 2, 3  # of rows


def decompressed_size(message: bytes, at: Callable[[int], bytes]) -> int:
    """Bytes of the buffers of a batch as they will be; 0 for what is not compressed, or no such message.

    message: its description, a FlatBuffer. at: the eight bytes that stand somewhere in its body, of which each
    compressed buffer begins with its size, or with -1 where it was left as it is.
    """
    with contextlib.suppress(struct.error, OSError, ValueError, IndexError):  # what Arrow, too, will say is damaged
        return sum(_sizes(message, at))
    return 0


def _sizes(flat: bytes, at: Callable[[int], bytes]) -> Iterator[int]:
    root = _pointed(flat, 0)
    kind, rows = _field(flat, root, _HEADER_KIND), _field(flat, root, _HEADER)
    if not (kind and rows and flat[kind] in (_DICTIONARIES, _ROWS)):
        return
    rows = _pointed(flat, rows)
    if flat[kind] == _DICTIONARIES and (data := _field(flat, rows, _DATA)):
        rows = _pointed(flat, data)
    buffers = _field(flat, rows, _BUFFERS)
    if buffers and _field(flat, rows, _COMPRESSION):
        first = _pointed(flat, buffers)
        (count,) = struct.unpack_from("<I", flat, first)
        for offset, length in struct.iter_unpack("<qq", flat[first + 4 : first + 4 + 16 * count]):
            (size,) = struct.unpack("<q", at(offset)) if length > 8 else (0,)
            yield max(size, 0)


def _pointed(flat: bytes, place: int) -> int:
    """Where what stands elsewhere is, whose distance stands here."""
    return place + int(struct.unpack_from("<I", flat, place)[0])


def _field(flat: bytes, table: int, number: int) -> int:
    """Where a field of a table stands; 0 where it is left out."""
    fields = table - struct.unpack_from("<i", flat, table)[0]
    (size,) = struct.unpack_from("<H", flat, fields)
    place = 4 + 2 * number
    (distance,) = struct.unpack_from("<H", flat, fields + place) if place < size else (0,)
    return table + distance if distance else 0
