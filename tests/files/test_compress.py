"""topk --residual: what is sent and what is kept sum to all gradients; nothing is lost where a run fails."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lapsum_cli import DataError, InputMissing, OptionError, OutputError, run_file
from lapsum_cli.api.compress import largest

CASES = json.loads((Path(__file__).parents[1] / "vectors/compression.json").read_text())["cases"]


def send(folder, gradient, k, **given):
    """The dense form of what a run sends, and what it keeps."""
    np.save(folder / "g.npy", gradient)
    run_file(
        "topk", folder / "g.npy", folder / "sent.parquet", k=k, residual=str(folder / "m.npy"), force=True, **given
    )
    sent = pq.read_table(folder / "sent.parquet").to_pydict()
    dense = np.zeros_like(gradient)
    dense[(*([sent["row"]] if "row" in sent else []), sent["index"])] = sent["value"]
    return dense, np.load(folder / "m.npy")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['op']} {case['params']}")
def test_runs_are_those_of_the_originals(tmp_path, case):
    for step, gradient in enumerate(case["inputs"]["gradients"]):
        if case["op"] == "topk_gradient_memory" and not case["params"]["with_memory"]:
            (tmp_path / "m.npy").unlink(missing_ok=True)
        sent, kept = send(tmp_path, np.array(gradient), case["params"]["k"])
        np.testing.assert_allclose(sent, case["outputs"]["sent"][step], rtol=0, atol=1e-15)
        if "residual" in case["outputs"]:
            np.testing.assert_allclose(kept, case["outputs"]["residual"][step], rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1000,), (3, 50)])
def test_all_that_was_sent_and_what_is_kept_sum_to_all_gradients(tmp_path, shape, dtype):
    rng, total, sent = np.random.default_rng(0), np.zeros(shape), np.zeros(shape)
    for _ in range(6):
        gradient = rng.standard_normal(shape).astype(dtype)
        part, kept = send(tmp_path, gradient, "5%", by="magnitude")
        total, sent = total + gradient, sent + part
        assert (np.count_nonzero(np.atleast_2d(part), axis=1) == max(1, shape[-1] // 20)).all()
        assert part.dtype == kept.dtype == dtype
    np.testing.assert_allclose(sent + kept, total, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)


def test_of_equal_magnitudes_the_first_are_sent():
    assert largest(np.array([1.0, -2, 2, 0, -2]), 2).tolist() == [1, 2]
    assert largest(np.zeros(3), 2).tolist() == [0, 1]
    assert largest(np.array([1.0]), 5).tolist() == [0]


def test_a_failed_run_leaves_the_memory_as_it_was(tmp_path):
    send(tmp_path, np.arange(5.0), 2)
    before = (tmp_path / "m.npy").read_bytes()
    np.save(tmp_path / "g.npy", [1.0, np.nan, 0, 0, 0])
    given = {"k": 2, "residual": str(tmp_path / "m.npy")}
    with pytest.raises(DataError, match="NaN or infinite"):
        run_file("topk", tmp_path / "g.npy", tmp_path / "other.parquet", **given)
    np.save(tmp_path / "g.npy", np.ones(5))
    with pytest.raises(OutputError, match="exists already"):
        run_file("topk", tmp_path / "g.npy", tmp_path / "sent.parquet", **given)
    assert (tmp_path / "m.npy").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["g.npy", "m.npy", "sent.parquet"]


def test_what_does_not_go_together_is_refused(tmp_path):
    np.save(tmp_path / "g.npy", np.ones(5))
    np.save(tmp_path / "m.npy", np.ones(4))
    given = {"residual": str(tmp_path / "m.npy")}
    with pytest.raises(DataError, match=r"a memory goes with the gradients"):
        run_file("topk", tmp_path / "g.npy", tmp_path / "s.parquet", k=2, **given)
    for more in ({"alpha": 1.0}, {"only_top": True}, {"method": "hard"}, {"log": True}):
        with pytest.raises(OptionError, match="sends scores as they are"):
            run_file("topk", tmp_path / "g.npy", tmp_path / "s.parquet", k=2, **given, **more)
    with pytest.raises(OptionError, match="whole number"):
        run_file("topk", tmp_path / "g.npy", tmp_path / "s.parquet", k=2.5, residual=str(tmp_path / "n.npy"))
    with pytest.raises(InputMissing):
        run_file("topk", tmp_path / "none.npy", tmp_path / "s.parquet", k=2, **given)
