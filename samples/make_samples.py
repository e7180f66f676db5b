"""Writes the samples beside this file, the same bytes on every run: `python samples/make_samples.py`.

What alpha does to one of them is drawn by draw_alpha.py.

search.parquet      long: a row is a document of a query, with its label, four features and the score of a model
candidates.parquet  lists: a row is a user, with the ids and the scores of the candidates; some users have none
matrix.npy          a row is a ranking of 50 scores
run.csv             long, text: a retrieval run of 20 topics
wide.parquet        wide: a row is a ranking, a column a candidate
sessions.parquet    an export in the order of time: the rows of a session are far apart
"""

from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent


def main():
    write_parquet("search", search(np.random.default_rng(1)))
    write_parquet("candidates", candidates(np.random.default_rng(2)))
    np.save(HERE / "matrix.npy", np.random.default_rng(3).standard_normal((200, 50), np.float32))
    (HERE / "run.csv").write_text(run(np.random.default_rng(4)))
    write_parquet("wide", wide(np.random.default_rng(5)))
    write_parquet("sessions", sessions(np.random.default_rng(6)))


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


def sessions(rng):
    """60 sessions that go on at once; a model's score and a price for every item that was shown."""
    rows = 1500
    ids = np.array([str(UUID(bytes=rng.bytes(16), version=4)) for _ in range(60)])
    shown_at = np.datetime64("2026-03-02T08:00") + np.sort(rng.integers(0, 3600, rows)).astype("timedelta64[s]")
    prices = _float32(np.exp(rng.normal(3, 0.8, rows)), 2)
    return pa.table(
        {
            "session_id": rng.choice(ids, rows),
            "shown_at": shown_at,
            "item": [f"i{number}" for number in rng.integers(1_000, 10_000, rows)],
            "price": prices,
            "score": _float32(rng.normal(0, 1.5, rows) - 0.01 * prices, 3),
        }
    )


def _float32(values, decimals):
    return values.round(decimals).astype(np.float32)


if __name__ == "__main__":
    main()
