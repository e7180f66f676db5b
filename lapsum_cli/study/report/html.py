"""The report as one page that needs nothing else: charts and tables, for a screen, a telephone and paper."""

from __future__ import annotations

from html import escape
from pathlib import Path

from ..bench.cases import COPIES, OWN, TRANSFERS, Measured
from . import charts
from .charts import Bar
from .rounding import ratio, round_to
from .tables import Table, growth_series, label, name_of, others_of

STYLE = Path(__file__).with_name("page.css")
LEGEND = "Time of lapsum over that of the other, on a logarithmic scale: left of the line at 1 lapsum is faster."


def page(machine: str, tables: list[Table], measured: dict[str, list[Measured]]) -> str:
    sections = "\n".join(_section(table, measured[table.kind]) for table in tables)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>lapsum bench</title>
<style>
{STYLE.read_text()}</style>
</head>
<body>
<header>
<h1>lapsum bench</h1>
<p>{escape(machine)}</p>
</header>
<main>
{sections}
</main>
</body>
</html>
"""


def _section(table: Table, measured: list[Measured]) -> str:
    figures = {"shapes": _shapes, "growth": _growth, "files": _files}[table.kind.removeprefix("cuda-")](measured)
    return f"""<section>
<h2>{escape(table.title)}</h2>
<p>{escape(table.note)}</p>
{figures}
{_table(table)}
</section>"""


def _table(table: Table) -> str:
    """Its first column heads the rows; where it is wider than the screen, the others move under it."""
    head = "".join(f'<th scope="col"{_side(table, i)}>{escape(name)}</th>' for i, name in enumerate(table.columns))
    body = "\n".join(
        f'<tr><th scope="row"{_side(table, 0)}>{escape(first)}</th>'
        + "".join(f"<td{_side(table, i)}>{escape(cell)}</td>" for i, cell in enumerate(rest, 1))
        + "</tr>"
        for first, *rest in table.rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}: table">\n<table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _side(table: Table, column: int) -> str:
    return ' class="word"' if column < table.words else ""


def _shapes(measured: list[Measured]) -> str:
    """A chart for each case, all on one scale."""
    ratios = [r for m in measured for r in m.ratios().values()]
    domain = min(0.5, *ratios) / 1.2, max(2.0, *ratios) * 1.2
    figures = []
    for m in measured:
        bars = [Bar(label(name), r, ratio(r), _colour(name, r)) for name, r in m.ratios().items()]
        title = name_of(m, measured, m.case.operation, m.case.shape)
        figures.append(_figure(title, charts.ratio_bars(title, bars, domain)))
    return f'<p class="legend">{LEGEND}</p>\n{_grid(figures)}'


def _colour(name: str, ratio: float) -> str:
    return "theirs" if name in (*COPIES, *TRANSFERS) else "fast" if ratio < 1 else "slow"


def _growth(measured: list[Measured]) -> str:
    """A chart for each kind of scores."""
    figures = []
    for kind in dict.fromkeys((m.case.dtype, m.case.scores) for m in measured):
        series = growth_series([m for m in measured if (m.case.dtype, m.case.scores) == kind])
        title = f"ns a score, by the length n of a ranking; {kind[0]}, {kind[1]}"
        figures.append(_figure(title, charts.growth_lines(title, series)))
    return _grid(figures)


def _files(measured: list[Measured]) -> str:
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
        figures.append(_figure(f"{title}: wall time", drawn))
    return _grid(figures)


def _figure(title: str, chart: str) -> str:
    return f"<figure>\n<figcaption>{escape(title)}</figcaption>\n{chart}\n</figure>"


def _grid(figures: list[str]) -> str:
    return '<div class="charts">\n' + "\n".join(figures) + "\n</div>"
