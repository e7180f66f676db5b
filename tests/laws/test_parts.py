"""Long rankings are computed in parts, by several threads: no result depends on the threads, and parts change nothing
but the last digits.
"""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli import soft_topk
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.kernels import parts
from lapsum_cli.kernels.cpu import order, parallel, rank, sort, threshold, topk
from lapsum_cli.kernels.scalars import laplace
from lapsum_cli.study.bench.check import soft_count

TOLERANCE = {np.float32: 3e-7, np.float64: 1e-12}
dtypes = st.sampled_from([np.float32, np.float64])
alphas = st.floats(1e-4, 1e3)
# Ties, both infinities and distinct scores; up to three blocks of a sweep.
lengths = st.sampled_from([1, 2, 7, 300, 1025, 3000])


@st.composite
def rankings(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.standard_normal(draw(lengths))
    if draw(st.booleans()):
        x = np.round(4 * x) / 4
    x[rng.random(len(x)) < draw(st.sampled_from([0, 0.1]))] = -np.inf
    x[rng.random(len(x)) < draw(st.sampled_from([0, 0.1]))] = np.inf
    return Rankings(x.astype(draw(dtypes)), np.array([0, len(x)]))


def best_first(x, descending, threads=1, part=1 << 20):
    return order.Order(parallel.Cores(threads, part), x, descending)


def agree(whole, parts, by_threads, dtype):
    """By however many threads the same to the bit; in one part the same but for rounding."""
    for a, b, c in zip(whole, parts, by_threads, strict=True):
        np.testing.assert_array_equal(b, c)
        scale = np.abs(a[np.isfinite(a)]).max(initial=1.0)
        np.testing.assert_allclose(b, a, rtol=0, atol=scale * TOLERANCE[dtype.type])


@given(rankings(), alphas, st.booleans(), st.sampled_from([1, 3, 100, 1024]))
def test_ranks_and_their_gradients_in_parts(x, alpha, descending, part):
    if len(x.values) > 40 * part:
        part = len(x.values) // 40 + 1
    upstream = np.random.default_rng(0).standard_normal(len(x.values)).astype(x.values.dtype)
    how = (np.array([alpha]), 1, np.float64, upstream)
    results = [
        rank.soft_rank(best_first(x, descending, threads, size), *how)
        for threads, size in ((1, 1 << 20), (1, part), (3, part))
    ]
    agree(*results, x.values.dtype)


@given(rankings(), alphas, st.booleans(), st.sampled_from([1, 3, 100, 1024]))
def test_sorted_scores_in_parts(x, alpha, descending, part):
    if len(x.values) > 40 * part:
        part = len(x.values) // 40 + 1
    results = [
        sort.soft_sort(best_first(x, descending, threads, size), np.array([alpha]))[:1]
        for threads, size in ((1, 1 << 20), (1, part), (3, part))
    ]
    agree(*results, x.values.dtype)


@given(rankings(), alphas, st.floats(0, 1), st.booleans(), st.booleans(), st.sampled_from([1, 3, 100, 1024]))
def test_memberships_in_parts(x, alpha, share, largest, log, part):
    if len(x.values) > 40 * part:
        part = len(x.values) // 40 + 1
    how = (x, np.array([share * len(x.values)]), np.array([alpha]), largest, log)
    one, several, by_threads = (
        topk.soft_topk(parallel.Cores(threads, size), *how)[0] for threads, size in ((1, 1 << 20), (1, part), (3, part))
    )
    np.testing.assert_array_equal(several, by_threads)
    np.testing.assert_allclose(several, one, rtol=4e-6 if x.values.dtype == np.float32 else 1e-11, atol=4e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("kind", ["distinct", "ties", "constant", "sorted", "infinite"])
def test_a_long_ranking_sorted_by_threads_is_the_stable_argsort(dtype, descending, threads, kind, monkeypatch):
    monkeypatch.setattr(parallel, "PART", 1000)
    rng = np.random.default_rng(1)
    x = rng.standard_normal(5003)
    made = {"ties": np.round(x), "constant": np.ones(5003), "sorted": np.sort(x)}
    x = made.get(kind, x)
    if kind == "infinite":
        x[::7], x[::11] = np.inf, -np.inf
    x = x.astype(dtype)
    best_first = order.Order(parallel.Cores(threads), Rankings(x, np.array([0, len(x)])), descending)
    scores, places = best_first.sorted(0, 1, threads)
    expected = np.argsort(-x if descending else x, kind="stable")
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_array_equal(scores, x[expected])
    np.testing.assert_array_equal(best_first.sorted_scores(0, 1, threads), x[expected])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("kind", ["distinct", "ties", "constant", "close", "infinite"])
def test_rankings_of_all_lengths_in_a_block_are_each_the_stable_argsort(dtype, descending, kind):
    """Counted, packed in rows of one run or more, sorted by bytes; `close` scores differ in bits that packing drops."""
    rng = np.random.default_rng(2)
    bounds = [32, 256, 512, 1024, 2048, 4096]
    around = [n + more for n in bounds for more in (-1, 0, 1)]
    lengths = np.concatenate([rng.integers(0, 40, 100), rng.integers(0, 5000, 40), around, [70_000]])
    offsets = np.concatenate([[0], np.cumsum(rng.permutation(lengths))])
    x = rng.standard_normal(offsets[-1])
    made = {"ties": np.round(x), "constant": np.ones(len(x)), "close": 1 + np.round(x * 1000) * 2.0**-50}
    x = made.get(kind, x)
    if kind == "infinite":
        x[rng.random(len(x)) < 0.3], x[rng.random(len(x)) < 0.3] = np.inf, -np.inf
    x = x.astype(dtype)
    best_first = order.Order(parallel.Cores(), Rankings(x, offsets), descending)
    assert {block[1] - block[0] for block in best_first.blocks} > {1}
    for first, last in best_first.blocks:
        scores, places = (found.copy() for found in best_first.sorted(first, last))
        np.testing.assert_array_equal(best_first.sorted_scores(first, last), scores)
        for r in range(first, last):
            own, at = x[offsets[r] : offsets[r + 1]], offsets[r] - offsets[first]
            expected = np.argsort(-own if descending else own, kind="stable")
            np.testing.assert_array_equal(places[at : at + len(own)] - at, expected)
            np.testing.assert_array_equal(scores[at : at + len(own)], own[expected])


@pytest.mark.parametrize("n", [255, 256, 257, 5000, (1 << 15) + 1, 300_000])
@pytest.mark.parametrize("alpha", [1e-6, 0.1, 30.0])
@pytest.mark.parametrize("k", ["1.5", "10%", "half", "all but one"])
def test_the_soft_count_at_the_threshold_is_k_on_either_side_of_every_bound_of_length(n, alpha, k):
    """Sorted rows, one bracket, a wider sample, several parts: each has its bound in n."""
    k = {"1.5": 1.5, "10%": 0.1 * n, "half": n / 2, "all but one": n - 1.0}[k]
    x = np.random.default_rng(n).standard_normal(n)
    ks, scale, cores = np.array([k]), np.array([alpha]), parallel.Cores()
    p, cuts = topk.soft_topk(cores, Rankings.equal_length(x, 1, n), ks, scale)
    assert p.sum() == pytest.approx(k, rel=1e-12)
    # For k between whole numbers, so that at a tiny alpha too the threshold is at a score and not somewhere in a gap.
    _, cuts = topk.soft_topk(cores, Rankings.equal_length(x, 1, n), ks + 0.25, scale)
    b = topk.thresholds(cores, cuts, scale)[0]
    assert soft_count(x, b, alpha) == pytest.approx(k + 0.25, rel=1e-9, abs=1e-5 if alpha == 1e-6 else 1e-9)


def test_a_sample_that_misleads_costs_a_pass_and_no_digit():
    n, k, alpha = 50_000, 5000.0, 0.1
    x = np.random.default_rng(0).standard_normal(n)
    size = threshold.sample_size(n)
    seen = [i * n // size + (i * 2654435761 >> 8) % (n // size) for i in range(size)]
    x[seen] += 20.0
    low, high = threshold.pivots(x, k, alpha, 1.0, np.empty((3, size)))
    b = np.partition(x, n - int(k))[n - int(k)]
    assert not low < b < high  # the bracket is elsewhere
    p = soft_topk(x, k, alpha=alpha)
    assert p.sum() == pytest.approx(k, rel=1e-12)
    at = np.argsort(np.abs(p - 0.5))[:5]
    expected = [soft_topk_by_count(x, x[i], k, alpha) for i in at]
    np.testing.assert_allclose(p[at], expected, atol=1e-9)


def soft_topk_by_count(x, score, k, alpha):
    """F((score - b) / alpha), b by bisection of the soft count."""
    low, high = x.min() - 1, x.max() + 1
    while high - low > 1e-13 * alpha and low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if soft_count(x, middle, alpha) > k else (low, middle)
    z = (score - low) / alpha
    return 0.5 * np.exp(z) if z < 0 else 1 - 0.5 * np.exp(-z)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_of_an_array(dtype):
    rng = np.random.default_rng(0)
    for n in (1, 2, 15, 16, 17, 1000):
        for x in (rng.standard_normal(n), -rng.random(n) - 1, np.full(n, -np.inf), rng.standard_normal(n) * 1e-40):
            x = x.astype(dtype)
            assert laplace_largest(x) == x.max()


def laplace_largest(x):
    """Through a kernel that uses it: the score just up to inf."""
    buffers = np.empty((2, threshold.BLOCK), x.dtype)
    return threshold._around(x, np.inf, -np.inf, np.inf, buffers)[0]


def test_the_closed_form_where_floats_end():
    """An excess whose square underflows, none at all across a wide gap, and a side without scores."""
    assert laplace.log_nearness(1e-200, 1.0, 1.0, 0.0) == pytest.approx(0.0, abs=1e-12)
    assert laplace.log_nearness(0.0, 2.0, 2.0, 1e4) == -5e3
    assert laplace.log_nearness(0.5, 0.0, 1.0, np.inf) == pytest.approx(0.0, abs=1e-12)  # F = 1/2 at the score itself


@pytest.mark.parametrize("threads", [1, 3])
def test_every_part_is_told_what_the_others_said_in_each_round(threads):
    """Running totals in one round, and shares of the largest of them in a second."""
    numbers = [3, 1, 4, 1, 5]

    def merge(summaries):
        return [sum(summaries[:p]) for p in range(len(summaries))]

    rounds = [
        parts.Round(lambda number, _: number, merge),
        parts.Round(lambda number, before: number + before, lambda totals: [max(totals)] * len(totals)),
    ]
    each = parallel.each(threads)
    assert parts.run(numbers, rounds, lambda number, most: number / most, each) == [n / 14 for n in numbers]
    assert parts.run([], rounds, None, each) == []


def test_the_first_exception_of_a_task_comes_out_and_the_pool_goes_on():
    done = []

    def work(i):
        if i == 3:
            raise KeyError(i)
        done.append(i)

    with pytest.raises(KeyError):
        parallel.for_each(work, [(i,) for i in range(8)], 2)
    before = len(done)
    parallel.for_each(done.append, [(i,) for i in range(5)], 2)
    assert len(done) == before + 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_threads_start_anew_in_a_forked_process():
    x = np.random.default_rng(0).standard_normal((2000, 300))
    expected = soft_topk(x, 3, alpha=0.1, threads=2)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(soft_topk(x, 3, alpha=0.1, threads=2), expected) else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
