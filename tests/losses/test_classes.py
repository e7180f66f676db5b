"""Losses of a true item among others, against their definitions and their authors' numbers."""

import json
from pathlib import Path

import loss_definitions as definitions
import numpy as np
import pytest

from lapsum_cli import run_file
from lapsum_cli.api.losses import loss, loss_vjp
from lapsum_cli.kernels.scalars import philox

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "classes.json").read_text())["cases"]
RNG = np.random.default_rng(2)


def noise_of(ranking, n, draws, seed=0):
    return np.array([[philox.normal(seed, ranking, draw, i) for draw in range(draws)] for i in range(n)])


@pytest.mark.parametrize("case", [case for case in VECTORS if case["op"].endswith("noised_topk_loss")])
def test_the_definition_of_the_hinge_gives_the_numbers_of_its_authors(case):
    """In units of epsilon, with the margin of a class as its target, times the scale of the imbalanced loss."""
    how, losses = case["params"], []
    margins = case["outputs"].get("margins", [1.0] * len(case["inputs"]["scores"][0]))
    for x, label, noise in zip(case["inputs"]["scores"], case["inputs"]["labels"], case["inputs"]["Z"], strict=True):
        target = np.zeros(len(x))
        target[label] = margins[label] / how["epsilon"]
        losses.append(definitions.topk_hinge(x, target, how["k"], how["epsilon"], np.array(noise)))
    assert np.mean(losses) * how["epsilon"] * how.get("scale", 1) == pytest.approx(case["outputs"]["loss"], rel=1e-6)


@pytest.mark.parametrize("descending", [True, False])
def test_the_hinge_and_its_gradient(descending):
    n, how = 12, {"alpha": 0.7, "margin": 0.5, "draws": 6, "seed": 3, "reduction": "none", "descending": descending}
    x, y = RNG.standard_normal((8, n)), RNG.integers(0, 3, (8, n)).astype(float)
    for k in (0, 2, 2.5, n - 1, n):
        got, grads = loss("topk-hinge", x, y, k=k, **how), loss_vjp("topk-hinge", x, y, np.ones(8), k=k, **how)
        for r in range(8):
            given = (y[r], k, 0.7, noise_of(r, n, 6, 3), 0.5, descending)
            assert got[r] == pytest.approx(definitions.topk_hinge(x[r], *given), rel=1e-12)
            steps = 1e-6 * np.eye(n)
            either = [[definitions.topk_hinge(x[r] + sign * step, *given) for step in steps] for sign in (1, -1)]
            np.testing.assert_allclose(grads.scores[r], np.subtract(*either) / 2e-6, rtol=1e-6, atol=1e-8)


def of_the_best(x, label, m):
    """Places of the m best that the authors keep, the true one among them."""
    others = np.argsort(-x, kind="stable")
    return np.array([label, *others[others != label][: m - 1]])


@pytest.mark.parametrize("case", [case for case in VECTORS if case["params"].get("method") == "neuralsort"])
def test_the_cross_entropy_of_several_k_is_that_of_its_authors(case):
    """Theirs is of a sum over k, made here of p for each k; where k is 1 it may be that of a softmax."""
    how, alpha, losses = case["params"], 1 / case["params"]["inverse_temperature"], []
    x, labels = np.array(case["inputs"]["scores"]), case["inputs"]["labels"]
    for r in range(len(x)):
        at, true = of_the_best(x[r], labels[r], how["m"]), np.eye(how["m"])[0]
        kept, p, slopes = x[r, at], 0.0, np.zeros(len(x[r]))
        for k, weight in enumerate(how["p_k"], 1):
            if k == 1 and how["top1_mode"] == "sm":
                softmax = np.exp(kept) / np.exp(kept).sum()
                p_of_k, of_it = softmax[0], softmax[0] * (true - softmax)
            else:
                held = np.exp(-loss("topk-cross-entropy", kept, true, k=k, alpha=alpha))
                p_of_k = (held - 1e-7) / (1 - 2e-7)
                got = loss_vjp("topk-cross-entropy", kept, true, 1.0, k=k, alpha=alpha)
                of_it = -held * got.scores / (1 - 2e-7)
            p += weight * p_of_k
            slopes[at] += weight * of_it
        held = p * (1 - 2e-7) + 1e-7
        losses.append(-np.log(held))
        want = case["grads"]["scores"][r]
        np.testing.assert_allclose(-slopes * (1 - 2e-7) / held / len(x), want, rtol=0, atol=1e-6)
    assert np.mean(losses) == pytest.approx(case["outputs"]["loss"], rel=1e-6)


@pytest.mark.parametrize("descending", [True, False])
def test_the_cross_entropy_and_its_gradient(descending):
    n, alpha = 9, 2.0
    x, y = RNG.standard_normal((4, n)), RNG.integers(0, 3, (4, n)).astype(float)
    for k in (0, 1, 2.5, n, n + 3):
        how = {"k": k, "alpha": alpha, "descending": descending, "reduction": "none"}
        got, grads = loss("topk-cross-entropy", x, y, **how), loss_vjp("topk-cross-entropy", x, y, np.ones(4), **how)
        for r in range(4):
            define = lambda x, y=y[r], k=k: definitions.topk_cross_entropy(x, y, k, alpha, descending)  # noqa: E731
            assert got[r] == pytest.approx(define(x[r]), rel=1e-12, abs=1e-14)
            want = [(define(x[r] + step) - define(x[r] - step)) / 2e-6 for step in 1e-6 * np.eye(n)]
            np.testing.assert_allclose(grads.scores[r], want, rtol=1e-6, atol=1e-8)
            assert grads.alpha[r] == pytest.approx(-grads.scores[r] @ x[r] / alpha, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("case", [case for case in VECTORS if case["op"].endswith("topk_svm")])
def test_the_svm_over_alpha_is_that_of_its_authors(case):
    """In float32 their gradients of large scores cancel where tau is small: one is negative that cannot be."""
    how, x = case["params"], np.array(case["inputs"]["scores"])
    tau, y = how["tau"], np.eye(x.shape[1])[case["inputs"]["labels"]]
    given = {"k": how["k"], "alpha": tau, "margin": how["alpha"] / tau}
    assert tau * loss("topk-svm", x, y, **given) == pytest.approx(case["outputs"]["loss"], rel=1e-6)
    got = tau * loss_vjp("topk-svm", x, y, 1.0, **given).scores
    np.testing.assert_allclose(got, case["grads"]["scores"], rtol=0, atol=2e-6 if tau > 0.1 else 3e-4)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("alpha", [0.01, 0.3, 5.0])
def test_the_svm_and_its_gradient(alpha, descending):
    for n, k in ((2, 1), (9, 0), (9, 1), (9, 2.5), (9, 7), (9, 9), (150, 5), (150, 70), (150, 130)):
        x, y = RNG.standard_normal((4, n)), RNG.integers(0, 3, (4, n)).astype(float)
        y[:, :2] = 0, 2
        y[:2] = np.eye(n)[:2]
        how = {"k": k, "alpha": alpha, "margin": 0.5, "descending": descending, "reduction": "none"}
        got, grads = loss("topk-svm", x, y, **how), loss_vjp("topk-svm", x, y, np.ones(4), **how)
        for r in range(4):
            define = lambda x, y=y[r], k=k: definitions.topk_svm(x, y, k, alpha, 0.5, descending)  # noqa: E731
            assert got[r] == pytest.approx(define(x[r]), rel=1e-11)
            step, some = 1e-5 * alpha, [0, 1, *range(2, n, 1 + n // 10)]
            want = [(define(x[r] + way) - define(x[r] - way)) / (2 * step) for way in step * np.eye(n)[some]]
            np.testing.assert_allclose(grads.scores[r][some] * alpha, np.multiply(want, alpha), rtol=1e-6, atol=1e-8)
            assert abs(grads.scores[r].sum()) * alpha < 1e-13
            assert grads.alpha[r] == pytest.approx(-grads.scores[r] @ x[r] / alpha, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1e4])
def test_slopes_of_the_svm_are_those_of_polynomials_without_an_item(spread):
    """However the scores are spread: here nothing cancels, as all that is added is positive."""
    for n, k in ((3, 1), (40, 1), (40, 7), (40, 20), (40, 38), (40, 39), (300, 4), (300, 150)):
        x = spread * np.round(RNG.standard_normal(n), 2) * RNG.integers(1, 9, n)
        y = np.eye(n)[0]
        x[0] = np.sort(x[1:])[-k]
        got = loss_vjp("topk-svm", x, y, 1.0, k=k, alpha=1.0, margin=0.0).scores
        z, want = x[1:].astype(np.longdouble) / k, np.zeros(n - 1)
        whole, which = polynomials(z, k), range(0, n - 1, 1 if n < 100 else 37)
        for i in which:
            without = np.append(polynomials(np.delete(z, i), k)[:k], -np.inf)
            drawn = [np.exp(z[i] + without[j - 1] - whole[j]) for j in (k, k - 1)]
            want[i] = drawn[0] - drawn[1]
        cost = x[0] / np.longdouble(k) - whole[k] + whole[k - 1]
        np.testing.assert_allclose(got[1:][which] * k, want[which] / (1 + np.exp(cost)), rtol=1e-6, atol=1e-13)


def polynomials(z, k):
    """The logarithms of the elementary symmetric ones of e^z, up to k."""
    s = np.full(k + 1, -np.inf, np.longdouble)
    s[0] = 0
    for of_one in z:
        s[1:] = np.logaddexp(s[1:], s[:-1] + of_one)
    return s


def test_the_noise_of_a_ranking_is_that_of_its_number_in_a_file(tmp_path):
    x, y = RNG.standard_normal((50_000, 4)), RNG.integers(0, 2, (50_000, 4)).astype(float)
    y[:, 0] = 2  # all have a loss, which an array asks for
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    given = {"loss": "topk-hinge", "k": 1, "alpha": 1.0, "target": tmp_path / "y.npy", "memory": "256MiB"}
    run_file("loss", tmp_path / "x.npy", tmp_path / "out.npy", **given)
    want = loss("topk-hinge", x, y, k=1, alpha=1.0, reduction="none")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), want)
    np.testing.assert_array_equal(loss("topk-hinge", x, y, k=1, alpha=1.0, reduction="none", threads=2), want)
