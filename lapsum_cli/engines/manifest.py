"""What is done of a data set: a file beside its files, of which the first line says what is to be done with what, and
each other which shard is finished. A line is written when its shard is, and with others of the same second goes to the
disk: a process that is killed loses none, and a machine those of a second, which are computed again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import OutputError
from ..formats.files import MANIFEST, writing
from ..formats.temporary import is_locked_by_another

SHARD, END = "shard", "complete"  # what the lines are known by
# Seconds between lines that wait for the disk, which took 25 ms: of 10^4 shards each would hold up who sends the next.
TOGETHER = 1.0


def lists_any(directory: str) -> bool:
    """Whether a directory has a manifest that lists a file: a line behind its first."""
    try:
        with open(os.path.join(directory, MANIFEST), "rb") as file:
            file.readline()
            return file.readline().endswith(b"\n")
    except OSError:
        return False


class Manifest:
    """The manifest of a directory, open for a run: `done` has the lines of finished shards by name. No other run may
    have it open meanwhile.
    """

    def __init__(self, directory: str):
        """OutputError where another run has it. Nothing is changed yet."""
        self.directory, self.path = directory, os.path.join(directory, MANIFEST)
        with writing(self.path):
            self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        if is_locked_by_another(self.handle):
            os.close(self.handle)
            raise OutputError(f"{directory}: another run writes here; wait for it, or name another directory")
        self.begun, self.done, self.is_complete = None, {}, False
        self.on_disk = -math.inf
        self._read()

    begun: dict[str, Any] | None
    done: dict[str, dict[str, Any]]

    def _read(self) -> None:
        """The lines that are whole; what a killed run has left of another is not one, and goes when the next is
        written.
        """
        with open(self.path, "rb") as file:
            text = file.read()
        self.good = 0
        for line in text.splitlines(keepends=True):
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
        self.done, self.is_complete, self.good = {}, False, 0
        self._cut()
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
        self._cut()

    def forget(self) -> None:
        """It was never begun."""
        self.done, self.good = {}, 0
        self._cut()
        os.unlink(self.path)

    def add(self, line: Mapping[str, Any]) -> None:
        """A shard is finished, and its files have their names."""
        self._append(line, waits=time.monotonic() - self.on_disk >= TOGETHER)
        self.done[line[SHARD]] = dict(line)

    def end(self, line: Mapping[str, Any]) -> None:
        """All are, and together they are right."""
        self._append({END: True, **line})
        self.is_complete = True

    def _cut(self) -> None:
        with writing(self.path):
            os.ftruncate(self.handle, self.good)

    def _append(self, line: Mapping[str, Any], waits: bool = True) -> None:
        text = (json.dumps(line) + "\n").encode()  # of ASCII: a name may be any bytes
        with writing(self.path):
            while text:
                text = text[os.write(self.handle, text) :]
            if waits:
                os.fsync(self.handle)
                self.on_disk = time.monotonic()

    def close(self) -> None:
        """Let another run have it. One without a line was never begun, and goes."""
        with contextlib.suppress(OSError):
            if not os.fstat(self.handle).st_size:
                os.unlink(self.path)
            os.fsync(self.handle)
        os.close(self.handle)


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
