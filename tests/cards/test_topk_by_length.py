"""A soft top-k on a card by the length of its rankings: those that a thread has alone, and the borders of classes."""

import numpy as np
import pytest
from cardcases import agree, both, rankings_of, rows_of, upstream_of
from onecard import IS_SIMULATED

from lapsum_cli import TopK
from lapsum_cli.core.quantities import K
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.kernels.scalars.cut import LOGARITHM, MEMBERSHIP

pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

UNEVEN = (0, 1, 2, 31, 32, 33, 8, 9, 4, 5, 0, 3, 16, 17)  # of the classes as they are on a card
BORDERS = (128, 64, 129, 65)
KINDS = [
    ("float32", True, "ties"),
    ("float64", False, "normal"),
    ("float64", True, "infinite"),
    ("float32", False, "shifted"),
]


@pytest.fixture
def _classes_of_a_card(monkeypatch):
    """Two rankings a block in the simulator, but as long as on a card."""
    from lapsum_cli.kernels.cuda import tiles

    if IS_SIMULATED:
        monkeypatch.setattr(tiles, "TEAMS", ((16, 1), (32, 4), (130, 2)))


def _batch(lengths, dtype, kind):
    rows = rows_of(dtype, kind, lengths)
    ks = np.array([(0.4 * n, 1.0, n / 2, n - 0.5, 0.0, float(n))[i % 6] for i, n in enumerate(lengths)])
    return rows, np.geomspace(0.02, 3, len(rows)), ks, upstream_of(rows, dtype)


@pytest.mark.usefixtures("_classes_of_a_card")
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
def test_uneven_short_rankings(dtype, descending, kind, log):
    rows, alphas, ks, upstream = _batch(UNEVEN + (BORDERS if kind == "ties" and not log else ()), dtype, kind)
    operation = TopK(
        ks=(K(1.0),), log=log, descending=descending, threshold=True, gradient=True, grad_alpha=True, grad_k=True
    )
    card, cpu = both(operation, rankings_of(rows, alphas, ks, upstream=upstream))
    agree(card, cpu, dtype, 10 if log and dtype == "float32" else 1)


@pytest.mark.usefixtures("_classes_of_a_card")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_ranking_is_the_same_to_the_bit_in_any_batch(dtype):
    rows, alphas, ks, upstream = _batch((5, 33, 2, 31, 70), dtype, "normal")
    operation = TopK(ks=(K(1.0),), gradient=True, grad_alpha=True, grad_k=True)
    offsets = np.concatenate([[0], np.cumsum([len(x) for x in rows])])
    together = both(operation, rankings_of(rows, alphas, ks, upstream=upstream))[0].values
    for r, x in enumerate(rows):
        part = slice(offsets[r], offsets[r + 1])
        alone = both(operation, rankings_of([x], alphas[[r]], ks[[r]], upstream=upstream[part].copy()))[0].values
        for slot, values in alone.items():
            whole = together[slot][part if slot.per == "score" else slice(r, r + 1)]
            np.testing.assert_array_equal(values, whole)


@pytest.mark.usefixtures("_classes_of_a_card")
@pytest.mark.parametrize("log", [False, True])
def test_a_gradient_made_with_the_memberships_is_the_one_made_after_them(log):
    from lapsum_cli.kernels.cuda import adapter, topk

    rows, alphas, ks, upstream = _batch((3, 20, 33, 70, 150), "float64", "normal")
    rankings, slope, found = rankings_of(rows), LOGARITHM if log else MEMBERSHIP, []
    for known in (None, upstream):
        lane = adapter.Lane()
        _, cuts = topk.soft_topk(lane, Rankings(rankings.values, rankings.offsets), ks, alphas, True, log, known)
        scores, *ends = topk.topk_gradient(lane, rankings, upstream, cuts, alphas, True, slope)
        found.append((lane.get(scores), *ends))
    for made_with, made_after in zip(*found, strict=True):
        np.testing.assert_allclose(made_with, made_after, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("log", [False, True])
def test_a_gradient_where_one_score_holds_the_threshold(dtype, log):
    """Of h v - q <h, v> nothing is left there but differences from the upstream gradient of that score."""
    rows = [np.array([0, 10, 40, 70, 100, 130, 160][:n] * (1 + n // 8), dtype) for n in (3, 7, 40, 100)]
    rows = [x + np.arange(len(x), dtype=dtype) * 3 for x in rows]
    upstream = 1 + upstream_of(rows, dtype) / 8
    ks = np.array([0.5 + len(x) // 2 for x in rows])
    operation = TopK(ks=(K(1.0),), log=log, gradient=True)
    card, cpu = both(operation, rankings_of(rows, np.full(len(rows), 0.7), ks, upstream=upstream))
    [got], [expected] = ([x for slot, x in of.values.items() if slot.name.startswith("grad")] for of in (card, cpu))
    least = 10 * np.finfo(dtype).tiny  # a CPU's e^z is 0 where a card's is less than a normal number
    np.testing.assert_allclose(got, expected, rtol=1e-4 if dtype == "float32" else 1e-11, atol=least)
