"""Where rows of delimited text end: at a line end that no quote is around, and no escape before.

Arrow's reader tells fields apart; it has whole rows to do so, of a text whose quotes are as they should be. Where text
follows a closing quote it would drop the quotes, and take what follows for a part of the field.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from .dialect import Dialect

BACKSLASH = "\\"
_PIECE = 1 << 20  # bytes that are looked at together: NumPy holds many times as much meanwhile
_NOTHING = np.empty(0, np.uint32)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_SHOWN = 40  # bytes of a field, in a message
_WAYS = "a quote within quotes is doubled, or has before it what ⟨escape⟩ names; with ⟨quote=⟩ quotes are text"


class Misplaced(Exception):
    """A quote that stands where none can be: the bytes in which that shows, and what is wrong with them."""

    def __init__(self, place: int, stop: int, problem: str):
        super().__init__(place, stop, problem)
        self.place, self.stop, self.problem = place, stop, problem


class Rows:
    """Where rows end, by a dialect.

    A quote that is escaped with a backslash is told from one that ends a field where a text can be read in no other
    way; `dialect` has the escape from then on.
    """

    def __init__(self, dialect: Dialect):
        self.has_doubts = False  # whether what was read before would be another text with backslashes for escapes
        self._take(dialect)

    def _take(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.quote, self.escape = dialect.quote.encode(), dialect.escape.encode()
        ends = f"{dialect.delimiter}\r\n".encode()
        self.between = _table(ends)  # what a quoted field may have on either side
        self.special = _table(
            (self.escape or BACKSLASH.encode()) + self.quote + ends
        )  # what an escape means a thing to
        quote, edges = re.escape(self.quote), b"[" + re.escape(ends) + b"]"
        body = b"%b[^%b]*+(?:%b%b[^%b]*+)*+%b" % ((quote,) * 6) if quote else b"(?!)"
        self.field = re.compile(rb"(?:(?<=%b)|\A)%b(?=%b|\Z)" % (edges, body, edges))
        self.closed = re.compile(body)

    def copies(self, text: bytes) -> int:
        """How many of a text there are at most while it is parsed, what is known of its characters included.

        Measured: 3.4 without quotes; positions take four bytes for each quote, and more for each escape.
        """
        return 16 if self.escape and self.escape in text else 8 if self.quote and self.quote in text else 4

    def end(self, text: bytes, last: bool) -> int:
        """How many bytes of a text, which begins with a row, are whole rows: all of them if it is the last.

        Raises Misplaced where a quote is where none can be, or where the last text ends within quotes.
        """
        try:
            shown = self._shown(text)
            quotes = self._quotes(shown)
            if last and len(quotes) % 2:
                raise Misplaced(int(quotes[-1]), len(text), "a quote opens that nothing closes")
        except Misplaced as error:
            if self._learn(text, last):
                return self.end(text, last)
            field = text[error.place : min(error.stop, error.place + _SHOWN)].decode(errors="replace")
            raise Misplaced(error.place, error.stop, f"{error.problem}: {field!r}; {_WAYS}") from None
        end = len(text) if last else _last_end(shown, quotes)
        if self.quote and not self.escape and not self.has_doubts and b"\\" in text:
            self.has_doubts = len(self._meant(text[:end], BACKSLASH.encode())) > 0
        return end

    def first_end(self, text: bytes) -> int:
        """How many bytes the first of whole rows has, its line end included."""
        shown, place = self._shown(text), 0
        quotes = self._quotes(shown)
        while found := _LINE_END.search(shown, place):
            before = _before(quotes, found.start())
            if before % 2 == 0:
                return found.end()
            place = int(quotes[before])
        return len(text)

    def starts(self, text: bytes, blank: bool) -> np.ndarray:
        """Where rows begin; blank: those too that are nothing but a line end."""
        shown = self._shown(text)
        ends = np.fromiter((found.end() for found in _LINE_END.finditer(shown)), np.uint32)
        starts = np.append(np.uint32(0), ends[np.searchsorted(self._quotes(shown), ends - np.uint32(1)) % 2 == 0])
        first = np.frombuffer(text + b"\n", np.uint8)[starts]
        return starts if blank else starts[(first != 10) & (first != 13)]

    def for_arrow(self, text: bytes) -> bytes:
        """The rows with every escape doubled that stands before a character it means nothing to: Arrow drops it."""
        if not self.escape or self.escape not in text:
            return text
        active, meant = _active(text, self.escape), self._meant(text, self.escape)
        more = np.zeros(len(text), np.uint8)
        more[active] = 1
        more[meant] = 0
        view = np.frombuffer(text, np.uint8)
        pieces = range(0, len(text), _PIECE)
        return b"".join(np.repeat(view[at : at + _PIECE], 1 + more[at : at + _PIECE]).tobytes() for at in pieces)

    def _meant(self, text: bytes, escape: bytes) -> np.ndarray:
        """Where escapes are that take its meaning from the character that follows."""
        active = _active(text, escape)
        view = np.frombuffer(text + b"\0", np.uint8)
        return active[self.special[view[active + np.uint32(1)]]]

    def _shown(self, text: bytes) -> bytes:
        """The text, as long as it is, with nothing where an escape and what follows it are."""
        if not self.escape or self.escape not in text:
            return text
        shown = bytearray(text)
        view, active = np.frombuffer(shown, np.uint8), _active(text, self.escape)
        view[active] = 0
        view[np.minimum(active + np.uint32(1), np.uint32(len(text) - 1))] = 0
        return bytes(shown)

    def _quotes(self, text: bytes) -> np.ndarray:
        """Where quotes open and close, in turn; the last may be open. A doubled quote closes, and opens again.

        Where a quote stands in a field that does not begin with one, it is text, and is not among them.
        """
        if not self.quote or self.quote not in text:
            return _NOTHING
        view, quote = np.frombuffer(text, np.uint8), self.quote[0]
        found = _positions(text, self.quote)
        for start in range(0, len(found), _PIECE):
            opening, closing = found[start : start + _PIECE : 2], found[start + 1 : start + _PIECE : 2]
            before = view[np.maximum(opening, 1) - 1]
            after = view[np.minimum(closing + np.uint32(1), np.uint32(len(view) - 1))]
            opens = self.between[before] | (before == quote) | (opening == 0)
            closes = self.between[after] | (after == quote) | (closing == len(view) - 1)
            if not (opens.all() and closes.all()):
                return self._quotes_beside_text(text, view, found)
        return found

    def _quotes_beside_text(self, text: bytes, view: np.ndarray, found: np.ndarray) -> np.ndarray:
        """The same, where some quotes are text: field by field."""
        fields = self.field.finditer(text)
        quotes = np.fromiter((at for field in fields for at in (field.start(), field.end() - 1)), np.uint32)
        may_open = found[(found == 0) | self.between[view[np.maximum(found, 1) - 1]]]
        place = np.searchsorted(quotes, may_open)
        begins = np.append(quotes, np.uint32(len(text)))[place] == may_open
        left = may_open[(place % 2 == 0) & ~begins]
        if not len(left):
            return quotes
        if field := self.closed.match(text, left[0]):
            raise Misplaced(int(left[0]), field.end() + 9, "text follows a closing quote")
        return np.append(quotes[quotes < left[0]], left[:1])

    def _learn(self, text: bytes, last: bool) -> bool:
        """Take backslashes for escapes, if this text can be read so, and all that came before it either way."""
        if self.escape or self.has_doubts or b"\\" not in text:
            return False
        escaping = Rows(replace(self.dialect, escape=BACKSLASH))
        try:
            quotes = escaping._quotes(escaping._shown(text))
        except Misplaced:
            return False
        if last and len(quotes) % 2:
            return False
        escapes = escaping._meant(text, escaping.escape)
        if (np.searchsorted(quotes, escapes) % 2 == 0).any():  # who writes one there leaves backslashes as they are
            return False
        self._take(escaping.dialect)
        return True


def _table(characters: bytes) -> np.ndarray:
    """(256,) bool: which bytes are among these."""
    table = np.zeros(256, bool)
    table[list(characters)] = True
    return table


def _positions(text: bytes, character: bytes) -> np.ndarray:
    """Where a character stands."""
    view = np.frombuffer(text, np.uint8)
    found, count = np.empty(text.count(character), np.uint32), 0
    for start in range(0, len(view) if len(found) else 0, _PIECE):
        part = np.flatnonzero(view[start : start + _PIECE] == character[0])
        found[count : count + len(part)] = part + start
        count += len(part)
    return found


def _before(positions: np.ndarray, place: int) -> int:
    """How many of the positions, in order, are less than a place."""
    return int(np.searchsorted(positions, np.uint32(place)))  # another type than theirs would have them copied


def _active(text: bytes, escape: bytes) -> np.ndarray:
    """Where escapes stand that no other escapes: of some side by side the first, the third and so on."""
    found = _positions(text, escape)
    if not len(found):
        return found
    begins = np.append(True, np.diff(found) != 1)
    first = np.maximum.accumulate(np.where(begins, found, np.uint32(0)))
    return found[(found - first) % 2 == 0]


def _last_end(text: bytes, quotes: np.ndarray) -> int:
    """How many bytes there are up to the last line end that is not within quotes; 0 where there is none.

    A carriage return at the very end may be half a line end.
    """
    limit = len(text)
    while (place := max(text.rfind(b"\n", 0, limit), text.rfind(b"\r", 0, min(limit, len(text) - 1)))) >= 0:
        before = _before(quotes, place)
        if before % 2 == 0:
            return place + 1
        limit = int(quotes[before - 1])
    return 0
