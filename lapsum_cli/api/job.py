"""A job, and a shard of it: what is to be done with every one of them, and all that is opened for one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import __version__, devices
from ..devices import machine
from ..flow.budget import Budget
from ..flow.process import held_besides, memory_budget, memory_size, returning_memory
from ..formats.dialect import Given
from ..formats.files import Output, Part
from ..formats.frames import Frame, InMemory
from ..formats.sources import Common, Sources
from ..operations.operation import Operation
from ..operations.slots import PAIR, POSITION, RANKING, SCORE
from ..operations.warm import on_terminal
from ..stream import Silent
from ..tables.detect import detect, find_item
from ..tables.groupsfile import GroupsFile
from ..tables.layout import Layout
from ..tables.long import Long
from ..tables.pairs import Pairs
from ..tables.positions import ByPosition
from ..tables.results import Asked, Beside, RowEach, Table
from ..tables.roles import Names

# The form of a result, by what its slots are per: the first that one of them is.
FORMS: dict[str, type[Table]] = {SCORE: Beside, POSITION: ByPosition, PAIR: Pairs, RANKING: RowEach}


@dataclass(frozen=True)
class Shard:
    """Inputs that are read as one, and where their result goes."""

    sources: Sequence[str | Part | Frame]
    sink: str | InMemory | None
    number: int = 0  # of the shard in its data set
    before: int = 0  # rankings of the data set that come before
    groups: str | None = None  # the file in which it leaves its groups, which no other shard may have

    def __str__(self) -> str:
        return self.path or "standard output"

    @property
    def is_in_memory(self) -> bool:
        """Whether tables in memory are given or asked for."""
        return isinstance(self.sink, InMemory) or any(isinstance(source, Frame) for source in self.sources)

    @property
    def path(self) -> str | None:
        """Of the file that it goes to; None where it goes to standard output, or stays in memory."""
        return self.sink if isinstance(self.sink, str) else None


@dataclass(frozen=True)
class Job:
    """What is to be done with every shard."""

    operation: Operation
    names: Names
    asked: Asked
    from_format: str | None
    dialect: Given
    to_format: str | None
    force: bool
    memory: str | int | None
    threads: int | None
    device: str
    words: Any
    sort_groups: bool
    temp_dir: str | None
    common: Common | None = None  # of the inputs of a data set
    replaces: bool = False  # what a run that was killed has finished, and not said so

    def say(self, line: str) -> None:
        """A line for whoever is told, in their words."""
        self.words.say(self.words.spell(line))

    def wait(self, line: str) -> None:
        """Why it takes a while: on a terminal also where nobody asked to be told."""
        on_terminal(line) if type(self.words) is Silent else self.say(line)

    @contextlib.contextmanager
    def opened(self, shard: Shard) -> Iterator[tuple[Sources, Table, Output, Budget]]:
        """The sources, what the operation makes of their table, the output, and the budget, not settled yet."""
        size = memory_size(self.memory) + (held_besides() if shard.is_in_memory else 0)
        with contextlib.ExitStack() as stack:
            stack.enter_context(returning_memory(size))
            budget = stack.enter_context(contextlib.closing(memory_budget(size)))
            names = self.names
            given = (self.from_format, names.numbers, budget, names.beside, self.dialect, self.common)
            source = Sources(shard.sources, *given)
            stack.enter_context(contextlib.closing(source))
            threads = self.threads or machine.cores()
            on: Any = devices.choose(self.device, threads, self.say)
            names = names.for_array() if source.is_array else names
            layout = detect(source.schema, names, source.is_array, source.first.name, self.say)
            read = [file.name for file in (*source.inputs, *source.beside.values())]
            output = Output(shard.path, self.force or self.replaces, read, self.temp_dir)
            free = math.nan if self.force else output.free()
            if shard.groups and isinstance(layout, Long):
                kept = stack.enter_context(Output(shard.groups, True, temp_dir=self.temp_dir))
                layout.kept = stack.enter_context(contextlib.closing(GroupsFile(kept.stream)))
            asked = replace(self.asked, threads=threads, free=free, before=shard.before, say=self.say)
            if "item" in self.operation.takes:
                asked = replace(asked, item=find_item(source.schema, layout, source.first.name, self.say))
            form = form_of(self.operation, layout, source.is_array)
            yield source, form(self.operation, layout, source, asked, on), output, budget

    def how(self, table: Table) -> dict[str, Any]:
        """How a result is made: whatever changes its numbers, and nothing that varies from run to run."""
        names = table.layout.names
        given = {name: {"column": column} for name, column in {**names.each, **names.beside}.items()}
        said = {"nan": self.asked.nan, "device": table.on.name, "version": __version__}
        return {**self.operation.describe(), **given, **table.layout.describe(), **said}


def form_of(operation: Operation, layout: Layout, is_array: bool) -> type[Table]:
    """The form of what an operation gives. In a row that is a ranking, and in an array, a value for each position has
    its place as one for each score has.
    """
    in_its_place = {POSITION: SCORE} if layout.closes_with_row or is_array else {}
    per = {in_its_place.get(slot.per, slot.per) for slot in operation.gives}
    return next(form for each, form in FORMS.items() if each in per)
