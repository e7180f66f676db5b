"""What was measured as tables: of shapes, of growth, and of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..report.rounding import ratio, round_to
from ..report.tables import Table
from .calls import SAMPLE
from .cases import COPIES, Choice, Measured
from .clock import LEAST, Times
from .files import MeasuredFile
from .peers import label

UNITS = (("µs", 1e6), ("ms", 1e3), ("s", 1.0))
ON_CARD = (
    " Scores are on the card before, and results after; timed are the kernels, as a call runs them once it has looked "
    "for NaN, from one CUDA event to another, with their launches; a gradient also reads numbers of rankings back. "
    "Runs take up to 64 copies of the inputs in turn."
)


def shapes_table(measured: list[Measured], choice: Choice, runs: int) -> Table:
    """A row for each case; for each peer lapsum's time over its time, and that in ms."""
    others = others_of(measured)
    varying = varying_of(measured)
    numbers = ["lapsum ms", "min–max", "M scores/s", "GB/s", "peak MB", *(_heading(name, "ms") for name in others)]
    rows = [
        [m.case.operation, str(m.case.shape), *(getattr(m.case, name) for name in varying), *_of_lapsum(m, _ms)]
        + [_against(m, name, lambda times: _ms(times.median)) for name in others]
        for m in measured
    ]
    is_on_card = choice.device != "cpu"
    note = f"{_conditions(choice, measured, is_on_card)}; {_medians(runs)}."
    if is_on_card:
        note += f"{ON_CARD} The scores cross the bus by way of pinned memory, in no time but their own."
    if "sorted" in choice.scores:
        note += " Sorted scores are an exempt case: an argsort has next to nothing to do."
    note += "".join(f" {remark}." for m in measured for remark in m.remarks)
    columns = ["operation", "shape", *varying, *numbers]
    title = "On the card" if is_on_card else "In memory"
    return Table(choice.name_of("shapes"), title, note, columns, rows, 2 + len(varying))


def uneven_table(measured: list[Measured], choice: Choice, runs: int) -> Table:
    """A row for each case; for each other side lapsum's time over its time, and its ns a score."""
    others, varying = others_of(measured), varying_of(measured)

    def row(m: Measured) -> list[str]:
        def ns(seconds: float) -> str:
            return round_to(seconds * 1e9 / m.case.shape.total, 3)

        case = [m.case.operation, str(m.case.shape), *(getattr(m.case, name) for name in varying)]
        return [*case, *_of_lapsum(m, ns), *(_against(m, name, lambda times: ns(times.median)) for name in others)]

    is_on_card = choice.device != "cpu"
    note = (
        "ns a score of rankings that differ in length; even is lapsum on as many scores in rankings of their mean "
        f"length; {_conditions(choice, measured, is_on_card)}; {_medians(runs)}.{ON_CARD if is_on_card else ''}"
    )
    numbers = ["lapsum ns", "min–max", "M scores/s", "GB/s", "peak MB", *(_heading(name, "ns") for name in others)]
    columns, rows = ["operation", "shape", *varying, *numbers], list(map(row, measured))
    title = f"Rankings of uneven length{', on the card' if is_on_card else ''}"
    return Table(choice.name_of("uneven"), title, note, columns, rows, 2 + len(varying))


def calls_table(measured: list[Measured], choice: Choice, runs: int) -> Table:
    """A row for each call or process; for each other side lapsum's time over its time, and that."""
    others = others_of(measured)
    rows = [
        [str(m.case), duration(m.lapsum.median), duration(*m.lapsum.extremes), _megabytes(m.lapsum.memory)]
        + [_against(m, name, lambda times: duration(times.median)) for name in others]
        for m in measured
    ]
    note = (
        f"What a call, and the start of a process, costs; float32, normal scores, k {choice.k}; {_medians(runs)}, in "
        f"this process each of them the least of all calls in {LEAST:g} s. FILE is a small Parquet of {SAMPLE} scores, "
        "and imports a process that imports NumPy, Numba and PyArrow. A first run, with no kernel compiled, is one run."
    )
    columns = ["call", "lapsum", "min–max", "peak MB", *(f"× {label(name)}" for name in others)]
    return Table(choice.name_of("calls"), "Calls and starts", note, columns, rows, 1)


def growth_table(measured: list[Measured], choice: Choice, runs: int) -> Table:
    """A row for each length of a ranking; for each operation the time of a score in ns."""
    series = growth_series(measured)
    lengths = list(dict.fromkeys(m.case.length for m in measured))
    rows = [[f"{n}", *(f"{round_to(points[n], 3)}" for points in series.values())] for n in lengths]
    total = measured[0].case.shape.total
    is_on_card = choice.device != "cpu"
    note = (
        f"ns a score, for rankings of n scores, {total} scores at a time; "
        f"{_conditions(choice, measured, is_on_card)}; {_medians(runs)}. What is O(n) is level."
    )
    if is_on_card:
        note += ON_CARD
    title = f"Growth with the length of a ranking{', on the card' if is_on_card else ''}"
    return Table(choice.name_of("growth"), title, note, ["n", *series], rows, 0)


def growth_series(measured: list[Measured]) -> dict[str, dict[int, float]]:
    """Length -> ns a score, for each operation, with what else tells it from another."""
    series: dict[str, dict[int, float]] = {}
    for m in measured:
        series.setdefault(name_of(m, measured, m.case.operation), {})[m.case.length] = (
            m.lapsum.median * 1e9 / m.case.shape.total
        )
    return series


def files_table(measured: list[MeasuredFile], choice: Choice, runs: int) -> Table:
    """A row for each file and operation; for each peer lapsum's time over its time, that in s, and its memory."""
    others = others_of(measured)
    rows = [
        [m.case.file, str(m.case.shape), m.case.operation, *_of_lapsum(m, _seconds)]
        + [_against(m, name, _seconds_and_megabytes) for name in others]
        for m in measured
    ]
    columns = ["file", "rankings", "operation", "lapsum s", "min–max", "M scores/s", "GB/s", "peak MB"]
    columns += [_heading(name, "s, MB") for name in others]
    moved = [label(name) for name in dict.fromkeys(name for m in measured for name in m.reordered)]
    note = (
        f"Whole processes, from file to file: inputs are in the cache, outputs are on the disk when the clock stops; "
        f"{_conditions(choice, measured)}; {_medians(runs)}."
    )
    if choice.device != "cpu":
        note += f" lapsum has --device {choice.device}, and cpu is lapsum without it."
    if moved:
        note += f" Rows do not keep their order: {', '.join(moved)}."
    return Table(choice.name_of("files"), "From file to file", note, columns, rows, 3)


TABLES: dict[str, Callable[[list, Choice, int], Table]] = {
    "shapes": shapes_table,
    "uneven": uneven_table,
    "growth": growth_table,
    "calls": calls_table,
    "files": files_table,
}


def others_of(measured: Sequence[Measured]) -> list[str]:
    """The sides beside lapsum, of all cases."""
    return [name for name in dict.fromkeys(name for m in measured for name in m.sides) if name != "lapsum"]


def varying_of(measured: Sequence[Measured]) -> list[str]:
    """What tells one case from another, besides its operation and its shape."""
    return [name for name in ("dtype", "scores", "method") if len({getattr(m.case, name) for m in measured}) > 1]


def name_of(m: Measured, measured: list[Measured], *words: str) -> str:
    """Words about a case, and what tells it from the others."""
    return " ".join([*words, *(getattr(m.case, name) for name in varying_of(measured))])


def _conditions(choice: Choice, measured: Sequence[Measured], is_on_card: bool = False) -> str:
    """What holds for every row."""
    dtypes, scores, threads = ({getattr(m.case, name) for m in measured} for name in ("dtype", "scores", "threads"))
    same = [*(dtypes if len(dtypes) == 1 else ()), *(f"{kind} scores" for kind in scores if len(scores) == 1)]
    [n] = threads
    used = "threads as each likes" if n is None else f"threads used: {n}"
    if (methods := {m.case.method for m in measured}) != {"lapsum"}:
        same += [f"method {name}" for name in methods if len(methods) == 1]
    options = [f"alpha {choice.alpha:g}", f"k {choice.k}"]
    return ", ".join([*same, *options, "on the card"] if is_on_card else [*same, *options, used])


def _medians(runs: int) -> str:
    return "one run" if runs == 1 else f"medians of {runs} runs"


def _heading(name: str, unit: str) -> str:
    return f"× {label(name)}" if name in COPIES else f"× {label(name)} ({unit})"


def _of_lapsum(m: Measured, time: Callable[[float], str]) -> list[str]:
    """The cells about lapsum itself, whose seconds time() puts into words."""
    seconds, memory = m.lapsum, m.lapsum.memory
    return [
        time(seconds.median),
        "–".join(map(time, seconds.extremes)),
        round_to(m.case.shape.total / seconds.median / 1e6, 2),
        round_to(m.moved / seconds.median / 1e9, 2),
        _megabytes(memory),
    ]


def _megabytes(memory: int | None) -> str:
    return "" if memory is None else round_to(memory / 1e6, 3)


def _against(m: Measured, name: str, describe: Callable[[Times], str]) -> str:
    """lapsum's time over that of another side, which is described."""
    if name not in m.sides:
        return ""
    times = ratio(m.ratios()[name])
    return times if name in COPIES else f"{times} ({describe(m.sides[name])})"


def _ms(seconds: float) -> str:
    return round_to(seconds * 1e3, 3)


def duration(*durations: float) -> str:
    """One, or from and to, in the unit that suits the first."""
    unit, factor = next((unit, factor) for unit, factor in UNITS if durations[0] * factor < 1000 or factor == 1)
    return f"{'–'.join(round_to(seconds * factor, 3) for seconds in durations)} {unit}"


def _seconds_and_megabytes(times: Times) -> str:
    memory = "" if times.memory is None else f", {times.memory / 1e6:.0f}"
    return f"{_seconds(times.median)}{memory}"


def _seconds(seconds: float) -> str:
    return round_to(seconds, 3)
