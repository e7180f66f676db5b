"""Rankings for a card, and how what it makes of them is compared with the CPU's."""

import hashlib
import os
from collections import Counter

import numpy as np
from onecard import IS_SIMULATED

from lapsum_cli import TopK, devices
from lapsum_cli.core.quantities import K
from lapsum_cli.core.rankings import Rankings, frozen
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.operations import METHODS as OF_METHODS
from lapsum_cli.operations import method_called, methods_of
from lapsum_cli.operations.slots import GRADIENT, RANKING

# A warp, a few warps, several tiles; more tiles than threads that join them; a top-k by one block, and by many.
LENGTHS = (1, 0, 2, 5, 7, 33, 150) if IS_SIMULATED else (1, 0, 2, 5, 100, 256, 257, 2049, 40_000, 1_000_000)
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
KINDS = [
    ("float32", True, "normal"),
    ("float64", False, "ties"),
    ("float32", False, "infinite"),
    ("float64", True, "shifted"),
]


# Methods other than LapSum's that make a top-k on a card.
METHODS = [name for name in methods_of("topk")[1:] if "cuda" in method_called(name, "topk").ways["topk"].devices]
WITH_K = [name for name in METHODS if OF_METHODS[name].takes_k]
HAVE_THRESHOLDS = ("ot", "dftopk")


def by_method(method, ks=(K(1.0),), **given):
    """A top-k, by a k if the method goes by one."""
    return TopK(method=method, ks=ks if method in WITH_K else (), **given)


def rows_of(dtype, kind, lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.standard_normal(n) for n in lengths]
    if kind == "ties":
        rows = [np.round(2 * x) / 2 for x in rows]
    if kind == "shifted":
        rows = [x + 1000 for x in rows]
    if kind == "infinite":
        for x in rows:
            x[1::5], x[2::7] = -np.inf, np.inf
    return [x.astype(dtype) for x in rows]


def rankings_of(rows, alpha=None, k=None, **beside):
    """Rankings with alpha and k (m,) of each, where they are given, and what goes beside every score (N,)."""
    made, each = Rankings.of(rows), {"alpha": alpha, "k": k}
    return Rankings(made.values, made.offsets, beside, {name: v for name, v in each.items() if v is not None})


def both(operation, rankings):
    """What the card and the CPU make of rankings."""
    cpu = Cpu()
    card = devices.card(cpu).compute(operation, rankings)
    if DIGESTS:
        _keep_digest(card)
    return [card, cpu.compute(operation, rankings)]


DIGESTS = os.environ.get("LAPSUM_DIGESTS")  # where two runs of the tests keep what shows whether they got the same
_kept = Counter()


def _keep_digest(result):
    """A line of the test, the number of the result within it, and a digest of every bit; a file for each process."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" (")[0]
    _kept[test] += 1
    digest = hashlib.sha256()
    for values in result.values.values():
        digest.update(np.ascontiguousarray(values.at.spans if hasattr(values, "at") else values))
    with open(f"{DIGESTS}.digests{os.getpid()}", "a") as file:
        file.write(f"{test} {_kept[test]} {digest.hexdigest()}\n")


def agree(card, cpu, dtype, scale=1.0, of_gradients=1.0):
    """The same slots of the same dtypes, each entry within a tolerance of its own size.

    Or, where terms cancelled and left a rounding behind, of a thousandth of the slot's largest; of a hundredth where it
    is a sum over a ranking, or a float32 gradient, whose own two terms cancel (the CPU's is as far from float64); of a
    tenth where it is a gradient and a sum over a ranking: one of 0 is made of hundreds, which are as large as the
    gradients of the scores.
    """
    assert list(card.values) == list(cpu.values)
    pulls = [np.abs(values).sum(dtype=float) for slot, values in cpu.values.items() if slot.name == "grad"]
    for slot, expected in cpu.values.items():
        got = card.values[slot]
        assert got.dtype == expected.dtype
        is_finite = np.isfinite(expected)
        np.testing.assert_array_equal(got[~is_finite], expected[~is_finite])
        got, expected = got[is_finite], expected[is_finite]
        is_gradient, is_sum = slot.name.startswith(GRADIENT), slot.per == RANKING
        floor = 1e-3 * 10 ** (is_sum + (is_gradient and (is_sum or dtype == "float32")))
        size = np.maximum(np.abs(expected), floor * np.abs(expected).max(initial=1.0))
        if is_gradient and is_sum and pulls:
            size = np.maximum(size, floor * pulls[0] / len(got))
        worst = (np.abs(got - expected) / size).max(initial=0)
        assert worst <= TOLERANCE[dtype] * (max(scale, of_gradients) if is_gradient else scale), (slot, worst)


def upstream_of(rows, dtype):
    return frozen(np.random.default_rng(1).standard_normal(sum(map(len, rows))).astype(dtype))
