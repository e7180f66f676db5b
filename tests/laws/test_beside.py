"""What a result does not depend on: padding, the rankings beside it, its place among them, and threads; nor does a call
change what it is given. Sentences as in test_laws.py.
"""

import numpy as np
import pytest
from catalogue import every, has, is_of_a_moment, one_of_a_kind, upstream_like
from drawn import dtypes, grids, long_batch, shares, softness, wild
from entry import agree
from hypothesis import given, settings
from hypothesis import strategies as st

import lapsum_cli
from lapsum_cli import soft_rank, soft_topk

TWO_SIDED = pytest.mark.parametrize("descending", [True, False])


@TWO_SIDED
@every(one_of_a_kind)
@given(
    grids,
    dtypes,
    st.one_of(softness, st.just("0.3std")),
    st.sampled_from(["30%", "0", "100%", None]),
    st.lists(st.integers(0, 60), min_size=1, max_size=30),
)
def test_a_result_does_not_depend_on_its_padding(entry, descending, ranking, dtype, alpha, share, places):
    """Scores of -inf, anywhere: a membership of 0, the last ranks and positions, no part in a loss, gradient 0."""
    (x, target), n, more = ranking, len(ranking[0]), len(places)
    x, at = x.astype(dtype), np.minimum(places, n)
    v = 1.7 if entry.per == "ranking" else upstream_like(entry, np.cos(np.arange(n, dtype=dtype)))
    wide, targets = np.insert(x, at, -np.inf), np.insert(target, at, 9.0)
    upstream = np.insert(v, at if entry.per == "score" else n + 0 * at, 1e30) if np.ndim(v) == 1 else v
    if entry.per == "pair":
        upstream = np.insert(np.insert(v, at, 1e30, axis=0), n + 0 * at, 1e30, axis=1)
    is_padding = np.isneginf(wide)
    given = {"alpha": alpha, "k": share or 0.3 * n, "descending": descending}
    want, got = entry(x, target, **given), entry(wide, targets, **given)
    if entry.per == "score":
        assert set(got[is_padding]) == {{"rank": n + 0.5 * (more + 1), "log topk": -np.inf}.get(entry.name, 0)}
        got = got[~is_padding]
    elif entry.per == "position":
        assert set(got[n:]) == {-np.inf}
        got = got[:n]
    elif entry.per == "pair":
        assert not got[is_padding, :n].any()
        assert not got[~is_padding, n:].any()
        np.testing.assert_allclose(got[is_padding, n:], 1 / more, rtol=1e-6)
        got = got[~is_padding, :n]
    agree(entry, got, want, dtype)
    if entry.differentiable:
        want, got = entry.vjp(x, target, v, **given), entry.vjp(wide, targets, upstream, **given)
        scale = 1e-5 if dtype == np.float32 else 1e-11
        assert not got.scores[is_padding].any()
        size = np.abs(want.scores).max() + np.abs(v).sum() * (1 + 1 / (0.3 if isinstance(alpha, str) else alpha))
        np.testing.assert_allclose(got.scores[~is_padding], want.scores, rtol=scale, atol=scale * size)
        for a, b in zip(got[1:], want[1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=100 * scale, atol=scale * size * (1 + np.ptp(x) * size))


@TWO_SIDED
def test_a_share_is_of_the_scores_that_are_no_padding(descending):
    x = np.array([[3, 1, 2, 0], [5, 4, -np.inf, -np.inf]])
    assert soft_topk(x, "50%", alpha=0.1, largest=descending).sum(axis=1).tolist() == pytest.approx([2, 1])


def test_infinity_wins_where_the_largest_are_first_and_is_padding_where_they_are_last():
    x = np.array([1, np.inf, 2, -np.inf])
    assert soft_rank(x, alpha=1e-6).tolist() == [3, 1, 2, 4]
    assert soft_rank(x, alpha=1e-6, descending=False).tolist() == [1, 3.5, 2, 3.5]
    assert soft_topk(x, "50%", alpha=1e-6).tolist() == pytest.approx([0, 1, 0.5, 0])
    assert soft_topk(x, "50%", alpha=1e-6, largest=False).tolist() == pytest.approx([1, 0, 0, 0])
    assert lapsum_cli.soft_sort(x, alpha=1e-6).tolist() == pytest.approx([np.inf, 2, 1, -np.inf])
    assert lapsum_cli.soft_sort(x, alpha=1e-6, descending=False).tolist() == pytest.approx([1, 2, np.inf, -np.inf])


@every(lambda entry: one_of_a_kind(entry) and entry.per == "position")
def test_what_is_upstream_of_an_infinite_place_moves_nothing(entry):
    x, v = np.array([0.5, -1.0, 2.0, 0.25]), np.array([1.0, -2.0, 0.5, 3.0])
    wide, pull = np.insert(x, [1, 3], [np.inf, -np.inf]), np.concatenate([[1e30], v, [1e30]])
    got, want = entry.vjp(wide, None, pull, alpha=0.5).scores, entry.vjp(x, None, v, alpha=0.5).scores
    np.testing.assert_allclose(np.delete(got, [1, 4]), want, rtol=1e-12, atol=1e-12)
    assert not got[[1, 4]].any()


@every(has("alone"))
@given(st.lists(wild, min_size=1, max_size=8), dtypes, st.integers(1, 3))
def test_a_ranking_does_not_see_its_neighbours_nor_the_threads(entry, rows, dtype, threads):
    scores, targets = [row.astype(dtype) for row, _ in rows], [target for _, target in rows]
    together = entry(scores, targets, threads=threads)
    alone = [entry(*row) for row in zip(scores, targets, strict=True)]
    assert len(together) == len(alone)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)


@every(
    lambda entry: has("alone")(entry) and one_of_a_kind(entry),
    neural_ndcg_loss="it takes a hundred times as long: the law above looks at its neighbours",
)
@settings(max_examples=max(6, settings().max_examples // 4))
@given(st.integers(0, 2**32), st.integers(1, 40), dtypes, st.floats(1e-2, 10), shares)
def test_results_do_not_depend_on_the_place_in_the_batch_to_the_bit(entry, seed, n, dtype, alpha, share):
    """Of 153 rankings at once and of 1 to 17, which fill SIMD lanes or are left over: all alike, or of like length."""
    n = min(n, 12) if not entry.is_linear else n
    rng, one, given = np.random.default_rng(seed), entry.per == "ranking", {"alpha": alpha, "k": max(1e-3, share * n)}
    rows, targets, upstream = (
        [made(n + r % 2 * (r // 100)).astype(dtype) for r in range(153)]
        for made in (rng.standard_normal, lambda size: rng.integers(0, 5, size), rng.standard_normal)
    )

    def of(rows, targets, upstream):
        """Bytes of what is computed of each ranking."""
        found = [entry(rows, targets, **given)]
        if entry.differentiable:
            of_each = [upstream_like(entry, v) for v in upstream]
            found += entry.vjp(rows, targets, np.full(len(rows), 1.7) if one else of_each, **given)
        return [tuple(np.asarray(part[r]).tobytes() for part in found) for r in range(len(rows))]

    together = of(rows, targets, upstream)
    for count in range(1, 18):
        first = count * (count - 1) // 2
        part = slice(first, first + count)
        assert of(rows[part], targets[part], upstream[part]) == together[part]
        assert set(of([rows[0]] * count, [targets[0]] * count, [upstream[0]] * count)) == {together[0]}


# What a call leaves alone.


@every()
@given(wild, dtypes)
def test_inputs_are_never_modified(entry, ranking, dtype):
    x, target = ranking[0].astype(dtype), ranking[1]
    upstream = np.abs(x[::-1])
    given = {"x": x, "target": target, "upstream": upstream, "alpha": np.array(0.7), "k": np.array(0.4 * len(x))}
    before = {name: values.copy() for name, values in given.items()}
    options = {"alpha": given["alpha"][None], **({"k": given["k"][None]} if entry.k else {})}
    entry(x[None], target[None], **options)
    if entry.differentiable:
        of_all = upstream_like(entry, upstream)[None]
        entry.vjp(x[None], target[None], np.ones(1) if entry.per == "ranking" else of_all, **options)
    for name, values in given.items():
        assert np.array_equal(values, before[name]), name


@every(
    lambda entry: has("alone")(entry) and is_of_a_moment(entry),
    neural_ndcg_loss="it takes a hundred times as long: the neighbours above have one thread and more",
)
def test_a_long_batch_is_the_same_on_one_thread_and_two(entry):
    x, target, _ = long_batch(1000, 3000 if entry.is_linear else 100)
    one, two = (entry(x, target, threads=threads) for threads in (1, 2))
    for a, b in ((one, two),) if entry.per == "ranking" else ((one.values, two.values),):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one[123], entry(x[123], target[123]))
