"""`lapsum bench`: its table, what it refuses, and that no wrong output gets as far as a time."""

import subprocess
import sys

import numpy as np
import pytest

from lapsum_cli.bench import check, run_bench
from lapsum_cli.bench.cases import RankCase, make_cases
from lapsum_cli.bench.check import WrongResult, check_output
from lapsum_cli.errors import OptionError


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "lapsum_cli", "bench", *arguments], capture_output=True, text=True, timeout=300
    )


def made(operation, shape="6x50", dtype="float32", alpha=0.3, k="10"):
    """A case, its scores and the product's output for them."""
    [case] = make_cases([operation], [shape], dtype, alpha, k, 1)
    scores = case.scores()
    return case, scores, case.soft(scores)


def test_the_table_names_the_machine_and_has_a_row_for_each_operation_and_shape():
    done = bench("rank", "topk", "--shape", "20x50", "--shape", "1x300", "--runs", "2", "--peers", "numpy")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert "threads used: 1" in lines[0]
    assert "numpy" in lines[0]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[3:]]
    assert [row[:2] for row in rows] == [["rank", "20x50"], ["topk", "20x50"], ["rank", "1x300"], ["topk", "1x300"]]
    assert {len(row) for row in rows} == {8}
    assert done.stderr == ""


def test_every_side_runs_as_often_as_asked():
    [timing] = run_bench(["topk"], ["4x30"], runs=3)
    assert {len(side) for side in (timing.soft, timing.copy, *timing.peers.values())} == {3}
    assert "numpy" in timing.peers


@pytest.mark.parametrize(
    "arguments",
    [
        ("sort-of",),
        ("--shape", "20"),
        ("--shape", "0x5"),
        ("--dtype", "float16"),
        ("--alpha", "-1"),
        ("--k", "ten"),
        ("topk", "--shape", "2x5", "--k", "5"),
        ("--peers", "excel"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(arguments):
    done = bench(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("lapsum: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("operation", ["rank", "sort", "topk", "log-topk"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "k"), [("6x50", "10%"), ("1x70000", "0.5"), ("3x2", "1.25")])
@pytest.mark.parametrize("alpha", [1e-10, 0.1, 1e4])
def test_right_outputs_pass(operation, dtype, shape, k, alpha):
    check_output(*made(operation, shape, dtype, alpha, k))


def test_the_hard_sides_are_what_the_soft_ones_tend_to():
    case, scores, ranks = made("rank", alpha=1e-9)
    np.testing.assert_array_equal(case.numpy(scores), ranks)
    case, scores, memberships = made("topk", alpha=1e-9)
    chosen = np.take_along_axis(memberships, case.numpy(scores)[:, -10:], axis=-1)
    np.testing.assert_array_equal(chosen, 1)


@pytest.mark.parametrize(("operation", "step"), [("rank", 1e-3), ("sort", 1e-2), ("topk", 1e-4), ("log-topk", 1e-2)])
def test_one_value_that_is_off_is_refused(operation, step):
    case, scores, output = made(operation)
    output[0, -1] += step
    with pytest.raises(WrongResult, match="no time is shown"):
        check_output(case, scores, output)


def test_swapped_ranks_are_refused_although_their_sum_is_right():
    case, scores, ranks = made("rank")
    ranks[0, [0, -1]] = ranks[0, [-1, 0]]
    with pytest.raises(WrongResult, match="ranking 0, score 0 "):
        check_output(case, scores, ranks)


def test_memberships_of_a_shifted_threshold_are_refused():
    case, scores, memberships = made("topk", dtype="float64")
    b = check.threshold(scores[0], case.k, case.alpha)
    np.testing.assert_allclose(check.laplace_cdf((scores[0] - b) / case.alpha), memberships[0], atol=1e-9)
    memberships[0] = check.laplace_cdf((scores[0] - b - 1e-4) / case.alpha)
    with pytest.raises(WrongResult, match="sum of ranking 0"):
        check_output(case, scores, memberships)


def test_memberships_of_another_alpha_are_refused_although_their_sum_is_right():
    case, scores, _ = made("topk")
    *_, softer = made("topk", alpha=0.4)
    with pytest.raises(WrongResult, match="ranking 0, score"):
        check_output(case, scores, softer)


def test_nan_is_refused():
    case, scores, ranks = made("rank")
    ranks[3, 7] = np.nan
    with pytest.raises(WrongResult, match="sum of ranking 3 is nan"):
        check_output(case, scores, ranks)


def test_a_wrong_output_is_never_timed(monkeypatch):
    monkeypatch.setattr(RankCase, "soft", RankCase.numpy)
    with pytest.raises(WrongResult):
        run_bench(["rank"], ["5x20"], alpha=1.0)


def test_bad_values_are_option_errors():
    with pytest.raises(OptionError, match="rankings times scores"):
        run_bench(None, ["many"])
