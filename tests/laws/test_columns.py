"""Short rankings side by side: as many as there are, of any lengths, each has what it has alone."""

import itertools

import numpy as np
import pytest

from lapsum_cli import Rankings
from lapsum_cli.core import reference
from lapsum_cli.kernels.cpu import columns, topk
from lapsum_cli.kernels.cpu.parallel import Cores

TOLERANCES = {np.float32: 2e-6, np.float64: 2e-13}


@pytest.fixture(scope="module", params=[np.float32, np.float64], ids=["float32", "float64"])
def many(request):
    """More rankings than are put in the order of their lengths at once, some empty, some too long for a column."""
    rng = np.random.default_rng(7)
    lengths = rng.integers(0, columns.LONGEST + 40, 3 * columns.AT_ONCE)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    scores = np.round(rng.standard_normal(offsets[-1]), 2).astype(request.param)  # with ties
    ks, alphas = rng.uniform(0, 1.1, len(lengths)) * lengths, 10.0 ** rng.uniform(-3, 3, len(lengths))
    return scores, offsets, ks, alphas


def alone(scores, offsets, ks, alphas, r):
    here = slice(offsets[r], offsets[r + 1])
    found = topk.soft_topk(Cores(), Rankings(scores[here], offsets[r : r + 2] - offsets[r]), ks[[r]], alphas[[r]])
    return here, found


def test_each_ranking_has_what_it_has_alone_to_the_bit(many):
    scores, offsets, ks, alphas = many
    members, cuts = topk.soft_topk(Cores(), Rankings(scores, offsets), ks, alphas)
    for r in range(0, len(ks), 7):
        here, (mine, cut) = alone(*many, r)
        assert mine.tobytes() == members[here].tobytes()
        assert cut.tobytes() == cuts[r].tobytes()


def test_each_ranking_has_the_memberships_of_the_definition(many):
    scores, offsets, ks, alphas = many
    members, _ = topk.soft_topk(Cores(), Rankings(scores, offsets), ks, alphas)
    for r in np.flatnonzero(np.diff(offsets))[::31]:
        here = slice(offsets[r], offsets[r + 1])
        exact = reference.topk(scores[here].astype(np.float64), ks[r], alphas[r])
        np.testing.assert_allclose(members[here], exact, atol=TOLERANCES[scores.dtype.type], rtol=0)


def test_the_order_of_its_scores_changes_no_bit(many):
    """Every column is sorted: what is summed has one order."""
    scores, offsets, ks, alphas = many
    rng = np.random.default_rng(8)
    places = np.concatenate([start + rng.permutation(stop - start) for start, stop in itertools.pairwise(offsets)])
    short = np.repeat(np.diff(offsets) <= columns.LONGEST, np.diff(offsets))
    members, _ = topk.soft_topk(Cores(), Rankings(scores, offsets), ks, alphas)
    moved, _ = topk.soft_topk(Cores(), Rankings(scores[places], offsets), ks, alphas)
    assert moved[short].tobytes() == members[places][short].tobytes()
