"""The process, before NumPy: modules that are kept out, Arrow's pool, signals; and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn


def main() -> None:
    """The entry point of the process."""
    if sys.argv[1:2] != ["bench"]:
        sys.meta_path.insert(0, WithoutNeighbours)
    if sys.platform == "linux":  # before PyArrow is imported: the pool that its C++ takes where Python names none
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    from .app import app

    app()


class WithoutNeighbours:
    """An importer that refuses pandas, SciPy and coverage, which no command uses but the one that times them.

    Where they are installed, PyArrow imports the first to see whether an array is one of its, Numba SciPy for linear
    algebra, and coverage to tell it which lines it compiled: half a second and 54 MB for nothing. None in sys.modules
    would do for Numba; PyArrow (26) takes it for the module.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """ModuleNotFoundError for these, nothing for others."""
        if name in ("pandas", "scipy", "coverage"):
            raise ModuleNotFoundError("the command line does without it", name=name)


def fail(message: str, code: int) -> NoReturn:
    """Say one line and leave."""
    print("lapsum: " + message.replace("\n", " "), file=sys.stderr, flush=True)
    leave(code)


def leave(code: Any) -> NoReturn:
    """Exit without waiting for a thread that sits in a read of standard input, and without a second word about a
    closed pipe.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    os._exit(code)
