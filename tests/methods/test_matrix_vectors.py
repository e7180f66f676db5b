"""Soft permutation matrices against the numbers of their authors' implementations, forward and back."""

import json
from pathlib import Path

import numpy as np
import pytest

import lapsum_cli as lapsum
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.kernels.cpu.finite import Finite
from lapsum_cli.kernels.cpu.parallel import Cores
from lapsum_cli.kernels.methods import ot_sorted, transported

FOLDER = Path(__file__).parents[1] / "vectors"


def vectors(name, *ops):
    cases = json.loads((FOLDER / f"{name}.json").read_text())["cases"]
    return [pytest.param(case, id=f"{case['op']}-{i}") for i, case in enumerate(cases) if case["op"].startswith(ops)]


def assert_equal(got, want, relative=1e-12):
    want = np.asarray(want, float)
    assert np.abs(got - want).max() <= relative * np.abs(want).max()


@pytest.mark.parametrize("case", vectors("permutation_matrices", "neuralsort", "softsort"))
def test_softmaxes_are_those_of_the_authors(case):
    """Their rows are positions. What of theirs is near 0 has lost digits to terms of the size of n scores over tau."""
    method, tau = case["op"].removesuffix("_p2"), case["params"]["tau"]
    given = {"alpha": tau, "method": method, **({"power": 2.0} if method == "softsort" else {})}
    x = np.array(case["inputs"]["s"])
    assert_equal(lapsum.soft_permutation(x, **given).swapaxes(-1, -2), case["outputs"]["P"])
    if case["grads"]:
        v = np.array(case["inputs"]["cotangent"]).swapaxes(-1, -2)
        got = lapsum.soft_permutation_vjp(x, v, **given).scores
        lost = 1e-15 * np.abs(v).max() * np.abs(x).max() / tau**2  # of gradients that are 1e-6 of that
        assert np.abs(got - case["grads"]["s"]).max() <= 1e-11 * np.abs(case["grads"]["s"]).max() + lost


@pytest.mark.parametrize("case", vectors("permutation_matrices", "diffsort"))
def test_sorting_networks_are_those_of_the_authors(case):
    """Theirs ascend. Their optimal step has a small number added to what it divides by."""
    options = case["params"]
    given = {"alpha": 1 / options["steepness"], "method": "sortnet", "step": options["distribution"]}
    given["network"] = case["op"].removeprefix("diffsort_")
    near = 1e-10 if options["distribution"] == "optimal" else 1e-12
    x, of_sorted, of_matrix = (np.array(case["inputs"][name]) for name in ("x", "cot_sorted", "cot_P"))
    assert_equal(lapsum.soft_permutation(x, **given)[..., ::-1], case["outputs"]["P"], near)
    assert_equal(lapsum.soft_sort(x, **given)[..., ::-1], case["outputs"]["sorted"], near)
    got = lapsum.soft_permutation_vjp(x, of_matrix[..., ::-1], **given).scores
    got = got + lapsum.soft_sort_vjp(x, of_sorted[..., ::-1], **given).scores
    assert_equal(got, case["grads"]["x"], near)


@pytest.mark.parametrize("case", vectors("permutation_matrices", "difftopk"))
def test_columns_of_a_network_are_those_of_its_authors(case):
    """In float32; theirs are the last k of an ascending order."""
    options, x = case["params"], np.array(case["inputs"]["x"])
    given = {"alpha": 1 / options["steepness"], "method": "sortnet", "step": options["distribution"]}
    k, n = options["k"], x.shape[-1]
    assert_equal(lapsum.soft_permutation(x, **given)[..., ::-1][..., n - k :], case["outputs"]["P_topk"], 1e-6)
    v = np.zeros((*x.shape, n))
    v[..., :k] = np.array(case["inputs"]["cotangent"])[..., ::-1]
    assert_equal(lapsum.soft_permutation_vjp(x, v, **given).scores, case["grads"]["x"], 1e-5)


def cross_entropy(scores, label, options):
    """difftopk's loss of a ranking, and its gradient: -log of how likely the label is in the top k, k drawn by p_k. The
    label goes first, then the m - 1 best others.
    """
    others = np.delete(np.arange(len(scores)), label)
    chosen = np.append(label, others[np.argsort(-scores[others], kind="stable")][: options["m"] - 1])
    x, first = scores[chosen], np.eye(options["m"])[0]
    method = options["method"].split("__")[0]
    given = {"alpha": 1 / options["inverse_temperature"], "method": method}
    if method in ("odd_even", "bitonic"):
        given |= {"method": "sortnet", "network": method, "step": options["distribution"]}
    likely, to_x = 0.0, np.zeros(len(x))
    for k, weight in enumerate(options["p_k"], 1):
        if k == 1 and options["top1_mode"] == "sm":
            p = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
            likely, to_x = likely + weight * p[0], to_x + weight * p[0] * (first - p)
        elif weight:
            likely += weight * lapsum.soft_topk(x, k, **given)[0]
            to_x += weight * lapsum.soft_topk_vjp(x, k, first, **given).scores
    inside, gradient = likely * (1 - 2e-7) + 1e-7, np.zeros(len(scores))
    gradient[chosen] = -(1 - 2e-7) / inside * to_x
    return -np.log(inside), gradient


@pytest.mark.parametrize("case", vectors("permutation_matrices", "topk_cross_entropy"))
def test_memberships_make_the_loss_of_difftopk(case):
    x, labels = np.array(case["inputs"]["scores"]), case["inputs"]["labels"]
    found = [cross_entropy(scores, label, case["params"]) for scores, label in zip(x, labels, strict=True)]
    assert np.mean([loss for loss, _ in found]) == pytest.approx(case["outputs"]["loss"], abs=case["tol"])
    np.testing.assert_allclose([g / len(x) for _, g in found], case["grads"]["scores"], rtol=0, atol=case["tol"])


@pytest.mark.parametrize("case", vectors("transport", "ott_sort", "ott_topk_mask"))
def test_squashed_transport_is_that_of_ott(case):
    """Theirs ascends. A mask whose implicit solution failed is that of iterations that had not converged."""
    options, (x, v) = case["params"], (np.array(case["inputs"][name]) for name in ("x", "cotangent"))
    given, is_sort = {"alpha": options["epsilon"], "method": "sinkhorn"}, case["op"] == "ott_sort"
    failed = "failed" in options["gradient_mode"]
    if is_sort:
        got, found = lapsum.soft_sort(x, **given)[::-1], lapsum.soft_sort_vjp(x, v[::-1], **given)
    else:
        got, found = lapsum.soft_topk(x, options["k"], **given), lapsum.soft_topk_vjp(x, options["k"], v, **given)
    np.testing.assert_allclose(got, case["outputs"]["y"], rtol=0, atol=3e-5 if failed else 1e-9)
    if not failed:
        np.testing.assert_allclose(found.scores, case["grads"]["x"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.scores, case["fd_grad_x"], rtol=0, atol=10 * case["fd_max_abs_err"])


def test_a_mask_is_exact_where_the_iterations_of_ott_were_not():
    """Its sum is k, which theirs misses; and its gradient is that of differences of it."""
    [case] = [
        c.values[0] for c in vectors("transport", "ott_topk_mask") if "failed" in c.values[0]["params"]["gradient_mode"]
    ]
    x, v, k = np.array(case["inputs"]["x"]), np.array(case["inputs"]["cotangent"]), case["params"]["k"]
    given = {"alpha": case["params"]["epsilon"], "method": "sinkhorn"}
    assert lapsum.soft_topk(x, k, **given).sum() == pytest.approx(k, rel=1e-14)
    h = 1e-6
    moved = [lapsum.soft_topk(x + e, k, **given) - lapsum.soft_topk(x - e, k, **given) for e in h * np.eye(len(x))]
    got = lapsum.soft_topk_vjp(x, k, v, **given).scores
    np.testing.assert_allclose(got, np.array(moved) @ v / (2 * h), rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", vectors("transport", "ott_defaults"))
def test_defaults_of_ott_are_near_what_they_tend_to(case):
    """They stop at 1e-3."""
    x, want, given = np.array(case["inputs"]["x"]), case["outputs"], {"alpha": 0.01, "method": "sinkhorn"}
    near = {"rtol": 0, "atol": 5e-3}
    np.testing.assert_allclose(lapsum.soft_sort(x, **given)[::-1], want["sort"], **near)
    np.testing.assert_allclose(len(x) - lapsum.soft_rank(x, **given), want["ranks"], **near)
    np.testing.assert_allclose(lapsum.soft_topk(x, 3, **given), want["topk3"], **near)


def solved(x, k, alpha, iterations=2000):
    """The state of a sorted top-k of one ranking, and its order."""
    each = {"alpha": np.array([alpha]), "k": np.array([float(k)])}
    rankings = Rankings(x, np.array([0, len(x)]), {}, each)
    given = Finite.of(Cores(), rankings, True, {"iterations": iterations}, False, True).given
    return ot_sorted.topk(Cores(), given)[1]


@pytest.mark.parametrize("case", [c for c in vectors("transport", "soft_ot_sorted_topk") if c.values[0].get("grads")])
def test_sorted_transport_is_that_of_the_authors(case):
    """Of the whole transport; the case of the smallest epsilon had not converged, and is compared as far as it had."""
    [x], [v], [want] = (
        np.array(a) for a in (case["inputs"]["scores"], case["inputs"]["cotangent"], case["outputs"]["A"])
    )
    k, alpha = case["params"]["k"], case["params"]["epsilon"]
    near = 1e-5 if alpha < 0.01 else 1e-12
    order, anchors, rates, e = solved(x, k, alpha)
    rows = np.empty((len(x), k + 1))
    transported.rows(order.y, e, rates[0], order.at, rows)
    np.testing.assert_allclose(rows[:, :k], want, rtol=0, atol=near)
    np.testing.assert_allclose(lapsum.soft_topk(x, k, alpha=alpha, method="ot-sorted"), want.sum(axis=1), atol=2 * near)
    upstream, out, ones = np.zeros((len(x), len(x))), np.empty(len(x)), np.ones(len(x))
    upstream[:, :k] = v
    origins = np.argsort(order.at)
    ends = np.array([0, len(x)])
    given = (ones, ones, False, np.array([0]), origins, upstream.reshape(-1))
    transported.gradient(0, 1, ends, order.y, anchors, rates, e, *given, out)
    [grads] = np.array(case["grads"]["scores"])
    np.testing.assert_allclose(out[order.at], grads, rtol=0, atol=1e-3 if alpha < 0.01 else 1e-11)


@pytest.mark.parametrize("case", vectors("transport", "soft_ot_sorted_topk_batch_coupling"))
def test_a_ranking_is_normalised_by_itself_where_theirs_goes_by_the_batch(case):
    """Their first row changes with the second; alone, or with smaller scores, it is ours."""
    given = {"alpha": case["params"]["epsilon"], "method": "ot-sorted"}
    found = [lapsum.soft_topk(np.array(case["inputs"][name]), 2, **given)[0] for name in ("scores_a", "scores_b")]
    assert np.array_equal(*found)
    theirs = [np.sum(case["outputs"][name], axis=1) for name in ("row0_a", "row0_b")]
    np.testing.assert_allclose(found[0], theirs[0], atol=1e-12)
    assert np.abs(theirs[0] - theirs[1]).max() > 0.1


@pytest.mark.parametrize("case", vectors("transport", "soft_ot_sorted_topk_masked"))
def test_a_masked_score_has_no_part_where_theirs_becomes_a_low_score(case):
    [scores] = case["inputs"]["scores"] if isinstance(case["inputs"]["scores"][0], list) else [case["inputs"]["scores"]]
    x = np.array([-np.inf if score is None else score for score in scores])
    given = {"alpha": case["params"]["epsilon"], "method": "ot-sorted"}
    got, inside = lapsum.soft_topk(x, 2, **given), lapsum.soft_topk(x[np.isfinite(x)], 2, **given)
    assert np.array_equal(got[np.isfinite(x)], inside)
    assert not got[~np.isfinite(x)].any()
    theirs = np.sum(case["outputs"]["A"], axis=-1).reshape(-1)
    assert theirs[~np.isfinite(x)].max() > 1e-6
