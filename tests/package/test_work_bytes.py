"""What an operation says that a score costs while it is computed, against what NumPy allocates for it."""

import tracemalloc

import numpy as np
import pytest
from catalogue import entries

import lapsum_cli
from lapsum_cli import K, Q, Rankings

N = 1_000_000
BUFFERS = 5 << 20  # of a thread, whatever the length
MADE = {
    "rank": lapsum_cli.Rank(),
    "sort": lapsum_cli.Sort(),
    "topk": lapsum_cli.TopK(ks=(K(10.0),)),
    "smallest": lapsum_cli.TopK(ks=(K(10.0),), descending=False),
    "log topk": lapsum_cli.TopK(ks=(K(10.0),), log=True),
    **{name: lapsum_cli.Quantile(qs=(Q(0.25),)) for name in ("quantile", "median", "max", "min")},
    "spearman loss": lapsum_cli.Loss(loss="spearman"),
    "topk loss": lapsum_cli.Loss(loss="topk", ks=(K(10.0),)),
    "recall loss": lapsum_cli.Loss(loss="recall", ks=(K(10.0),)),
    "ndcg loss": lapsum_cli.Loss(loss="ndcg"),
    "ndcg loss at k": lapsum_cli.Loss(loss="ndcg", ks=(K(10.0),), gain="linear"),
    "permutation loss": lapsum_cli.Loss(loss="permutation"),
    "graded topk loss": lapsum_cli.Loss(loss="graded-topk"),
    "bce dftopk loss": lapsum_cli.Loss(loss="bce-dftopk", ks=(K(10.0),)),
    "listnet loss": lapsum_cli.Loss(loss="listnet"),
    "listmle loss": lapsum_cli.Loss(loss="listmle"),
    "topk hinge loss": lapsum_cli.Loss(loss="topk-hinge", ks=(K(10.0),)),
    "topk svm loss": lapsum_cli.Loss(loss="topk-svm", ks=(K(10.0),)),
    "cascade dftopk loss": lapsum_cli.Loss(loss="cascade-dftopk", ks=(K(10.0),)),
    "cascade lapsum loss": lapsum_cli.Loss(loss="cascade-lapsum", ks=(K(10.0),)),
}


def test_every_entry_is_measured_but_for_matrices_and_pairs():
    assert set(MADE) == {entry.name for entry in entries() if entry.per != "pair" and entry.is_linear}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MADE)
def test_no_more_is_allocated_than_was_said(name, dtype):
    """Beside the scores, the target and the result. A budget of batches is made of this number."""
    entry = next(entry for entry in entries() if entry.name == name)
    rng = np.random.default_rng(0)
    x, target = (Rankings(v, np.array([0, N])) for v in (rng.standard_normal(N).astype(dtype), rng.random(N)))
    if name == "graded topk loss":
        target = Rankings(np.round(3 * target.values), target.offsets)
    given = {"alpha": 0.1} | ({"k": 10} if entry.k else {})
    entry(x, target, **given)  # compiled, and what is kept between calls is there
    tracemalloc.start()
    try:
        result = entry(x, target, **given)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = 0 if entry.per == "ranking" else result.values.nbytes
    said = MADE[name].work_bytes(np.dtype(dtype).itemsize)
    assert (peak - kept - BUFFERS) / N <= said
