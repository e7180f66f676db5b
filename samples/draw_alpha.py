"""Draws alpha.svg, a query of search.parquet from hard to soft: `python samples/draw_alpha.py`.

Alpha grows to the right; a document is a line, named where the lines are apart: at the hard end of the ranks, and at
the soft end of the memberships.
"""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lapsum_cli import soft_rank, soft_topk

HERE = Path(__file__).parent
QUERY, K = "q-203", 3
ALPHAS = np.logspace(-2, 0.3, 70)  # in standard deviations of the scores
TICKS = {0.01: "0.01std", 0.1: "0.1std, the default", 1.0: "1std"}
WIDTH, HEIGHT, TOP = 290, 236, 74  # of a panel
LEFT, GAP = 140, 70  # before the first panel, and between the two
APART = 16  # two names
STYLE = """
text { fill: #777d86 } .title { font-size: 17px; font-weight: bold }
.middle { text-anchor: middle } .end { text-anchor: end }
.best { color: #2f81f7 } .rest { color: #8b929b } text.best, text.rest { fill: currentColor }
path { fill: none; stroke: currentColor; stroke-width: 2 }
.frame { stroke: #777d86; stroke-opacity: .35; stroke-width: 1 }
.default { stroke: #777d86; stroke-dasharray: 4 4; stroke-width: 1.5 }
"""  # middle tones, readable on white and on black


def main():
    """Write the drawing."""
    (HERE / "alpha.svg").write_text(drawing(), encoding="utf-8")


def drawing():
    """Soft ranks and memberships of a query's documents against alpha, as SVG."""
    table = pq.read_table(HERE / "search.parquet", columns=["qid", "docid", "score"])
    table = table.filter(pc.equal(table["qid"], QUERY)).sort_by([("score", "descending")])
    scores, documents = table["score"].to_numpy(), table["docid"].to_pylist()
    scored = [f"{d} {s:.2f}".replace("-", "−") for d, s in zip(documents, scores, strict=True)]
    n = len(scores)
    ranks = np.array([soft_rank(scores, alpha=f"{alpha}std") for alpha in ALPHAS]).T
    memberships = np.array([soft_topk(scores, K, alpha=f"{alpha}std") for alpha in ALPHAS]).T
    right = LEFT + WIDTH + GAP
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 380" font-family="sans-serif" font-size="14">',
            f"<style>{STYLE}</style>",
            _text(LEFT, 22, f"The {n} documents of query {QUERY} in samples/search.parquet, and their scores"),
            *_frame(LEFT, "Soft rank", _rank_to_y(n), {rank: str(rank) for rank in range(1, n + 1)}),
            *_lines(LEFT, ranks, _rank_to_y(n)),
            *_beside(LEFT - 30, _rank_to_y(n)(ranks[:, 0]), scored, "end"),
            *_frame(right, f"Membership in the top {K}", _share_to_y, {0: "0", 0.5: "½", 1: "1"}),
            *_lines(right, memberships, _share_to_y),
            *_beside(right + WIDTH + 8, _share_to_y(memberships[:, -1]), documents),
            "</svg>\n",
        ]
    )


def _rank_to_y(n):
    return lambda rank: TOP + (rank - 0.5) / n * HEIGHT


def _share_to_y(share):
    return TOP + (0.95 - 0.9 * share) * HEIGHT


def _x(left, alpha):
    first, last = np.log10(ALPHAS[[0, -1]])
    return left + WIDTH * (np.log10(alpha) - first) / (last - first)


def _frame(left, title, y, ticks):
    """The title, the ticks of both axes, and the default alpha."""
    bottom = TOP + HEIGHT
    lines = [_text(left, TOP - 14, title, "title")]
    for value, name in ticks.items():
        lines.append(f'<path class="frame" d="M{left} {y(value):.1f}h{WIDTH}"/>')
        lines.append(_text(left - 8, y(value) + 5, name, "end"))
    for alpha, name in TICKS.items():
        lines.append(_text(_x(left, alpha), bottom + 20, name, "middle"))
    lines.append(f'<path class="default" d="M{_x(left, 0.1):.1f} {TOP}v{HEIGHT}"/>')
    lines.append(_text(left + WIDTH / 2, bottom + 44, "hard  ←  alpha  →  soft", "middle"))
    return lines


def _lines(left, curves, y):
    """A line for each document, those of the best above the others."""
    drawn = []
    for i in reversed(range(len(curves))):
        points = " ".join(f"{_x(left, a):.1f},{y(value):.1f}" for a, value in zip(ALPHAS, curves[i], strict=True))
        drawn.append(f'<path class="{_kind(i)}" d="M{points}"/>')
    return drawn


def _beside(x, places, names, kind=""):
    """Names at the ends of lines, moved apart, and not away, where lines end close to each other."""
    apart = list(places)
    for i in range(1, len(apart)):
        apart[i] = max(apart[i], apart[i - 1] + APART)
    moved = np.mean(apart) - np.mean(places)
    return [
        _text(x, y - moved + 5, name, f"{kind} {_kind(i)}")
        for i, (y, name) in enumerate(zip(apart, names, strict=True))
    ]


def _kind(i):
    return "best" if i < K else "rest"


def _text(x, y, words, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{words}</text>'


if __name__ == "__main__":
    main()
