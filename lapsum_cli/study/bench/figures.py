"""What was measured as charts, by kind of table."""

from __future__ import annotations

from collections.abc import Callable

from ..report import charts
from ..report.charts import Bar
from ..report.html import Figure
from ..report.rounding import ratio, round_to
from .cases import COPIES, EVEN, OWN, TRANSFERS, Measured
from .files import MeasuredFile
from .peers import label
from .tables import duration, growth_series, name_of, others_of


def shapes_figures(measured: list[Measured]) -> list[Figure]:
    """A chart for each case, all on one scale."""
    ratios = [r for m in measured for r in m.ratios().values()]
    domain = min(0.5, *ratios) / 1.2, max(2.0, *ratios) * 1.2
    figures = []
    for m in measured:
        bars = [Bar(label(name), r, ratio(r), _colour(name, r)) for name, r in m.ratios().items()]
        title = name_of(m, measured, m.case.operation, str(m.case.shape))
        figures.append(Figure(title, charts.ratio_bars(title, bars, domain)))
    return figures


def _colour(name: str, ratio: float) -> str:
    return "theirs" if name in (*COPIES, EVEN, *TRANSFERS) else "fast" if ratio < 1 else "slow"


def growth_figures(measured: list[Measured]) -> list[Figure]:
    """A chart for each kind of scores."""
    figures = []
    for kind in dict.fromkeys((m.case.dtype, m.case.scores) for m in measured):
        series = growth_series([m for m in measured if (m.case.dtype, m.case.scores) == kind])
        title = f"ns a score, by the length n of a ranking; {kind[0]}, {kind[1]}"
        figures.append(Figure(title, charts.growth_lines(title, series)))
    return figures


def calls_figures(measured: list[Measured]) -> list[Figure]:
    """A chart for each call: its time beside those of others."""
    figures = []
    for m in measured:
        bars = [
            Bar(label(name), t.median, duration(t.median), "ours" if name == "lapsum" else "theirs", t.extremes)
            for name, t in m.sides.items()
        ]
        figures.append(Figure(str(m.case), charts.plain_bars(str(m.case), bars)))
    return figures


def files_figures(measured: list[MeasuredFile]) -> list[Figure]:
    """For each file wall time, with the extremes of the runs, and peak memory."""
    figures = []
    for file in dict.fromkeys(m.case.file for m in measured):
        cases = [m for m in measured if m.case.file == file]
        ours = [name for name in cases[0].sides if name in OWN]
        sides = [(f"{name} {m.case.operation}", m.sides[name], "ours") for m in cases for name in ours]
        sides += [(label(name), cases[0].sides[name], "theirs") for name in others_of(cases) if name not in OWN]
        times = [Bar(name, t.median, f"{round_to(t.median, 3)} s", kind, t.extremes) for name, t, kind in sides]
        memory = [Bar(name, t.memory, f"{t.memory / 1e6:.0f} MB", kind) for name, t, kind in sides if t.memory]
        title = f"{file} {cases[0].case.shape}"
        drawn = charts.plain_bars(f"{title}, wall time", times)
        if memory:
            drawn += f"\n<p>peak memory</p>\n{charts.plain_bars(f'{title}, peak memory', memory)}"
        figures.append(Figure(f"{title}: wall time", drawn))
    return figures


FIGURES: dict[str, Callable[[list], list[Figure]]] = {
    "shapes": shapes_figures,
    "uneven": shapes_figures,
    "growth": growth_figures,
    "calls": calls_figures,
    "files": files_figures,
}
RATIOS = "Time of lapsum over that of the other, on a logarithmic scale: left of the line at 1 lapsum is faster."
LEGENDS = {"shapes": RATIOS, "uneven": RATIOS}
