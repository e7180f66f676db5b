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
_NO_QUOTES = np.empty(0, np.int64)
_SHOWN = 40  # bytes of a field, in a message
_WAYS = "a quote within quotes is doubled, or has before it what --escape names; with --quote '' quotes are text"


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
        self.quote = dialect.quote.encode()
        between = np.zeros(256, bool)  # bytes that a quoted field may have on either side
        between[list(f"{dialect.delimiter}\r\n".encode())] = True
        self.between = between
        edges = b"[" + re.escape(f"{dialect.delimiter}\r\n".encode()) + b"]"
        quote = re.escape(self.quote)
        body = b"%b[^%b]*+(?:%b%b[^%b]*+)*+%b" % ((quote,) * 6) if quote else b"(?!)"
        self.field = re.compile(rb"(?:(?<=%b)|\A)%b(?=%b|\Z)" % (edges, body, edges))
        self.closed = re.compile(body)
        special = re.escape(f"{dialect.escape or BACKSLASH}{dialect.quote}{dialect.delimiter}\r\n".encode())
        self.escaped = re.compile(re.escape((dialect.escape or BACKSLASH).encode()) + b"[" + special + b"]")
        self.unescaped = re.compile(
            b"(%b)|(%b)" % (self.escaped.pattern, re.escape(dialect.escape.encode()) or b"(?!)")
        )

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
        if self.quote and not self.dialect.escape and b"\\" in text:
            self.has_doubts = self.has_doubts or self.escaped.search(text, 0, end) is not None
        return end

    def first_end(self, text: bytes) -> int:
        """How many bytes the first of whole rows has, its line end included."""
        ends = self._ends(text)
        return int(ends[0]) + 1 if len(ends) else len(text)

    def starts(self, text: bytes, blank: bool) -> np.ndarray:
        """Where rows begin; blank: those too that are nothing but a line end."""
        starts = np.append(0, self._ends(text) + 1)
        first = np.frombuffer(text + b"\n", np.uint8)[starts]
        return starts if blank else starts[(first != 10) & (first != 13)]

    def for_arrow(self, text: bytes) -> bytes:
        """The rows with every escape doubled that stands before a character it means nothing to: Arrow drops it."""
        escape = self.dialect.escape.encode()
        return self.unescaped.sub(rb"\1\2\2", text) if escape and escape in text else text

    def _ends(self, text: bytes) -> np.ndarray:
        """The last bytes of the line ends that end rows."""
        shown = self._shown(text)
        view = np.frombuffer(shown + b"\0", np.uint8)
        ends = np.flatnonzero((view[:-1] == 10) | ((view[:-1] == 13) & (view[1:] != 10)))
        return ends[np.searchsorted(self._quotes(shown), ends) % 2 == 0]

    def _shown(self, text: bytes) -> bytes:
        """The text, as long as it is, with nothing where an escape and what follows it are."""
        escape = self.dialect.escape.encode()
        return re.sub(re.escape(escape) + b".", b"\0\0", text, flags=re.DOTALL) if escape and escape in text else text

    def _quotes(self, text: bytes) -> np.ndarray:
        """Where quotes open and close, in turn; the last may be open. A doubled quote closes, and opens again.

        Where a quote stands in a field that does not begin with one, it is text, and is not among them.
        """
        if not self.quote or self.quote not in text:
            return _NO_QUOTES
        view = np.frombuffer(text, np.uint8)
        found = np.flatnonzero(view == self.quote[0])
        opening, closing = found[::2], found[1::2]
        before, after = view[np.maximum(opening - 1, 0)], view[np.minimum(closing + 1, len(view) - 1)]
        opens = self.between[before] | (before == self.quote[0]) | (opening == 0)
        closes = self.between[after] | (after == self.quote[0]) | (closing == len(view) - 1)
        if opens.all() and closes.all():
            return found
        return self._quotes_beside_text(text, view, found)

    def _quotes_beside_text(self, text: bytes, view: np.ndarray, found: np.ndarray) -> np.ndarray:
        """The same, where some quotes are text: field by field."""
        fields = np.array([field.span() for field in self.field.finditer(text)], np.int64).reshape(-1, 2)
        fields[:, 1] -= 1
        quotes = fields.reshape(-1)
        may_open = found[(found == 0) | self.between[view[np.maximum(found - 1, 0)]]]
        place = np.searchsorted(quotes, may_open)
        inside = (place % 2 == 1) | (quotes[np.minimum(place, len(quotes) - 1)] == may_open if len(quotes) else False)
        left = may_open[~inside]
        if not len(left):
            return quotes
        if field := self.closed.match(text, left[0]):
            raise Misplaced(int(left[0]), field.end() + 9, "text follows a closing quote")
        return np.append(quotes[quotes < left[0]], left[0])

    def _learn(self, text: bytes, last: bool) -> bool:
        """Take backslashes for escapes, if this text can be read so, and all that came before it either way."""
        if self.dialect.escape or self.has_doubts or b"\\" not in text:
            return False
        escaping = Rows(replace(self.dialect, escape=BACKSLASH))
        shown = escaping._shown(text)
        try:
            quotes = escaping._quotes(shown)
        except Misplaced:
            return False
        if last and len(quotes) % 2:
            return False
        escapes = np.array([found.start() for found in escaping.escaped.finditer(text)], np.int64)
        if (np.searchsorted(quotes, escapes) % 2 == 0).any():  # who writes one there leaves backslashes as they are
            return False
        self._take(escaping.dialect)
        return True


def _last_end(text: bytes, quotes: np.ndarray) -> int:
    """How many bytes there are up to the last line end that is not within quotes; 0 where there is none.

    A carriage return at the very end may be half a line end.
    """
    limit = len(text)
    while (place := max(text.rfind(b"\n", 0, limit), text.rfind(b"\r", 0, min(limit, len(text) - 1)))) >= 0:
        before = int(np.searchsorted(quotes, place))
        if before % 2 == 0:
            return place + 1
        limit = int(quotes[before - 1])
    return 0
