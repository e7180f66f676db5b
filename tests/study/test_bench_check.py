"""No wrong output gets as far as a time: what the check of the benchmark lets pass, and what it refuses."""

import numpy as np
import pytest
from benchcases import choice, made, side

from lapsum_cli.core import reference
from lapsum_cli.study.bench.cases import Case
from lapsum_cli.study.bench.check import WrongResult, check_output
from lapsum_cli.study.bench.run import Bench
from lapsum_cli.study.bench.scores import SCORES
from lapsum_cli.study.bench.timed import TIMED


@pytest.mark.parametrize("operation", TIMED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "k"), [("6x50", "10%"), ("1x70000", "0.5"), ("3x2", "1.25")])
@pytest.mark.parametrize("alpha", [1e-10, 0.1, 1e4])
def test_right_outputs_pass(operation, dtype, shape, k, alpha):
    check_output(*made(operation, shape, dtype, alpha=alpha, k=k))


@pytest.mark.parametrize("operation", TIMED)
@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_outputs_pass_for_scores_of_every_kind(operation, scores, dtype):
    check_output(*made(operation, "2x5000", dtype, scores, alpha=0.1, k="10%"))


@pytest.mark.parametrize(
    ("operation", "step"),
    [
        ("rank", 1e-3),
        ("rank-gradient", 1e-3),
        ("sort", 1e-2),
        ("topk", 1e-4),
        ("topk-gradient", 1e-4),
        ("log-topk", 1e-2),
    ],
)
def test_one_value_that_is_off_is_refused(operation, step):
    case, inputs, outputs = made(operation)
    outputs[-1][0, -1] += step
    with pytest.raises(WrongResult, match="no time is shown"):
        check_output(case, inputs, outputs)


def test_swapped_ranks_are_refused_although_their_sum_is_right():
    case, inputs, [ranks] = made("rank")
    ranks[0, [0, -1]] = ranks[0, [-1, 0]]
    with pytest.raises(WrongResult, match="ranking 0, score 0 "):
        check_output(case, inputs, [ranks])


GRADIENTS = [operation for operation in TIMED if operation.endswith("-gradient")]


@pytest.mark.parametrize("operation", GRADIENTS)
def test_a_gradient_is_refused_with_a_wrong_result_beside_it(operation):
    case, inputs, [result, gradient] = made(operation)
    with pytest.raises(WrongResult, match="sum of ranking 0"):
        check_output(case, inputs, [result - 1, gradient])


@pytest.mark.parametrize("operation", GRADIENTS)
@pytest.mark.parametrize("factor", [-1.0, 1.001])
def test_a_gradient_of_another_sign_or_size_is_refused_although_its_sum_is_right(operation, factor):
    case, inputs, [result, gradient] = made(operation)
    assert np.abs(gradient).max() > 0.1  # a share of it is far above the tolerance
    with pytest.raises(WrongResult, match="relative error of the gradient of score"):
        check_output(case, inputs, [result, gradient * np.float32(factor)])


def test_memberships_of_a_shifted_threshold_are_refused():
    case, [scores], [memberships] = made("topk", dtype="float64")
    b = reference.threshold(scores[0], case.k.value, case.alpha, origin=0.0)
    np.testing.assert_allclose(reference.laplace_cdf((scores[0] - b) / case.alpha), memberships[0], atol=1e-9)
    memberships[0] = reference.laplace_cdf((scores[0] - b - 1e-4) / case.alpha)
    with pytest.raises(WrongResult, match="sum of ranking 0"):
        check_output(case, [scores], [memberships])


def test_memberships_of_another_alpha_are_refused_although_their_sum_is_right():
    case, inputs, _ = made("topk")
    *_, softer = made("topk", alpha=0.4)
    with pytest.raises(WrongResult, match="ranking 0, score"):
        check_output(case, inputs, softer)


@pytest.mark.parametrize("operation", TIMED)
def test_nan_is_refused(operation):
    case, inputs, outputs = made(operation)
    outputs[-1][3, 7] = np.nan
    with pytest.raises(WrongResult):
        check_output(case, inputs, outputs)


def test_a_wrong_output_is_never_timed(monkeypatch):
    monkeypatch.setattr(Case, "outputs", lambda case, scores: [side("numpy", "rank")(case, scores)])
    with pytest.raises(WrongResult):
        Bench(choice(alpha=1.0), ["shapes"], []).run()


@pytest.mark.parametrize("alpha", [1e-6, 0.3, 1e4])
def test_gradients_of_one_score_at_a_time_are_those_of_the_jacobian(alpha):
    x, v = np.random.default_rng(0).standard_normal((2, 50))
    jacobian, _ = reference.rank_jacobian(x, alpha)
    found = [reference.rank_gradient(x, v, i, alpha) for i in range(50)]
    for (gradient, size), expected in zip(found, jacobian.T @ v, strict=True):
        assert abs(gradient - expected) <= 1e-14 * max(size, 1e-300)


def test_a_long_ranking_has_the_soft_count_and_the_threshold_of_its_parts():
    x = np.random.default_rng(0).standard_normal(2 * reference.BLOCK + 5).astype(np.float32)
    b = reference.threshold(x, 1000.0, 0.1)
    assert reference.soft_count(x, b, 0.1) == pytest.approx(1000, abs=1e-6)
    whole = reference.laplace_cdf((x.astype(np.float64) - 0.3) / 0.1).sum()
    several = reference.soft_count(x, np.array([0.3, b]), 0.1)
    np.testing.assert_allclose(several.astype(float), [whole, 1000.0], rtol=1e-10)
