"""Losses of cascades: two scores of every item, against their definitions, their authors' numbers, and in files."""

import json
from pathlib import Path

import loss_definitions as definitions
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal, run

from lapsum_cli import OptionError, run_file
from lapsum_cli.api.losses import loss, loss_vjp

CASES = {
    "cascade-dftopk": {},
    "cascade-lapsum": {},
    "lcron": {},
    "lcron kept": {"kept": (4, 2.5)},
    "arf": {},
    "arf kept": {"kept": (4, 2.5)},
}
RNG = np.random.default_rng(11)


def define(case, x, y, k, alpha, **given):
    return getattr(definitions, case.split()[0].replace("-", "_"))(x, y, k, alpha, **CASES[case], **given)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_by_its_definition_and_by_differences(case, descending):
    """Column sums of LCRON are held constant, as with its authors."""
    name = case.split()[0]
    for n, k, alpha in ((7, 3, 0.5), (9, 2.5, 3.0), (2, 1, 1.0)):
        k = np.ceil(k) if name == "cascade-dftopk" else k
        x, y = RNG.standard_normal((2, n)), RNG.integers(0, 4, n).astype(float)
        y[:2] = 0, 1
        given = {"k": k, "alpha": alpha, "descending": descending, **CASES[case]}
        got = loss(name, tuple(x), y, **given)
        assert got == pytest.approx(define(case, x, y, k, alpha, descending=descending), rel=1e-11)
        got = loss_vjp(name, tuple(x), y, **given)
        held = {"descending": descending}
        if name == "lcron":
            held["columns"] = [definitions.neural_sort(of_stage, alpha, descending).sum(axis=0) for of_stage in x]
        for stage in range(2):
            for i in range(n):
                step = np.zeros((2, n))
                step[stage, i] = 1e-6
                want = (
                    define(case, x + step, y, k, alpha, **held) - define(case, x - step, y, k, alpha, **held)
                ) / 2e-6
                assert got.scores[stage][i] == pytest.approx(want, rel=1e-6, abs=1e-8)
            assert got.alpha[stage] == pytest.approx(-got.scores[stage] @ x[stage] / alpha, rel=1e-9, abs=1e-12)


VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "cascades.json").read_text())["cases"]
NAMES = {  # and what they may differ by, beyond float32: 1e-6 within logarithms, which ours leave out
    "dftopk_joint_loss": ("cascade-dftopk", 0),
    "lapsum_joint_loss": ("cascade-lapsum", 3e-4),
    "lcron_loss": ("lcron", 0),
    "arf_loss": ("arf", 0),
}


@pytest.mark.parametrize("case", [case for case in VECTORS if case["op"] in NAMES])
def test_numbers_of_the_authors(case):
    how, (name, more) = case["params"], NAMES[case["op"]]
    x = tuple(np.array(case["inputs"][f"{stage}_logits"]) for stage in ("prerank", "recall"))
    given = {"k": how.get("gt_num", 3), "alpha": how.get("tau", how.get("alpha"))}
    if name == "arf":
        given["kept"] = tuple(how[stage]["support_m"] for stage in ("prerank", "recall"))
    y, want = case["inputs"]["relevance"], case["outputs"]["total_loss"]
    assert loss(name, x, y, **given) == pytest.approx(want, rel=1e-6, abs=more)
    got = loss_vjp(name, x, y, **given).scores
    for of_stage, stage in zip(got, ("prerank", "recall"), strict=True):
        np.testing.assert_allclose(of_stage, case["grads"][f"{stage}_logits"], rtol=0, atol=5e-8 + more)


INF = float("inf")
PRE = [[0.3, 2.0, -1.0, 0.5, 0.1], [1.0, 2.0, 3.0], [5.0], [-INF, 1.0, 0.2, 4.0], [2.0, 2.0, 2.0]]
RET = [[0.1, -2.0, 1.0, 0.6, 0.2], [3.0, 2.0, 3.0], [5.0], [7.0, 1.0, -INF, 4.0], [0.0, 1.0, 2.0]]
TARGETS = [[1.0, 3.0, 0.0, 0.0, 2.0], [2.0, 2.0, 2.0], [4.0], [9.0, 0.0, 3.0, 1.0], [0.0, 1.0, 2.0]]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("name", ["cascade-dftopk", "cascade-lapsum", "lcron", "arf"])
def test_what_is_masked_in_one_stage_takes_part_in_none(name, descending):
    given = {"k": 1, "alpha": 0.5, "descending": descending}
    found = loss(name, (PRE, RET), TARGETS, reduction="none", **given)
    assert np.isnan(found).tolist() == [False, True, True, False, False]
    alone = tuple([row[1], row[3]] for row in (PRE[3], RET[3]))
    assert found[3] == loss(name, alone, [0.0, 1.0], **given)
    got = loss_vjp(name, (PRE, RET), TARGETS, np.ones(5), reduction="none", **given).scores
    for of_stage, own in zip(got, loss_vjp(name, alone, [0.0, 1.0], **given).scores, strict=True):
        assert of_stage[3].tolist() == [0.0, own[0], 0.0, own[1]]
        assert not of_stage[1].any()


def test_each_stage_has_its_own_unit():
    x, y = np.array(PRE[0]), TARGETS[0]
    want = loss("lcron", (x, 2 - x), y, k=2, alpha="0.5std")
    assert loss("lcron", (x, 2 - 1024 * x), y, k=2, alpha="0.5std") == pytest.approx(want, rel=1e-9)


def table(path):
    flat = {
        name: [value for row in rows for value in row] for name, rows in (("pre", PRE), ("ret", RET), ("y", TARGETS))
    }
    qid = [f"q{r}" for r, row in enumerate(PRE) for _ in row]
    pq.write_table(pa.table({"qid": qid} | flat), path)
    return path


@pytest.mark.parametrize("lists", [False, True])
def test_two_columns_of_a_file_have_a_gradient_each(tmp_path, lists):
    source = table(tmp_path / "in.parquet")
    if lists:
        source = pa.table({"pre": PRE, "ret": RET, "y": TARGETS})
    given = {"loss": "arf", "k": 2, "alpha": 0.5, "kept": "2,1", "stages": "pre,ret", "target": "y", "sink": "arrow"}
    own = {"k": 2, "alpha": 0.5, "kept": (2, 1), "reduction": "none"}
    found = run_file("loss", source, **given)
    want = loss("arf", (PRE, RET), TARGETS, **own)
    np.testing.assert_array_equal(found["loss"].to_numpy(zero_copy_only=False), want)
    found = run_file("loss", source, gradient=True, grad_alpha=True, **given)
    want = loss_vjp("arf", (PRE, RET), TARGETS, np.ones(5), **own)
    for stage, scores, alpha in zip(("pre", "ret"), want.scores, want.alpha, strict=True):
        flat = [value for row in found[f"grad_{stage}"].to_pylist() for value in (row if lists else [row])]
        assert flat == np.concatenate(scores).tolist()
        each = alpha if lists else np.repeat(alpha, [len(row) for row in PRE])
        np.testing.assert_array_equal(found[f"grad_alpha_{stage}"].to_numpy(), each)


REFUSED = {
    "lcron in.parquet --target y --k 3": "loss lcron takes 2 columns of scores, as --stages first,second, got 1",
    "lcron in.parquet --target y --k 3 --stages pre": "takes 2 columns of scores",
    "lcron in.parquet --target y --k 3 --stages pre,ret,y": "as --stages first,second, got 3",
    "lcron in.parquet --target y --k 3 --stages pre,pre": '--stages has "pre" twice',
    "lcron in.parquet --target y --k 3 --stages pre,rte": 'no column "rte"; is "ret" meant?',
    "lcron in.parquet --target y --k 3 --stages pre,ret --score pre": "do not go with --score or --columns",
    "lcron in.parquet --target y --stages pre,ret": "loss lcron needs one of --k",
    "lcron in.parquet --target y --k 3 --stages pre,ret --kept 5": "--kept must be a number for each stage",
    "lcron pre.npy --target y.npy --k 3 --stages pre.npy,ret.npy": "--stages are columns of a table, and an array has",
    "ndcg in.parquet --target y --stages pre,ret": "loss ndcg takes one score, got 2",
    "arf,ndcg in.parquet --target y --k 3 --stages pre,ret": "loss ndcg takes one score, got 2",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_stages_that_are_none_are_refused(tmp_path, typed):
    table(tmp_path / "in.parquet")
    for name in ("pre", "ret", "y"):
        np.save(tmp_path / f"{name}.npy", np.arange(15.0).reshape(3, 5))
    done = run("loss", *typed.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert REFUSED[typed] in refusal(done.stderr)


def test_a_cascade_takes_two_scores_from_python():
    for x in (PRE, np.zeros((2, 5)), (PRE, RET, RET)):
        with pytest.raises(OptionError, match="loss lcron takes 2 columns of scores"):
            loss("lcron", x, TARGETS, k=1)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["cascade-dftopk", "lcron"])
def test_tensors_of_two_stages_are_as_arrays(name, reduction):
    torch = pytest.importorskip("torch")
    from lapsum_cli.torch import loss as of_tensors

    x, y = RNG.standard_normal((2, 4, 9)), RNG.integers(0, 4, (4, 9)).astype(float)
    y[1] = 1  # which has no loss
    upstream = np.arange(1.0, 5) if reduction == "none" else 2.0
    stages = [torch.tensor(of_stage, requires_grad=True) for of_stage in x]
    alpha = torch.full((4,), 0.7, dtype=torch.float64, requires_grad=True)
    got = of_tensors(name, stages, torch.tensor(y), k=3, alpha=alpha, reduction=reduction)
    given = {"k": 3, "alpha": 0.7, "reduction": reduction}
    np.testing.assert_allclose(got.detach(), loss(name, tuple(x), y, **given), rtol=1e-14)
    (got * torch.tensor(upstream)).nansum().backward()
    want = loss_vjp(name, tuple(x), y, upstream, **given)
    for of_stage, scores in zip(stages, want.scores, strict=True):
        np.testing.assert_allclose(of_stage.grad, scores, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(alpha.grad, sum(want.alpha), rtol=1e-12, atol=1e-15)
