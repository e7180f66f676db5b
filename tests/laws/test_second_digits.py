"""Second derivatives in forty digits: of the definitions alone, by differences that lose half of these."""

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from lapsum_cli.core.quantities import K, Q
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.operations.along import derivatives
from lapsum_cli.operations.loss import Loss
from lapsum_cli.operations.quantile import Quantile
from lapsum_cli.operations.rank import Rank
from lapsum_cli.operations.slots import RANKING, Derivatives
from lapsum_cli.operations.sort import Sort
from lapsum_cli.operations.topk import TopK

X = [0.31, -1.2, 0.9, 0.42, 2.5]
TARGET = [1.0, 0.0, 3.0, 2.0, 1.0]
ALPHA, K_OF, Q_OF = 0.7, 2.3, 0.3


def cdf(z):
    return mpmath.exp(z) / 2 if z <= 0 else 1 - mpmath.exp(-z) / 2


def ranks(x, alpha):
    return [mpf("0.5") + sum(cdf((y - z) / alpha) for y in x) for z in x]


def point(x, alpha, count):
    """Where the soft count of scores above is this."""

    def excess(t):
        return sum(cdf((y - t) / alpha) for y in x) - count

    return mpmath.findroot(excess, (min(x) - 20 * alpha, max(x) + 20 * alpha), solver="anderson", tol=1e-70)


def members(x, alpha):
    b = point(x, alpha, mpf(K_OF))
    return [cdf((y - b) / alpha) for y in x]


def ndcg_loss(x, alpha):
    gains = [2**g - 1 for g in TARGET]
    ideal = sum(g / mpmath.log(i + 2, 2) for i, g in enumerate(sorted(gains, reverse=True)))
    return [1 - sum(g / mpmath.log(1 + r, 2) for g, r in zip(gains, ranks(x, alpha), strict=True)) / ideal]


DEFINED = {
    "rank": (Rank(), ranks),
    "sort": (Sort(), lambda x, alpha: [point(x, alpha, i + mpf("0.5")) for i in range(len(x))]),
    "topk": (TopK(ks=(K(K_OF),)), members),
    "log topk": (TopK(ks=(K(K_OF),), log=True), lambda x, alpha: [mpmath.log(p) for p in members(x, alpha)]),
    "quantile": (
        Quantile(qs=(Q(Q_OF),)),
        lambda x, alpha: [point(x, alpha, mpf("0.5") + (1 - mpf(Q_OF)) * (len(x) - 1))],
    ),
    "ndcg": (Loss(loss="ndcg"), ndcg_loss),
}


@pytest.mark.parametrize("name", DEFINED)
def test_they_are_those_of_the_definition_in_many_digits(name):
    operation, define = DEFINED[name]
    rng = np.random.default_rng(1)
    towards, of_alpha = rng.normal(size=len(X)), 0.6
    v = rng.normal(size=1 if operation.gives[0].per == RANKING else len(X))
    rankings = Rankings(np.array(X), [0, len(X)])
    rankings = rankings.with_each({"alpha": np.array([ALPHA])}, {"target": np.array(TARGET)})
    found = derivatives(operation, rankings, v, Derivatives(towards, np.array([of_alpha])), Cpu()).gradients
    with mpmath.workdps(80):

        def moved(step, unit, unit_alpha):
            """sum v f so far along the direction, as a function of how far along a unit."""

            def of(more):
                x = [mpf(a) + step * mpf(b) + more * u for a, b, u in zip(X, towards, unit, strict=True)]
                made = define(x, mpf(ALPHA) + step * mpf(of_alpha) + more * unit_alpha)
                return sum(mpf(w) * of_it for w, of_it in zip(v, made, strict=True))

            return of

        h, want = mpf(10) ** -18, []
        for i in range(len(X) + 1):
            unit, unit_alpha = [int(i == j) for j in range(len(X))], int(i == len(X))
            ahead, behind = (moved(step, unit, unit_alpha) for step in (h, -h))
            want.append((ahead(h) - ahead(-h) - behind(h) + behind(-h)) / (4 * h * h))
    got = [*found.scores, *found.alpha]
    np.testing.assert_allclose(got, [float(one) for one in want], rtol=1e-11, atol=1e-13)
    assert np.abs(got).min() > 1e-4
