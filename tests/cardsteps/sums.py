"""Memberships of long rankings sum to k, wherever the threshold lies and whatever alpha is."""

import sys

import numpy as np
from common import either, lane

from lapsum_cli import TopK
from lapsum_cli.core.quantities import K
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.devices.card import Card


def main():
    card, worst = Card(lane()), 0.0
    block = np.random.default_rng(0).standard_normal(either(10**6, 90), np.float32)
    for n in either((10**6, 10**7, 10**8), (70,)):
        there = card.place.put(np.resize(block, n))
        for alpha in either((1e-6, 0.1, 100.0), (0.1,)):
            for k in either((10.0, 0.1 * n, 0.5 * n), (10.0,)):
                each = {"alpha": np.array([alpha]), "k": np.array([k])}
                result = card.compute(TopK(ks=(K(1.0),)), Rankings(there, np.array([0, n]), {}, each))
                [p] = result.values.values()
                error = abs(card.here_array(p).sum(dtype=np.float64) - k) / k
                worst = max(worst, error)
                print(f"n {n:>9} alpha {alpha:<6g} k {k:>10g}: relative error of the sum {error:.1e}", flush=True)
    return int(not worst < 1e-6)


if __name__ == "__main__":
    sys.exit(main())
