"""Trains a linear scorer on search.parquet with a differentiable top-k loss: `python samples/train.py`.

With `--compile inductor`, or another backend, a step is compiled as one graph. Needs PyTorch. Queries are padded to one
length with -inf, which takes no part. Half of the queries are held out.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from lapsum_cli.torch import ndcg_loss, topk_loss

FEATURES = ("f_bm25", "f_click", "f_fresh", "f_length")
K, ALPHA, STEPS = 5, "0.3std", 60


def main(backend=None):
    features, labels, real = padded(pq.read_table(Path(__file__).parent / "search.parquet"))
    train, held_out = slice(0, None, 2), slice(1, None, 2)
    torch.manual_seed(0)
    scorer = torch.nn.Linear(len(FEATURES), 1)
    optimizer = torch.optim.Adam(scorer.parameters(), lr=0.05)

    def scores(queries):
        return torch.where(real[queries], scorer(features[queries]).squeeze(-1), -torch.inf)

    def report(when):
        with torch.no_grad():
            x, y = scores(held_out), labels[held_out]
            loss, ndcg = topk_loss(x, y, K, alpha=ALPHA), 1 - ndcg_loss(x, y, k=K, alpha="0.001std")
        print(f"{when}: top-{K} loss {loss:.3f}, NDCG@{K} {ndcg:.3f} on held-out queries")

    def loss():
        return topk_loss(scores(train), labels[train], K, alpha=ALPHA)

    if backend is not None:
        loss = torch.compile(loss, backend=backend, fullgraph=True)
    report("before")
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    report("after")


def padded(table):
    """Features (queries, longest, 4), standardised; labels (queries, longest); and which of these are documents."""
    query = np.unique(table["qid"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    place = np.arange(len(query)) - np.searchsorted(query, query)
    columns = np.stack([table[name].to_numpy() for name in FEATURES], axis=1)
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    shape = query.max() + 1, place.max() + 1
    features, labels = torch.zeros(*shape, len(FEATURES)), torch.zeros(shape)
    features[query, place] = torch.from_numpy(columns)
    labels[query, place] = torch.from_numpy(table["label"].to_numpy().astype(np.float32))
    real = torch.zeros(shape, dtype=torch.bool)
    real[query, place] = True
    return features, labels, real


if __name__ == "__main__":
    main(*sys.argv[2:3] if sys.argv[1:2] == ["--compile"] else [])
