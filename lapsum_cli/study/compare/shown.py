"""What was compared, as tables and drawings."""

from __future__ import annotations

from collections.abc import Callable

from ..report import charts
from ..report.charts import Bar
from ..report.html import Figure, Section
from ..report.report import Report
from ..report.rounding import round_to
from ..report.tables import Table
from .learn import Learned, Scored
from .look import Compared, Look

LOOKED = [
    "method",
    "alpha",
    "undecided",
    "sum",
    "hard top k %",
    "reached",
    "size",
    "agrees",
    "ns",
    "ns with gradient",
    "bytes",
]
OURS = "lapsum"


def looked(compared: Compared, source: str, target: str | None, is_whole: bool) -> Report:
    """The report of the methods on one source."""
    of = f"{compared.rankings} rankings, {compared.scores} scores" + ("" if is_whole else ", the first ones")
    cases = [look.as_dict() for look in compared.looks]
    conditions = f"{source}: {of}; k = {compared.k:g}"
    return Report(f"Methods compared on {source}", conditions, [_look_section(compared, target)], cases)


def _look_section(compared: Compared, target: str | None) -> Section:
    metric = f"the gains of {target} in the top k" if target else "random weights in the top k, as no target was named"
    note = (
        f"Every method at the alpha, in standard deviations, at which {round_to(compared.wanted, 3)} items of the "
        "median ranking are undecided (the sum of 4p(1-p)). sum: of memberships, of the median ranking; hard top k: "
        "how much of them it holds; reached: items with more than a thousandth of the largest gradient; size: the sum "
        f"of absolute gradients, times the standard deviation, for {metric}; agrees: cosine with the gradient of that "
        f"metric under normal noise as soft, at most {compared.limit:.2f}, as that is an estimate; ns and bytes: a "
        "score, one thread."
    )
    rows = [_look_row(look) for look in compared.looks]
    table = Table("looked", "Methods, as soft as each other", note, LOOKED, rows, 1)
    looks = compared.looks
    figures = [
        _times(looks),
        _bars("Agreement with the gradient of the noisy hard metric", looks, lambda look: max(look.agreement, 0.0), 2),
        _bars("Items that a gradient reaches", looks, lambda look: look.reached, 2),
        _bars("Share of the hard top k, %", looks, lambda look: 100 * look.held, 2),
        *_by_place(looks),
    ]
    return Section(table, figures, "Green is lapsum, or faster than it; orange is slower, and grey all others.")


def _look_row(look: Look) -> list[str]:
    low, high = look.totals
    between = "" if high - low < 0.005 * max(look.total, 1e-9) else f" ({low:.3g}-{high:.3g})"
    alpha = "" if look.choice.alpha is None else f"{look.choice.alpha:.3g}std"
    return [
        look.choice.method,
        alpha,
        f"{look.choice.undecided:.2f}",
        f"{look.total:.3g}{between}",
        f"{100 * look.held:.0f}",
        f"{look.reached:g}",
        f"{look.size:.2f}",
        f"{look.agreement:.2f}",
        round_to(look.forward, 2),
        round_to(look.backward, 2),
        f"{look.memory:.0f}",
    ]


def _bars(title: str, looks: list[Look], value: Callable[[Look], float], digits: int) -> Figure:
    bars = [
        Bar(
            look.choice.method,
            value(look),
            round_to(value(look), digits),
            "ours" if look.choice.method == OURS else "theirs",
        )
        for look in looks
    ]
    return Figure(title, charts.plain_bars(title, bars))


def _times(looks: list[Look]) -> Figure:
    """Beside the first, on a logarithmic scale: one method may take a hundred times as long as another."""
    ratios = [look.backward / looks[0].backward for look in looks]
    bars = [
        Bar(look.choice.method, value, round_to(value, 2), "slow" if value > 1 else "fast")
        for look, value in zip(looks, ratios, strict=True)
    ]
    title = f"Time with the gradient, that of {looks[0].choice.method} being 1"
    return Figure(title, charts.ratio_bars(title, bars, (min(0.5, *ratios), max(2.0, *ratios))))


def _by_place(looks: list[Look]) -> list[Figure]:
    """A step of memberships by place for each method, as bars at a few places."""
    places = len(looks[0].by_place)
    if not places:
        return []
    chosen = sorted({0, places // 6, places // 3 - 1, places // 3, places // 2, places - 1} & set(range(places)))
    figures = []
    for look in looks:
        name = look.choice.method
        bars = [
            Bar(f"place {i + 1}", look.by_place[i], f"{look.by_place[i]:.2f}", "ours" if name == OURS else "theirs")
            for i in chosen
        ]
        title = f"Mean membership by place: {name}"
        figures.append(Figure(title, charts.plain_bars(title, bars, 1.0)))
    return figures


def learned(found: Learned, source: str, is_whole: bool) -> Report:
    """The report of what a linear scorer learns."""
    of = f"{found.rankings} rankings, {found.scores} items, {found.features} features"
    at = f"@{found.k:g}"
    note = (
        f"A linear scorer, trained through each loss on half of the rankings by {found.steps} steps of Adam, the step "
        f"size chosen among {', '.join(f'{rate:g}' for rate in found.rates)} on a fifth of that half; NDCG{at} and "
        f"recall{at} of the other half, mean and standard deviation of {found.splits} splits, the same for all. A "
        "method is trained through 1 - sum of t p / k, of its memberships p and the target's top k t, as soft as the "
        "others on the first scores."
    )
    rows = [
        [name, f"{score.ndcg[0]:.4f}", f"{score.ndcg[1]:.4f}", f"{score.recall[0]:.4f}", f"{score.recall[1]:.4f}",
         round_to(score.milliseconds, 2)] for name, score in found.scored.items()
    ]  # fmt: skip
    columns = ["trained through", f"NDCG{at}", "+-", f"recall{at}", "+-", "ms a step"]
    table = Table("learned", "Which one learns best", note, columns, rows, 1)
    figures = [
        _learned_bars(found, "NDCG", lambda score: score.ndcg),
        _learned_bars(found, "recall", lambda score: score.recall),
    ]
    title = f"What learns from {source}"
    conditions = f"{source}: {of}" + ("" if is_whole else ", the first ones")
    return Report(title, conditions, [Section(table, figures)], [found.as_dict()])


def _learned_bars(found: Learned, name: str, value: Callable[[Scored], tuple[float, float]]) -> Figure:
    bars = []
    for loss, score in found.scored.items():
        mean, deviation = value(score)
        ours = "ours" if loss == OURS or "lapsum" in loss else "theirs"
        bars.append(Bar(loss, mean, f"{mean:.3f}", ours, (max(mean - deviation, 0.0), mean + deviation)))
    title = f"{name}@{found.k:g} of rankings held out"
    return Figure(title, charts.plain_bars(title, bars))
