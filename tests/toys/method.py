"""A hard top-k, in NumPy: nothing moves with the scores or alpha, and one place more is whoever's is next."""

from itertools import pairwise

import numpy as np

from lapsum_cli.operations.method import Method, Way
from lapsum_cli.operations.slots import Derivatives, Forward


def _members(x, k):
    """Memberships of the k largest of x (n,), whose ties share, and what each gets of one place more: -inf nothing."""
    below, not_above = (np.searchsorted(np.sort(x), x, side) for side in ("left", "right"))
    shares = (k - len(x) + not_above) / (not_above - below)
    is_next = (x > -np.inf) & (shares >= 0) & (shares < 1)
    return (x > -np.inf) * np.clip(shares, 0, 1), is_next / (not_above - below)


def _forward(operation, rankings, on, results, keep):
    signed = rankings.values if operation.descending else -rankings.values
    found = [_members(signed[a:b], k) for (a, b), k in zip(pairwise(rankings.offsets), rankings.each["k"], strict=True)]
    members, steps = np.concatenate([np.empty((2, 0)), *found], axis=1)
    if operation.log:
        with np.errstate(divide="ignore"):
            members, steps = np.log(members), np.divide(steps, members, where=members > 0, out=steps * 0)
    return Forward(members.astype(rankings.dtype), steps)


def _backward(operation, rankings, steps, upstream, on):
    of_k = [upstream[a:b] @ steps[a:b] for a, b in pairwise(rankings.offsets)]
    return Derivatives(np.zeros_like(rankings.values), np.zeros(len(rankings)), np.array(of_k, float))


METHOD = Method(
    {"topk": Way(_forward, _backward, lambda itemsize, gradient: 4 * 8)},
    promises=("sums_to_k", "keeps_order", "exact_zeros", "hard_limit", "shift_invariant"),
)
