"""What is done of a data set: a file beside its files, of which the first line says what is to be done with what, and
each other which shard is finished. A line is written when its shard is, and with others of the same second goes to the
disk: a process that is killed loses none, and a machine those of a second, which are computed again. In an object
store it is there soon after.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import LapsumError, OutputError
from ..formats.faults import writing
from ..formats.places import MANIFEST, place_at
from ..formats.temporary import is_locked_by_another

SHARD, END = "shard", "complete"  # what the lines are known by
# Seconds between lines that wait for the disk, which took 25 ms: of 10^4 shards each would hold up who sends the next.
TOGETHER = 1.0


def lists_any(directory: str) -> bool:
    """Whether a directory has a manifest that lists a file: a line behind its first."""
    path = os.path.join(directory, MANIFEST)
    return (place_at(path).read(path) or b"").count(b"\n") > 1


class _OnDisk:
    """A file that is written on at its end, and locked for as long as it is open."""

    def __init__(self, path: str):
        """BlockingIOError where another run has it."""
        self.path = path
        with writing(path):
            self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        if is_locked_by_another(self.handle):
            os.close(self.handle)
            raise BlockingIOError
        self.due = -math.inf  # when a line is to wait for the disk again

    def text(self) -> bytes:
        """All of it."""
        with open(self.path, "rb") as file:
            return file.read()

    def append(self, text: bytes, at_once: bool) -> None:
        """Some more, which is on the disk from then on, or within a second."""
        with writing(self.path):
            while text:
                text = text[os.write(self.handle, text) :]
            if at_once or time.monotonic() >= self.due:
                os.fsync(self.handle)
                self.due = time.monotonic() + TOGETHER

    def cut(self, size: int) -> None:
        """Leave the first so many bytes."""
        with writing(self.path):
            os.ftruncate(self.handle, size)

    def remove(self) -> None:
        """It goes."""
        os.unlink(self.path)

    def close(self) -> None:
        """Let another run have it. One without a line was never begun, and goes."""
        with contextlib.suppress(OSError):
            if not os.fstat(self.handle).st_size:
                os.unlink(self.path)
            os.fsync(self.handle)
        os.close(self.handle)


class _InAStore:
    """An object, which is sent whole whenever it has grown: not with every line, or most of the time would go there.
    Nobody can lock it.
    """

    LEAST, SHARE = 2.0, 0.1  # seconds between two, and how much of the time sending may take

    def __init__(self, path: str):
        self.path = path
        self.place: Any = place_at(path)
        self.held = self.sent = self.place.read(path) or b""
        self.due = 0.0  # when it may be sent again

    def text(self) -> bytes:
        """All of it."""
        return self.held

    def append(self, text: bytes, at_once: bool) -> None:
        """Some more, which is there from then on, or soon."""
        self.held += text
        if at_once or time.monotonic() >= self.due:
            self._send()

    def _send(self) -> None:
        began = time.monotonic()
        self.place.write(self.path, self.held)
        self.sent, ended = self.held, time.monotonic()
        self.due = ended + max(self.LEAST, (ended - began) / self.SHARE)

    def cut(self, size: int) -> None:
        """Leave the first so many bytes, when it is sent next."""
        self.held = self.held[:size]

    def remove(self) -> None:
        """It goes."""
        self.held = self.sent = b""
        self.place.remove(self.path)

    def close(self) -> None:
        """What is not there yet; who cannot send it computes again what it says."""
        if self.held.startswith(self.sent) and len(self.held) > len(self.sent):
            with contextlib.suppress(LapsumError):
                self._send()


class Manifest:
    """The manifest of a directory, open for a run: `done` has the lines of finished shards by name. No other run may
    have it open meanwhile.
    """

    def __init__(self, directory: str):
        """OutputError where another run has it. Nothing is changed yet."""
        self.directory, self.path = directory, os.path.join(directory, MANIFEST)
        try:
            self.file = (_OnDisk if place_at(directory).appends else _InAStore)(self.path)
        except BlockingIOError:
            raise OutputError(f"{directory}: another run writes here; wait for it, or name another directory") from None
        self.begun, self.done, self.is_complete = None, {}, False
        self._read()

    begun: dict[str, Any] | None
    done: dict[str, dict[str, Any]]

    def _read(self) -> None:
        """The lines that are whole; what a killed run has left of another is not one, and goes when the next is
        written.
        """
        self.good = 0
        for line in self.file.text().splitlines(keepends=True):
            try:
                found = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                found = None
            if not isinstance(found, dict):
                break
            self.good += len(line)
            if self.begun is None:
                self.begun = found
            elif SHARD in found:
                self.done[found[SHARD]] = found
            self.is_complete = END in found

    def begin(self, about: Mapping[str, Any]) -> None:
        """Begin anew: nothing is done."""
        self.done, self.is_complete = {}, False
        self.file.cut(0)
        self._append(about)
        self.begun = dict(about)

    def check(self, about: Mapping[str, Any]) -> None:
        """OutputError where what was begun is not this, with what has changed since."""
        assert self.begun is not None
        if changed := next(_changes(self.begun, about), None):
            raise OutputError(
                f"{self.directory}: cannot be resumed, since {changed}; pass ⟨force=True⟩ to begin again, or name "
                "another directory"
            )

    def go_on(self) -> None:
        """Go on where another run has stopped."""
        self.file.cut(self.good)

    def forget(self) -> None:
        """It was never begun."""
        self.done = {}
        self.file.cut(0)
        self.file.remove()

    def add(self, line: Mapping[str, Any]) -> None:
        """A shard is finished, and its files have their names."""
        self._append(line, at_once=False)
        self.done[line[SHARD]] = dict(line)

    def end(self, line: Mapping[str, Any]) -> None:
        """All are, and together they are right."""
        self._append({END: True, **line})
        self.is_complete = True

    def _append(self, line: Mapping[str, Any], at_once: bool = True) -> None:
        self.file.append((json.dumps(line) + "\n").encode(), at_once)  # of ASCII: a name may be any bytes

    def close(self) -> None:
        """Let another run have it."""
        self.file.close()


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """In words, what is no longer as it was: an option, an input, or the version."""
    for name in {**before["options"], **now["options"]}:
        was, is_now = (about["options"].get(name) for about in (before, now))
        if was != is_now:
            yield f"{name} was {was}, and is {is_now}"
    old, new = ({one["name"]: one for one in about["inputs"]} for about in (before, now))
    for name in {**old, **new}:
        if name not in new:
            yield f"{name} is no input any more"
        elif name not in old:
            yield f"{name} was no input"
        elif old[name] != new[name]:
            yield f"{name} has changed"
    if [one["name"] for one in before["inputs"]] != [one["name"] for one in now["inputs"]]:
        yield "the inputs have another order"
