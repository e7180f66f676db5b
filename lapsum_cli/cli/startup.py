"""The process, before NumPy: modules that are kept out, Arrow's pool, standard streams, signals; and how it ends."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
from typing import Any, NoReturn

from ..core import unfinished
from ..core.errors import IOFailed

# Those that end a process and may be caught, but for faults of its own and what Python ignores.
SIGNALS = ("HUP", "INT", "QUIT", "TERM", "ALRM", "VTALRM", "PROF", "USR1", "USR2", "XCPU")


def main() -> None:
    """The entry point of the process."""
    open_standard_streams()
    end_on_signals()
    if sys.argv[1:2] != ["bench"]:
        sys.meta_path.insert(0, WithoutNeighbours)
    if sys.platform == "linux":  # before PyArrow is imported: the pool that its C++ takes where Python names none
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    from typer import BadParameter

    from .app import app

    UsageError: Any = BadParameter.__base__  # Typer may have a click of its own
    stdout = sys.stdout
    try:
        try:
            code = app(standalone_mode=False)
        except UsageError as error:
            misused(error)
        except SystemExit:
            if sys.stdout is not stdout:  # so Typer leaves, with 1, where help meets a closed pipe
                leave(128 + signal.SIGPIPE)
            raise
        finally:  # help and lists too may be written to a full disk
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:
        leave(128 + signal.SIGPIPE)
    except OSError as error:
        fail(f"standard output: {error.strerror or error}", IOFailed.exit_code)
    # All is written and closed: to take apart what Numba and LLVM have made takes a third of a second.
    leave(code if isinstance(code, int) else 0)


def misused(error: Any) -> NoReturn:
    """Say in a line what is wrong with what was typed, and leave; without anything typed, what can be."""
    if not sys.argv[1:]:
        print(error.format_message(), file=sys.stderr)
        leave(2)
    from .usage import said

    fail(said(error), 2)


class WithoutNeighbours:
    """An importer that refuses what no command uses but the one that times others.

    Where pandas, SciPy and coverage are installed, PyArrow imports the first to see whether an array is one of its,
    Numba SciPy for linear algebra, and coverage to tell it which lines it compiled: half a second and 54 MB for
    nothing. None in sys.modules would do for Numba; PyArrow (26) takes it for the module. And PyArrow's Parquet loads
    the clients of four remote file systems, if they are there, and with them ssl; of which those of object stores are
    let in where an argument names one.
    """

    STORES = ("pyarrow._gcsfs", "pyarrow._s3fs")
    NAMES = ("pandas", "scipy", "coverage", "pyarrow._azurefs", "pyarrow._hdfs")

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> None:
        """ModuleNotFoundError for these, nothing for others."""
        if name in cls.NAMES or (name in cls.STORES and not any("://" in word for word in sys.argv)):
            raise ModuleNotFoundError("the command line does without it", name=name)


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


def end_on_signals() -> None:
    """A signal ends the process at once, with 128 and its number, and leaves nothing unfinished behind.

    A thread takes them, which does nothing else, and they are blocked in all others. A handler would run in the main
    thread only, which may wait in Arrow's reader for a pipe that says nothing; and an exception raised there at any
    moment is swallowed by some, and turned into another by an import. What was ignored, as by nohup, stays ignored.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        return
    named = [getattr(signal, f"SIG{name}") for name in SIGNALS]
    taken = [number for number in named if signal.getsignal(number) != signal.SIG_IGN]

    def wait() -> None:
        number = signal.sigwait(taken)
        unfinished.undo_all()
        os._exit(128 + number)

    signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    threading.Thread(target=wait, daemon=True).start()


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
