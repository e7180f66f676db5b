"""What no signal may leave behind: temporary files, processes that were started, a terminal without its cursor.

Whoever makes such a thing enters how it is undone. Whoever ends the process at once undoes all that is entered then.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

Undo = Callable[[], object]

# Held while something is made and entered, or is finished and taken out, so that nothing is undone half made.
lock = threading.RLock()
_entered: list[Undo] = []


def enter(undo: Undo) -> None:
    """From now on, `undo` is called if the process ends at once."""
    with lock:
        _entered.append(undo)


def take_out(undo: Undo) -> None:
    """What was entered is finished, or undone."""
    with lock, contextlib.suppress(ValueError):
        _entered.remove(undo)


@contextlib.contextmanager
def undone_by(undo: Undo) -> Iterator[None]:
    """`undo` is called if the process ends at once within."""
    enter(undo)
    try:
        yield
    finally:
        take_out(undo)


def undo_all() -> None:
    """Undo everything, the latest first. The lock is kept: after this nothing is made any more."""
    lock.acquire()
    for undo in reversed(_entered):
        with contextlib.suppress(Exception):
            undo()
