"""The report as one page that needs nothing else: charts and tables, for a screen, a telephone and paper."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from importlib.resources import files

from .tables import Table

STYLE = files(__package__).joinpath("page.css")


@dataclass(frozen=True)
class Figure:
    """A drawing of the page: HTML, under its title."""

    title: str
    drawing: str


@dataclass(frozen=True)
class Section:
    """A table and what is drawn of it; the legend says how to read that, where its titles do not."""

    table: Table
    figures: list[Figure]
    legend: str = ""


def page(title: str, conditions: str, sections: list[Section]) -> str:
    """The whole of the page."""
    drawn = "\n".join(map(_section, sections))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{STYLE.read_text()}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>{escape(conditions)}</p>
</header>
<main>
{drawn}
</main>
</body>
</html>
"""


def _section(section: Section) -> str:
    legend = f'<p class="legend">{escape(section.legend)}</p>\n' if section.legend else ""
    figures = "\n".join(map(_figure, section.figures))
    return f"""<section>
<h2>{escape(section.table.title)}</h2>
<p>{escape(section.table.note)}</p>
{legend}<div class="charts">
{figures}
</div>
{_table(section.table)}
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


def _figure(figure: Figure) -> str:
    return f"<figure>\n<figcaption>{escape(figure.title)}</figcaption>\n{figure.drawing}\n</figure>"
