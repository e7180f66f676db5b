"""Writes the samples beside this file, the same bytes on every run: `python samples/make_samples.py`.

search.parquet      long: a row is a document of a query, with its label, four features and the score of a model
candidates.parquet  lists: a row is a user, with the ids and the scores of the candidates; some users have none
matrix.npy          a row is a ranking of 50 scores
run.csv             long, text: a retrieval run of 20 topics
wide.parquet        wide: a row is a ranking, a column a candidate
alpha.svg           the effect of alpha, computed with lapsum_cli
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lapsum_cli import soft_rank, soft_topk

HERE = Path(__file__).parent


def main():
    write_parquet("search", search(np.random.default_rng(1)))
    write_parquet("candidates", candidates(np.random.default_rng(2)))
    np.save(HERE / "matrix.npy", np.random.default_rng(3).standard_normal((200, 50), np.float32))
    (HERE / "run.csv").write_text(run(np.random.default_rng(4)))
    write_parquet("wide", wide(np.random.default_rng(5)))
    (HERE / "alpha.svg").write_text(alpha_svg(), encoding="utf-8")


def write_parquet(name, table):
    pq.write_table(table, HERE / f"{name}.parquet", compression="zstd", compression_level=19)


def search(rng):
    """300 queries of 5 to 200 documents. Relevance is hidden: labels, features and scores see it through noise."""
    lengths = np.clip(rng.lognormal(3.2, 0.85, 300), 5, 200).astype(int)
    rows = lengths.sum()
    documents = rng.choice(np.arange(10_000, 100_000), 3_000, replace=False)
    relevance = rng.standard_normal(rows)
    difficulty = np.repeat(rng.normal(0, 0.4, 300), lengths)  # a query with many good documents, or few

    def seen(noise):
        return (relevance + rng.normal(0, noise, rows)) / np.hypot(1, noise)

    label = np.searchsorted([0.9, 1.5, 2.0, 2.5], relevance + difficulty + rng.normal(0, 0.3, rows))
    f_bm25 = np.clip(12 + 4 * seen(1.0) + 3 * difficulty, 0, None)
    f_click = 1 / (1 + np.exp(2.5 - seen(1.2)))
    f_fresh = np.exp(-rng.exponential(1.0, rows) * np.exp(-0.3 * relevance))
    f_length = np.exp(6 + 0.8 * seen(4.0))
    score = 1.2 * seen(0.8) + 0.5 * difficulty
    return pa.table(
        {
            "qid": np.repeat([f"q-{q:03}" for q in range(1, 301)], lengths),
            "docid": [f"d{d}" for n in lengths for d in rng.choice(documents, n, replace=False)],
            "label": label.astype(np.int8),
            "f_bm25": _float32(f_bm25, 1),
            "f_click": _float32(f_click, 3),
            "f_fresh": _float32(f_fresh, 2),
            "f_length": _float32(f_length, -1),
            "score": _float32(score, 2),
        }
    )


def candidates(rng):
    lengths = rng.lognormal(2.0, 0.9, 200).astype(int) * (rng.random(200) > 0.03)
    ends = np.cumsum(lengths)[:-1]
    scores = _float32(1 / (1 + np.exp(2 - rng.standard_normal(lengths.sum()))), 4)
    items = rng.integers(1_000, 100_000, lengths.sum())
    return pa.table(
        {
            "user": [f"u{number}" for number in rng.choice(np.arange(1_000, 10_000), 200, replace=False)],
            "items": pa.array(np.split(items, ends), pa.list_(pa.int64())),
            "scores": pa.array(np.split(scores, ends), pa.list_(pa.float32())),
        }
    )


def run(rng):
    """20 topics in the order of a retrieval system: best first."""
    lengths = rng.integers(15, 40, 20)
    scores = [np.sort(rng.gamma(4.0, 2.5, length))[::-1] for length in lengths]
    documents = rng.choice(np.arange(100, 20_000), lengths.sum(), replace=False)
    rows = zip(np.repeat(np.arange(301, 321), lengths), documents, np.concatenate(scores), strict=True)
    lines = [f"{topic},FT{document // 20 + 1}-{document},{score:.4f}\n" for topic, document, score in rows]
    return "topic,docno,score\n" + "".join(lines)


def wide(rng):
    scores = _float32(rng.standard_normal((100, 10)), 2)
    return pa.table({"id": np.arange(1, 101)} | {f"s_{j}": scores[:, j] for j in range(10)})


def _float32(values, decimals):
    return values.round(decimals).astype(np.float32)


SCORES = np.array([3.0, 2.2, 1.5, 1.3, 0.9, 0.2, -0.3, -1.2])
K = 3
ALPHAS = (0.01, 0.1, 1, 10)  # in standard deviations of the scores
WIDTH, HEIGHT, LEFT, TOP = 330, 230, 70, 96  # of a panel, and where the first begins
STEP = WIDTH + 90  # from one panel to the next
STYLE = """
text { fill: #777d86 } .title { font-size: 17px; font-weight: bold }
.middle { text-anchor: middle } .end { text-anchor: end }
.best { color: #2f81f7 } .rest { color: #8b929b } circle { fill: currentColor }
path { fill: none; stroke: currentColor; stroke-width: 2 }
.frame { stroke: #777d86; stroke-opacity: .4; stroke-width: 1 }
"""  # middle tones, readable on white and on black


def alpha_svg():
    """Soft ranks and memberships against alpha: at the left they are the hard ones, at the right all alike."""
    ranks = [
        lambda alpha: soft_rank(SCORES, alpha=f"{alpha}std"),
        np.arange(1, 9),
        lambda rank: TOP + (rank - 0.5) / 8 * HEIGHT,
        [(rank, str(rank)) for rank in range(1, 9)],
    ]
    memberships = [
        lambda alpha: soft_topk(SCORES, K, alpha=f"{alpha}std"),
        np.arange(8) < K,
        lambda share: TOP + (0.96 - 0.92 * share) * HEIGHT,
        [(0, "0"), (K / 8, "3/8"), (1, "1")],
    ]
    numbers = ", ".join(f"{score:g}" for score in SCORES).replace("-", "−")
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 400" font-family="sans-serif" font-size="14">',
            f"<style>{STYLE}</style>",
            _text(LEFT, 24, f"Eight scores: {numbers}. Alpha in their standard deviations (default 0.1)."),
            *_legend(),
            *_panel(LEFT, "Soft rank", *ranks),
            *_panel(LEFT + STEP, f"Membership in the top {K}", *memberships),
            "</svg>\n",
        ]
    )


def _panel(left, title, soft, hard, y, ticks):
    """One curve for each score, its hard answer at the left edge."""

    def x(alpha):
        return left + WIDTH * (0.26 + 0.215 * (np.log10(alpha) + 2))

    lines = [_text(left, TOP - 14, title, "title")]
    for value, name in ticks:
        lines.append(f'<path class="frame" d="M{left} {y(value):.1f}h{WIDTH}"/>')
        lines.append(_text(left - 10, y(value) + 5, name, "end"))
    for at, name in [(left + WIDTH * 0.06, "hard"), *((x(alpha), f"{alpha:g}std") for alpha in ALPHAS)]:
        lines.append(_text(at, TOP + HEIGHT + 22, name, "middle"))
    lines.append(_text(left + WIDTH / 2, TOP + HEIGHT + 46, "as the hard answer  ←  alpha  →  all alike", "middle"))
    grid = np.logspace(-2, 1, 46)
    curves = np.array([soft(alpha) for alpha in grid])
    for i in reversed(range(len(SCORES))):
        points = " ".join(f"{x(alpha):.1f},{y(value):.1f}" for alpha, value in zip(grid, curves[:, i], strict=True))
        lines.append(f'<g class="{_kind(i)}"><path d="M{points}"/>')
        lines.append(f'<circle cx="{left + WIDTH * 0.06:.1f}" cy="{y(hard[i]):.1f}" r="4.5"/></g>')
    return lines


def _legend(y=50):
    return [
        f'<path class="best" d="M{LEFT} {y - 5}h22"/>' + _text(LEFT + 30, y, "the best three"),
        f'<path class="rest" d="M{LEFT + 150} {y - 5}h22"/>' + _text(LEFT + 180, y, "the others"),
        f'<circle class="rest" cx="{LEFT + 280}" cy="{y - 5}" r="4.5"/>' + _text(LEFT + 292, y, "the hard answer"),
    ]


def _kind(i):
    return "best" if i < K else "rest"


def _text(x, y, words, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{words}</text>'


if __name__ == "__main__":
    main()
