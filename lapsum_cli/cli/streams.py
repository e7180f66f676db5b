"""The standard streams: open whatever a shell has closed, safe to print to, flushed when the process leaves."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import Any, NoReturn


class _Courtesy(io.FileIO):
    """Standard error. Words are a courtesy: what nobody can read, or no disk holds, is as good as said."""

    def write(self, words: Any) -> int:
        try:
            return super().write(words) or len(words)
        except OSError:
            return len(words)


def open_standard_streams() -> None:
    """Words may always be said, whatever letters the stream has; and no file takes the number of a stream that is
    closed, or would get what is meant for that: of these reading fails, and of all but standard error writing.
    """
    for number, way in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, way)  # the lowest number that is free
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    words = io.BufferedWriter(_Courtesy(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(words, encoding, "backslashreplace", line_buffering=True, write_through=True)


def is_terminal(stream: Any) -> bool:
    """Whether a standard stream is a terminal; one that is closed is none."""
    return stream is not None and stream.isatty()


def one_line(text: str) -> str:
    """The text without what would move a terminal's cursor or change its colours: names and values come from files."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text.replace("\n", " "))


def fail(message: str, code: int) -> NoReturn:
    """Say one line and leave."""
    print("lapsum: " + one_line(message), file=sys.stderr, flush=True)
    leave(code)


def leave(code: Any) -> NoReturn:
    """Exit without waiting for a thread that sits in a read of standard input, and without a second word about a
    closed pipe.
    """
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os._exit(code)
