"""A method, a loss or an engine is its file and its line: nothing else knows them by name (tests/toys).

So is a format (test_new_format.py), and a peer of the benchmark (test_bench_peers.py).
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from catalogue import entries
from commands import refusal
from toys import LINES, NAME, engine

import lapsum_cli
from lapsum_cli import DeviceError, OptionError, run_file
from lapsum_cli.core import reference
from lapsum_cli.operations.method import Method
from lapsum_cli.study.bench.cases import Choice
from lapsum_cli.study.bench.check import WrongResult, check_output

TESTS = Path(__file__).parents[1]
X, TARGET = np.array([[3.0, 1, 2, 2, 5], [0, 0, 1, 4, 2]]), np.array([[1.0, 2, 3, 4, 0], [0, 1, 0, 2, 3]])


@pytest.fixture
def toys(monkeypatch):
    for table, line in LINES:
        monkeypatch.setitem(table, NAME, line)


@pytest.fixture
def folder(tmp_path):
    """Scores and a target as files."""
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "target.npy", TARGET)
    return tmp_path


def command(module, *arguments, cwd=None):
    """A process of Python's in which the toys are found, where `module` enters them."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    program = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(program, env=environment, cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL, timeout=300)


def done(*arguments, cwd=None):
    """What the command with the toys prints, and says."""
    run = command("toys", *arguments, cwd=cwd)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout.decode(), run.stderr.decode()


def hard(k):
    return np.array([reference.hard_topk(x, k) for x in X])


# A method.


def test_a_method_computes_arrays(toys):
    assert np.array_equal(lapsum_cli.soft_topk(X, 2.5, method=NAME), hard(2.5))
    with np.errstate(divide="ignore"):
        assert np.array_equal(lapsum_cli.log_soft_topk(X, 2, method=NAME), np.log(hard(2)))
    v = np.arange(10.0).reshape(2, 5)
    found = lapsum_cli.soft_topk_vjp(X, [2, 2.5], v, method=NAME)
    assert np.array_equal(found.k, [2.5, 7])  # of the tie at 2, and of the third best
    assert not found.scores.any()
    assert not found.alpha.any()


def test_a_method_computes_tensors_and_their_gradients(toys):
    torch = pytest.importorskip("torch")
    from lapsum_cli.torch import soft_topk

    x, k = torch.tensor(X, requires_grad=True), torch.tensor([2.0, 2.5], requires_grad=True)
    result = soft_topk(x, k, method=NAME)
    assert np.array_equal(result.detach()[0], hard(2)[0])
    (result * torch.arange(10.0).reshape(2, 5)).sum().backward()
    assert k.grad.tolist() == [2.5, 7]
    assert not x.grad.any()


def test_a_method_computes_files_and_is_in_their_record(toys, tmp_path):
    np.save(tmp_path / "x.npy", X)
    done("topk", "x.npy", "-k", "2", "--method", NAME, "-o", "out.npy", "-q", cwd=tmp_path)
    assert np.array_equal(np.load(tmp_path / "out.npy"), hard(2))
    run_file("topk", tmp_path / "x.npy", tmp_path / "out.parquet", k=2, method=NAME)
    import pyarrow.parquet as pq

    assert b'"method": "toy"' in pq.read_metadata(tmp_path / "out.parquet").metadata[b"lapsum"]


def test_a_method_is_refused_where_it_has_no_part(toys, tmp_path):
    with pytest.raises(OptionError, match=r"no method 'toy' for rank; known are lapsum, .*hard, isotonic$"):
        lapsum_cli.soft_rank(X, method=NAME)
    with pytest.raises(OptionError, match=r"no method 'joy' for topk; known are lapsum, .*toy$"):
        lapsum_cli.soft_topk(X, 2, method="joy")
    np.save(tmp_path / "x.npy", X)
    refused = command("toys", "sort", "x.npy", "--method", NAME, cwd=tmp_path)
    assert refused.returncode == 2
    assert "no method 'toy' for sort; known are lapsum" in refusal(refused.stderr)


@pytest.mark.simulated
def test_a_method_is_refused_on_a_device_that_it_does_not_know(toys):
    with pytest.raises(DeviceError, match="method toy computes topk on cpu, not on cuda"):
        lapsum_cli.soft_topk(X, 2, method=NAME, device="cuda")


@pytest.mark.slow
def test_what_a_method_promises_selects_its_laws(toys):
    assert [str(entry) for entry in entries() if entry.options.get("method") == NAME] == ["topk by toy"]
    plug_in = ["-p", "toys.entered", "-p", "no:cacheprovider", "-n", "0"]
    some = "results_sum or small_alpha or no_worse or see_a_shift or large_alpha or those_of_the_definition"
    run = command("pytest", *plug_in, TESTS / "laws", "-k", f"{NAME} and ({some})", "-rp", cwd=TESTS.parent)
    assert run.returncode == 0, run.stdout.decode()
    held = {line.split("::")[1].split("[")[0] for line in run.stdout.decode().splitlines() if "PASSED" in line}
    assert {"test_results_sum_to_what_is_known_before", "test_a_small_alpha_gives_the_hard_result"} <= held
    assert {"test_larger_scores_get_no_worse_results", "test_gradients_do_not_see_a_shift"} <= held
    assert not {"test_a_large_alpha_makes_all_scores_alike", "test_results_are_those_of_the_definition"} & held


@pytest.mark.slow
def test_a_method_is_timed(tmp_path):
    printed, _ = done("bench", "--method", NAME, "--shape", "3x20", "--runs", "1", "--peers", "numpy")
    *_, table = printed.rstrip("\n").split("\n\n")
    assert [row.split("|")[1].strip() for row in table.splitlines()[2:]] == ["topk", "topk-gradient", "log-topk"]
    assert "method toy" in printed
    both, _ = done("bench", "topk", "--method", "lapsum,toy", "--shape", "3x20", "--runs", "1", "--peers", "numpy")
    assert [row.split("|")[3].strip() for row in both.rstrip("\n").splitlines()[-2:]] == ["lapsum", "toy"]
    refused = command("toys", "bench", "rank", "--method", NAME)
    assert refused.returncode == 2
    assert "no method 'toy' for rank; known are lapsum" in refusal(refused.stderr)
    refused = command("toys", "bench", "topk", "--method", NAME, "--files")
    assert refused.returncode == 2
    assert "--files times the method lapsum, not toy" in refusal(refused.stderr)


@pytest.mark.parametrize(
    ("promises", "change", "words"),
    [
        (("sums_to_k",), lambda p: p + 0.01, "sum of ranking 0"),
        (("keeps_order",), lambda p: 1 - p, "is better than the one before it"),
        ((), lambda p: np.where(p > 0, p, np.nan), "gives no number"),
        ((), lambda p: p[:, 1:], "gives no number"),
    ],
)
def test_what_a_method_promises_is_looked_at_before_it_is_timed(toys, monkeypatch, promises, change, words):
    from toys import method

    [case] = Choice(["topk"], ["3x20"], ["float64"], ["normal"], 0.3, "5", None, methods=[NAME]).shape_cases()
    inputs = case.inputs()
    outputs = case.outputs(*inputs)
    check_output(case, inputs, outputs)
    monkeypatch.setattr(method, "METHOD", Method(method.METHOD.ways, promises=promises))
    with pytest.raises(WrongResult, match=words):
        check_output(case, inputs, [change(outputs[0])])
    monkeypatch.setattr(method, "METHOD", Method(method.METHOD.ways))
    if promises:  # and nothing else is
        check_output(case, inputs, [change(outputs[0])])


# A loss.


def squares(alpha):
    steps = [reference.rank(x, alpha) - reference.hard_rank(target) for x, target in zip(X, TARGET, strict=True)]
    return np.mean(np.square(steps), axis=1)


def test_a_loss_is_a_function_of_arrays_with_gradients(toys):
    assert lapsum_cli.toy_loss(X, TARGET, alpha=0.5) == pytest.approx(squares(0.5).mean())
    assert lapsum_cli.toy_loss(X, TARGET, alpha=0.5, reduction="none") == pytest.approx(squares(0.5))
    step, found = 1e-6, lapsum_cli.toy_loss_vjp(X, TARGET, alpha=0.5, reduction="sum")
    moved = X.copy()
    moved[1, 2] += step
    change = (lapsum_cli.toy_loss(moved, TARGET, alpha=0.5) - lapsum_cli.toy_loss(X, TARGET, alpha=0.5)) * 2 / step
    assert found.scores[1, 2] == pytest.approx(change, rel=1e-4)
    assert lapsum_cli.toy_loss.__doc__ == "the mean square of how far soft ranks are from those of the target"
    with pytest.raises(AttributeError, match="no attribute 'joy_loss'"):
        _ = lapsum_cli.joy_loss


def test_a_loss_is_a_function_of_tensors(toys):
    torch = pytest.importorskip("torch")
    import lapsum_cli.torch

    x = torch.tensor(X, requires_grad=True)
    loss = lapsum_cli.torch.toy_loss(x, torch.tensor(TARGET), alpha=0.5)
    assert loss.item() == pytest.approx(squares(0.5).mean())
    loss.backward()
    np.testing.assert_allclose(x.grad, lapsum_cli.toy_loss_vjp(X, TARGET, alpha=0.5).scores, rtol=1e-12)


def test_a_loss_is_one_of_the_command(folder):
    printed, _ = done("loss", NAME, "x.npy", "--target", "target.npy", "--alpha", "0.5", "--to", "csv", cwd=folder)
    assert [float(row.split(",")[-1]) for row in printed.splitlines()[1:]] == pytest.approx(squares(0.5))
    listed, _ = done("loss", "--list")
    assert f"{NAME:<14}  the mean square of how far" in listed
    helped, _ = done("loss", "--help")
    assert "toy; or a metric" in " ".join(helped.replace("│", " ").split())
    refused = command("toys", "loss", NAME, "x.npy", "--target", "target.npy", "-k", "2", cwd=folder)
    assert refused.returncode == 2
    assert "loss toy takes no k" in refusal(refused.stderr)


# An engine.


def test_an_engine_runs_the_shards(toys, folder, capsys, monkeypatch):
    run_file("rank", folder / "x.npy", folder / "out.npy", alpha=0.5, engine=NAME)
    assert "toy engine: 1 shard" in capsys.readouterr().err
    assert np.array_equal(np.load(folder / "out.npy"), lapsum_cli.soft_rank(X, alpha=0.5))
    ran = []
    assert engine.run(lambda shard: (ran.append(shard), shard)[1], [1, 2], 1) == [1, 2] == ran[::-1]


def test_an_engine_is_one_of_the_command(folder):
    _, said = done("rank", "x.npy", "-o", "out.npy", "--engine", NAME, cwd=folder)
    assert "toy engine: 1 shard" in said
    helped, _ = done("rank", "--help")
    assert "threads|processes|ray|toy" in helped
    refused = command("toys", "rank", "x.npy", "--engine", "joy", cwd=folder)
    assert refused.returncode == 2
    assert "--engine must be threads, processes, ray or toy, got 'joy'" in refusal(refused.stderr)


def test_without_their_lines_there_is_nothing(folder):
    for given in ({"engine": NAME}, {"method": NAME}):
        with pytest.raises(OptionError, match=NAME):
            run_file("topk", folder / "x.npy", folder / "out.npy", k=3, **given)
    with pytest.raises(AttributeError, match="no attribute 'toy_loss'"):
        _ = lapsum_cli.toy_loss
