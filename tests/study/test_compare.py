"""lapsum compare: methods as soft as each other, what is found of them, and what a linear scorer learns."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal

import lapsum_cli as lapsum
from lapsum_cli import DataError, OptionError
from lapsum_cli.api.sample import sample
from lapsum_cli.core import reference
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.study.compare import learn, look, softness

RNG = np.random.default_rng(4)
RANKINGS = Rankings.of([RNG.standard_normal(n) for n in RNG.integers(5, 60, 60)])
METHODS = ["lapsum", "dftopk", "sparse", "noised", "hard"]


def quiet(line):
    """Nobody is told."""


@pytest.mark.parametrize("method", ["dftopk", "ot", "sparse"])
@pytest.mark.parametrize("wanted", [1.5, 4.0])
def test_a_method_is_found_as_soft_as_is_wanted(method, wanted):
    choice = softness.matched(method, RANKINGS, 5.0, wanted)
    p = lapsum.soft_topk(RANKINGS, 5, method=method, alpha=f"{choice.alpha:.6g}std")
    each = [np.sum(4 * p[r] * (1 - p[r])) for r in range(len(RANKINGS))]
    assert np.median(each) == pytest.approx(wanted, rel=0.01)


@pytest.fixture(scope="module")
def compared():
    return look.compare(RANKINGS, 5.0, METHODS, 0.2, None, quiet)


def test_what_is_found_of_a_method_is_so(compared):
    looks = {found.choice.method: found for found in compared.looks}
    assert list(looks) == METHODS
    assert looks["hard"].held == pytest.approx(1)
    assert looks["hard"].reached == 0
    assert looks["lapsum"].total == pytest.approx(5)
    for name in ("dftopk", "sparse"):
        assert looks[name].choice.undecided == pytest.approx(compared.wanted, rel=0.02)
    p = lapsum.soft_topk(RANKINGS, 5, alpha="0.2std")
    hard = [reference.hard_topk(RANKINGS[r], min(5, len(RANKINGS[r]))) for r in range(len(RANKINGS))]
    both = sum(np.minimum(p[r], hard[r]).sum() for r in range(len(RANKINGS)))
    assert looks["lapsum"].held == pytest.approx(both / p.values.sum(), rel=1e-5)
    assert looks["lapsum"].agreement > 0.9 > looks["hard"].agreement
    assert compared.limit > 0.95
    assert looks["lapsum"].by_place == sorted(looks["lapsum"].by_place, reverse=True)


def learnable(count=80):
    """Rankings whose labels follow two of five features, and noise."""
    rng = np.random.default_rng(7)
    sizes = rng.integers(8, 30, count)
    features = rng.standard_normal((sizes.sum(), 5))
    target = np.clip(np.round(features[:, 0] - 0.7 * features[:, 1] + 0.3 * rng.standard_normal(len(features))), 0, 3)
    return features, target, np.concatenate([[0], np.cumsum(sizes)])


def test_a_linear_scorer_learns_through_what_has_a_gradient():
    features, target, offsets = learnable()
    found = learn.learn(features, target, offsets, 5.0, ["lapsum", "dftopk", "hard"], ["spearman"], quiet)
    assert list(found.scored) == ["by lapsum", "by dftopk", "spearman"]  # and not by what has none
    for scored in found.scored.values():
        assert scored.ndcg[0] > 0.9
        assert scored.recall[0] > 0.8
        assert 0 < scored.ndcg[1] < 0.05


@pytest.fixture
def table(tmp_path):
    features, target, offsets = learnable(30)
    columns = {f"f_{i}": features[:, i] for i in range(5)}
    qid = np.repeat(np.arange(30), np.diff(offsets))
    pq.write_table(pa.table({"qid": qid, "score": features[:, 0], "label": target, **columns}), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def command(*arguments, cwd):
    program = [sys.executable, "-m", "lapsum_cli", "compare", *map(str, arguments)]
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_a_page_and_json_have_what_the_table_has(table):
    run = command(table, "-k", "5", "--methods", "lapsum,sparse,hard", "-o", "page.html", "--json", cwd=table.parent)
    assert run.returncode == 0, run.stderr
    cases = json.loads(run.stdout)["cases"]
    assert [case["method"] for case in cases] == ["lapsum", "sparse", "hard"]
    page = (table.parent / "page.html").read_text()
    assert page.count("<svg") == 4 + 3
    assert all(f'<th scope="row" class="word">{name}</th>' in page for name in ("lapsum", "sparse", "hard"))
    assert not re.search(r"https?://", page)
    again = command(table, "-k", "5", "-o", "page.html", cwd=table.parent)
    assert again.returncode == 73


def test_a_page_tells_of_a_file_whose_name_is_no_text(table):
    name = table.rename(table.parent / os.fsdecode(b"t\xff.parquet")).name
    run = command(name, "-k", "5", "--methods", "lapsum,hard", "-o", "page.html", cwd=table.parent)
    assert run.returncode == 0, run.stderr
    assert "t\\udcff.parquet" in (table.parent / "page.html").read_text()


def test_what_learns_best_is_told_from_a_file(table):
    options = ["-k", "5", "--target", "label", "--features", "f_*", "--methods", "lapsum", "--losses", "ndcg"]
    run = command(table, *options, cwd=table.parent)
    assert run.returncode == 0, run.stderr
    assert re.search(r"\| by lapsum +\| +0\.\d{4} \| +0\.\d{4} ", run.stdout)
    assert re.search(r"\| ndcg +\| +0\.\d{4} ", run.stdout)
    assert "30 rankings" in run.stdout
    assert "5 features" in run.stdout


def test_a_sample_is_the_first_rankings(table):
    whole = sample(str(table), target="label", features="f_[01]")
    assert whole.is_whole
    assert whole.names == ["f_0", "f_1"]
    assert whole.features.shape == (int(whole.rankings.offsets[-1]), 2)
    part = sample(str(table), most=50)
    assert not part.is_whole
    assert 0 < part.rankings.offsets[-1] <= 50
    assert np.array_equal(part.rankings.offsets, whole.rankings.offsets[: len(part.rankings) + 1])
    assert len(sample(str(table), most=1).rankings) == 1  # one at least


def test_what_cannot_be_compared_is_said(table, tmp_path):
    with pytest.raises(OptionError, match="features"):
        sample(str(table), features="f_*")
    with pytest.raises(OptionError, match="no column matches"):
        sample(str(table), target="label", features="g_*")
    pq.write_table(pa.table({"qid": [1], "score": [1.0], "label": [1.0], "f_0": [np.nan]}), tmp_path / "nan.parquet")
    with pytest.raises(DataError, match='the feature "f_0" is NaN'):
        sample(str(tmp_path / "nan.parquet"), target="label", features="f_*")
    run = command(table, "--methods", "lapsum,foo", cwd=tmp_path)
    assert run.returncode == 2
    assert "no method 'foo' to compare" in refusal(run.stderr.encode())
