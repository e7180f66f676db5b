"""Charts as inline SVG: as wide as a telephone, so that their words are as large as those around them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from .rounding import round_to

WIDTH = 340
NAMES, LEFT, RIGHT = 108, 116, 272  # where names end, where bars start, where they end; what they say follows
BAR, STEP, TOP, AXIS = 12, 24, 8, 22
PLOT = 200  # the height of lines
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2")  # lines are told apart without colours too


@dataclass(frozen=True)
class Bar:
    """A value with its name and what is said of it; the extremes of its runs where there are some."""

    name: str
    value: float
    text: str
    colour: str  # a class of the page: fast, slow, ours or theirs
    extremes: tuple[float, float] | None = None


def ratio_bars(title: str, bars: list[Bar], domain: tuple[float, float]) -> str:
    """Bars from a line at 1, on a logarithmic scale that spans the domain: to the left is faster."""
    low, high = (math.log10(end) for end in domain)

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - low) / (high - low) * (RIGHT - LEFT)

    decades = [10.0**i for i in range(math.ceil(low), math.floor(high) + 1)]
    return _bars(title, bars, x, 1.0, decades)


def plain_bars(title: str, bars: list[Bar], end: float | None = None) -> str:
    """Bars from 0 to the end of the scale, by default the longest of them."""
    longest = end or max(bar.extremes[1] if bar.extremes else bar.value for bar in bars) or 1.0
    return _bars(title, bars, lambda value: LEFT + value / longest * (RIGHT - LEFT), 0.0, [])


def _bars(title: str, bars: list[Bar], x: Callable[[float], float], base: float, ticks: list[float]) -> str:
    bottom = TOP + STEP * len(bars)
    parts = [_line(x(tick), TOP - 4, x(tick), bottom, "rule") + _tick(x(tick), bottom + 14, tick) for tick in ticks]
    for i, bar in enumerate(bars):
        y = TOP + STEP * i + STEP / 2
        start, end = sorted((x(base), x(bar.value)))
        parts += [
            _text(NAMES, y + 4, bar.name, "end"),
            f'<rect class="{bar.colour}" x="{start:.1f}" y="{y - BAR / 2}" width="{end - start:.1f}" height="{BAR}"/>',
            _text(RIGHT + 8, y + 4, bar.text, "start", "value"),
        ]
        if bar.extremes:
            parts.append(_line(x(bar.extremes[0]), y, x(bar.extremes[1]), y, "extremes"))
    parts.append(_line(x(base), TOP - 4, x(base), bottom, "base"))
    said = "; ".join(f"{bar.name} {bar.text}" for bar in bars)
    return _svg(f"{title}: {said}", bottom + (AXIS if ticks else 6), parts)


def growth_lines(title: str, series: dict[str, dict[int, float]]) -> str:
    """A line for each series over the doublings of n, both scales logarithmic; at its end its name and last value."""
    lengths = sorted({n for points in series.values() for n in points})
    values = [value for points in series.values() for value in points.values()]
    ticks = _one_two_five(min(values), max(values))
    left, right, bottom = 34, 214, TOP + PLOT
    x = _scale(lengths[0], lengths[-1], left, right)
    y = _scale(ticks[0], ticks[-1], bottom, TOP)
    parts = [_line(left, y(t), right, y(t), "rule") + _text(left - 6, y(t) + 4, f"{t:g}", "end", "tick") for t in ticks]
    parts += [_tick(x(n), bottom + 16, n) for n in lengths[:: max(1, math.ceil(len(lengths) / 4))]]
    ends = _apart([y(points[max(points)]) for points in series.values()], 15)
    for i, ((name, points), end) in enumerate(zip(series.items(), ends, strict=True)):
        path = " ".join(f"{x(n):.1f},{y(value):.1f}" for n, value in points.items())
        parts.append(f'<polyline class="line c{i % 5}" stroke-dasharray="{DASHES[i % 5]}" points="{path}"/>')
        parts.append(_line(right + 2, y(points[max(points)]), right + 10, end, f"line c{i % 5}"))
        parts.append(_text(right + 14, end + 4, f"{name} {round_to(points[max(points)], 2)}", "start"))
    said = "; ".join(
        f"{name} from {round_to(points[min(points)], 2)} to {round_to(points[max(points)], 2)}"
        for name, points in series.items()
    )
    return _svg(f"{title}: {said}", bottom + AXIS, parts)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From values to places, logarithmic; a single value is in the middle."""
    span = math.log(high / low)
    return lambda value: (start + end) / 2 if span == 0 else start + math.log(value / low) / span * (end - start)


def _one_two_five(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 ... from one that is not above `low` to one that is not below `high`."""
    steps = [
        m * 10.0**e for e in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)
    ]
    return [s for s in steps if max(t for t in steps if t <= low) <= s <= min(t for t in steps if t >= high)]


def _apart(places: list[float], gap: float) -> list[float]:
    """The places, moved down where two are nearer than the gap."""
    moved, last = list(places), -math.inf
    for i in sorted(range(len(places)), key=places.__getitem__):
        moved[i] = last = max(places[i], last + gap)
    return moved


def _svg(words: str, height: float, parts: list[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(words)}">{"".join(parts)}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str, kind: str = "name") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _tick(x: float, y: float, value: float) -> str:
    return _text(x, y, f"{value:g}", "middle", "tick")
