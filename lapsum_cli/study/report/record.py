"""A file keeps what was measured between two markers for each kind of table, and all else as it was."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import InputMissing, OptionError
from ...formats.files import Output


class Record:
    """A text, such as a README, with a block `<!-- bench:KIND:begin -->` to `<!-- bench:KIND:end -->` for each kind.

    A text that is not there is InputMissing, and one without a block an OptionError.
    """

    def __init__(self, path: str, kinds: list[str]):
        self.path = path
        for kind in kinds:
            self._split(kind)

    def write(self, blocks: dict[str, str]) -> None:
        """Replace the block of each kind, and no other."""
        for kind, block in blocks.items():
            before, after = self._split(kind)
            with Output(self.path, force=True) as output:
                output.stream.write(f"{before}\n{block}\n{after}".encode())

    def _split(self, kind: str) -> tuple[str, str]:
        """The text up to the block, marker included, and from its end on."""
        try:
            text = Path(self.path).read_bytes().decode()
        except FileNotFoundError:
            raise InputMissing(f"--record {self.path}: no such file") from None
        begin, end = (f"<!-- bench:{kind}:{side} -->" for side in ("begin", "end"))
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise OptionError(f"--record {self.path}: there must be one line {begin}, and after it one {end}")
        return text[: text.index(begin)] + begin, text[text.index(end) :]
