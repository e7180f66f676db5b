"""The methods, beside what the code of their authors gave: results and gradients, to the digits of its dtype.

tests/vectors has the numbers, and where they are from. Where an original is wrong, what is right is asserted here.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import lapsum_cli as lapsum
from lapsum_cli.api.functions import compute
from lapsum_cli.operations.kept import operation_of
from lapsum_cli.operations.topk import TopK

VECTORS = Path(__file__).parents[1] / "vectors"


def cases(name, *ops):
    """The cases of a file, of these operations, with a name each."""
    found = [case for case in json.loads((VECTORS / f"{name}.json").read_text())["cases"] if case["op"] in ops]
    return pytest.mark.parametrize("case", found, ids=lambda case: f"{case['op']} {case['params']}")


def array(values):
    return np.array(values, float)


@cases("dftopk", "dftopk")
def test_dftopk(case):
    x, v, given = case["inputs"]["x"], case["inputs"]["cotangent_on_prob"], case["params"]
    how = {"method": "dftopk", "alpha": given["tau"]}
    np.testing.assert_allclose(lapsum.soft_topk(x, given["k"], **how), case["outputs"]["prob"], rtol=0, atol=1e-15)
    np.testing.assert_allclose(
        lapsum.soft_topk_vjp(x, given["k"], v, **how).scores, case["grads"]["x"], rtol=0, atol=1e-14
    )
    logs = array(case["outputs"]["logits"])
    np.testing.assert_allclose(lapsum.log_soft_topk(x, given["k"], **how), -np.logaddexp(0, -logs), rtol=1e-12)


@cases("soft", "soft_ot_topk")
def test_transport_to_two_anchors(case):
    """Which took 5000 iterations to agree with the closed form; it selects the smallest."""
    x, v, given = array(case["inputs"]["scores"]), array(case["inputs"]["cotangent"]), case["params"]
    how = {"method": "ot", "alpha": given["epsilon"], "largest": False}
    p, gradients = lapsum.soft_topk(x, given["k"], **how), lapsum.soft_topk_vjp(x, given["k"], v, **how)
    np.testing.assert_allclose(p, case["outputs"]["A"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(gradients.scores, case["grads"]["scores"], rtol=0, atol=1e-12)


def test_transport_does_not_couple_rankings():
    """The original divides by the largest cost of its batch, and so a ranking changes with its neighbours."""
    x, other = np.array([-0.1, -0.7, 0.85, 0.54]), np.array([-18.0, -3.6, 3.2, 23.0])
    together = lapsum.soft_topk([x, other], 2, method="ot", alpha=0.1)
    assert np.array_equal(together[0], lapsum.soft_topk(x, 2, method="ot", alpha=0.1))


def sparse_options(case):
    given = case["params"]
    options = {"method": "sparse-magnitude" if "mag" in case["op"] else "sparse", "alpha": given["l"], "p": given["p"]}
    if "dykstra" in case["op"]:
        options |= {"solver": "dykstra", "iterations": given["num_iter"]}
    return given["k"], options


@cases("sparse", "sparse_topk_mask_pav", "sparse_topk_mag_pav", "sparse_topk_mag_dykstra", "sparse_topk_mask_dykstra")
def test_sparse_topk(case):
    """In float32: at p = 4/3 the original loses digits, and its gradient is no number where a result is 0."""
    x, v = array(case["inputs"]["x"]), array(case["inputs"]["cotangent"])
    k, options = sparse_options(case)
    tolerance = 1e-5 if options["p"] == 2 else 1e-4
    np.testing.assert_allclose(lapsum.soft_topk(x, k, **options), case["outputs"]["y"], rtol=0, atol=tolerance)
    got, want = lapsum.soft_topk_vjp(x, k, v, **options).scores, array(case["grads"]["x"])
    assert not np.isnan(got).any()
    known = ~np.isnan(want)
    np.testing.assert_allclose(got[known], want[known], rtol=10 * tolerance, atol=tolerance)


@cases("sparse", "sparse_topk_edge")
def test_sparse_topk_at_its_edges(case):
    x, given = array(case["inputs"]["x"]), case["params"]
    options = {"alpha": given["l"], "p": given["p"]}
    for name, method in (("mask", "sparse"), ("mag", "sparse-magnitude")):
        if name in case["outputs"]:
            got, want = lapsum.soft_topk(x, given["k"], method=method, **options), array(case["outputs"][name])
            if np.abs(x).max() < 100:  # beyond, the cubes of the original have no digits left
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_sparse_topk_of_large_scores():
    """Sums of their powers leave 1.0029 and 997.5 of what is 1 and 1000, at a strength of 0.01."""
    x = np.array([1000.0, 997.0, -998.0, 5.0, 1.0])
    assert lapsum.soft_topk(x, 2, method="sparse", alpha=0.01).tolist() == [1, 1, 0, 0, 0]
    kept = lapsum.soft_topk(x, 2, method="sparse-magnitude", alpha=0.01)
    np.testing.assert_allclose(kept, [1000, 0, -998, 0, 0], rtol=1e-9)


@cases("noised", "noised_topk_value")
def test_the_noised_threshold(case):
    x, noise, given = array(case["inputs"]["x"]), array(case["inputs"]["Z"]), case["params"]
    made = operation_of(
        TopK, given["epsilon"], True, k=given["k"], method="noised", noise=noise, draws=noise.shape[-1], threshold=True
    )
    values = {slot.name: found for slot, found in compute(made, x, given["epsilon"], 1)[1].values.items()}
    np.testing.assert_allclose(values["threshold"], case["outputs"]["value"], rtol=0, atol=1e-6)
    noisy = x[..., None] + given["epsilon"] * noise
    hard = (noisy >= np.sort(noisy, axis=1)[:, -given["k"], None]).mean(axis=2)
    np.testing.assert_allclose(values["soft_topk"].reshape(x.shape), hard, atol=1e-12)


@cases("onesoft", "onesoft_topk_isolated")
def test_onesoft(case):
    x, k, order = array(case["inputs"]["scores"]), case["params"]["K"], case["outputs"]["order"]
    p = lapsum.soft_topk(x, k, method="onesoft", alpha=1.0)
    assert p[order[: k - 1]].tolist() == [1.0] * (k - 1)
    np.testing.assert_allclose(p[order[k - 1 :]], case["outputs"]["weights_last"], rtol=0, atol=1e-15)
    states = array(case["inputs"]["states"])
    last = p[order[k - 1 :]] @ states[order[k - 1 :]]
    np.testing.assert_allclose(last, case["outputs"]["states"][k - 1], rtol=0, atol=1e-14)


@cases("threshold_p", "threshold_p")
def test_threshold_p(case):
    x, values, v = (array(case["inputs"][name]) for name in ("scores", "values", "cotangent"))
    how = {"method": "threshold", "alpha": 1.0, "p": case["params"]["p"], "gate": case["params"]["gate"]}
    passed = lapsum.soft_topk(x, None, **how)
    assert np.array_equal(passed > 0, array(case["outputs"]["mask"]) > 0)
    np.testing.assert_allclose(passed * values, case["outputs"]["y"], rtol=0, atol=1e-15)
    gradients = lapsum.soft_topk_vjp(x, None, v * values, **how)
    np.testing.assert_allclose(gradients.scores, case["grads"]["scores"], rtol=0, atol=1e-15)


@cases("fast_soft_sort", "fss_soft_rank", "fss_soft_sort")
def test_fast_soft_ranks_and_sorts(case):
    """The original's gradient of a sort by entropy is of other shares; there its differences are what is wanted."""
    x, v, given = array(case["inputs"]["x"]), array(case["inputs"]["cotangent"]), case["params"]
    how = {
        "method": "isotonic",
        "alpha": given["regularization_strength"],
        "regularization": given["regularization"],
        "descending": given["direction"] == "DESCENDING",
    }
    name = case["op"].removeprefix("fss_")
    got, gradients = getattr(lapsum, name)(x, **how), getattr(lapsum, f"{name}_vjp")(x, v, **how)
    np.testing.assert_allclose(got, case["outputs"]["y"], rtol=0, atol=1e-12)
    want, tolerance = (case["grads"]["x"], 1e-11) if case["original_grad_valid"] else (case["fd_grad_x"], 1e-7)
    np.testing.assert_allclose(gradients.scores, want, rtol=0, atol=tolerance)
