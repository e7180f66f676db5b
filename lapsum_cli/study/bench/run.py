"""One run of the benchmark: what was asked for is looked through first, then timed, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from ... import devices
from ..report.html import Section
from ..report.report import Report
from . import arrays
from .calls import CallBench
from .cases import Case, Choice, Measured
from .figures import FIGURES, LEGENDS
from .files import FileBench
from .machine import machine
from .peers import Peer
from .tables import TABLES

Notice = Callable[[str], None]
Measure = Callable[[Notice], Iterable[Measured]]


@dataclass(frozen=True)
class Bench:
    """What is to be timed, beside which peers, and how often."""

    choice: Choice
    kinds: list[str]  # of TABLES
    peers: list[Peer]
    runs: int = 5
    rows: float = 2e7
    temp_dir: str | None = None
    cold: bool = False

    def run(self, notice: Notice = lambda line: None) -> Report:
        """The report; a wrong output is an error, and so is a card that does not work. notice is told what runs."""
        if self.choice.device == "cuda":
            devices.lane()
        kinds = {kind: PREPARED[kind](self) for kind in self.kinds}  # what cannot be timed is refused here
        for peer in self.peers:
            peer.set_threads(self.choice.threads or 1)
        measured = {kind: list(measure(notice)) for kind, measure in kinds.items()}
        return report_of(machine(self.peers, self.choice.device), measured, self.choice, self.runs)

    def _in_memory(self, cases: list[Case], peers: list[Peer]) -> Measure:
        """The cases one after the other, in memory here or on the card, uneven ones beside others of one length."""
        return partial(self._timed, [(case, case.evened(self.choice.k)) for case in cases], peers)

    def _timed(self, cases: list[tuple[Case, Case | None]], peers: list[Peer], notice: Notice) -> Iterator[Measured]:
        if self.choice.device == "cpu":
            measure = arrays.measure
        else:
            from . import cards  # numba.cuda, and what it needs

            measure = partial(cards.measure, notice=notice)
        for case, evened in cases:
            notice(f"{case}")
            yield measure(case, peers, self.runs, evened=evened)

    def _files(self) -> Measure:
        return FileBench(self.choice, self.rows, self.temp_dir, self.peers, self.runs).measure

    def _calls(self) -> Measure:
        return CallBench(self.choice, self.cold, self.temp_dir, self.peers, self.runs).measure


PREPARED: dict[str, Callable[[Bench], Measure]] = {
    "shapes": lambda bench: bench._in_memory(bench.choice.shape_cases(), bench.peers),
    "uneven": lambda bench: bench._in_memory(bench.choice.uneven_cases(), bench.peers),
    "growth": lambda bench: bench._in_memory(bench.choice.growth_cases(), []),
    "calls": Bench._calls,
    "files": Bench._files,
}


def report_of(machine: str, measured: dict[str, list], choice: Choice, runs: int) -> Report:
    """What was measured, by kind, with the tables and charts of each."""
    sections = [
        Section(TABLES[kind](found, choice, runs), FIGURES[kind](found), LEGENDS.get(kind, ""))
        for kind, found in measured.items()
    ]
    cases = [{"kind": choice.name_of(kind), **m.as_dict()} for kind, found in measured.items() for m in found]
    return Report("lapsum bench", machine, sections, cases)
