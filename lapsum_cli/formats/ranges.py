"""An object of a store as a file: what is asked for in small pieces is fetched in large ones, each a request."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa

from ..core.errors import IOFailed
from .faults import first_line

LEAST, _MOST = 1 << 16, 1 << 22  # bytes that are fetched at once, twice as many each time that reading goes on


class Ranges(io.RawIOBase):
    """The bytes of an object that is open in Arrow."""

    def __init__(self, name: str, file: pa.NativeFile, size: int):
        self.name, self.file, self.bytes = name, file, size
        self.at = 0
        self.block, self.start = memoryview(b""), 0  # what was fetched, and from where
        self.ahead = LEAST

    def readable(self) -> bool:
        """What BufferedReader asks."""
        return True

    def seekable(self) -> bool:
        """Likewise."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As io.IOBase has it."""
        self.at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.bytes}[whence])
        return self.at

    def tell(self) -> int:
        """As io.IOBase has it."""
        return self.at

    def readinto(self, buffer: Any) -> int:
        """The next bytes, as io.RawIOBase has it; a large piece by itself, without a copy."""
        wanted = memoryview(buffer).cast("B")[: max(0, self.bytes - self.at)]
        if not wanted:
            return 0
        if not self.start <= self.at < self.start + len(self.block):
            if len(wanted) >= _MOST:
                self.fetch(self.at, wanted)
                self.at += len(wanted)
                return len(wanted)
            self._turn()
        part = self.block[self.at - self.start :][: len(wanted)]
        wanted[: len(part)] = part
        self.at += len(part)
        return len(part)

    def _turn(self) -> None:
        """The block that begins here."""
        goes_on = len(self.block) and self.at == self.start + len(self.block)
        self.ahead = min(2 * self.ahead, _MOST) if goes_on else LEAST
        self.block = memoryview(bytearray(min(self.ahead, self.bytes - self.at)))
        self.start = self.at
        try:
            self.fetch(self.at, self.block)
        except BaseException:
            self.block = memoryview(b"")
            raise

    def fetch(self, start: int, into: memoryview) -> None:
        """The bytes from there; IOFailed where the store has fewer bytes than it said."""
        try:
            self.file.seek(start)
            got = self.file.readinto(into)
        except (pa.ArrowException, OSError) as error:
            raise IOFailed(f"{self.name}: reading failed: {first_line(error, self.name)}") from None
        if got < len(into):
            raise IOFailed(f"{self.name}: reading failed: {got} of {len(into)} bytes came from byte {start}")
