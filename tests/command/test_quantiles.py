"""`lapsum quantile`: files in every layout, against the functions on arrays."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from commands import refusal, run
from tables import TABLES, get, put

from lapsum_cli import OptionError, run_file, soft_max, soft_median, soft_quantile, soft_quantile_vjp

SAMPLE = Path(__file__).parents[2] / "samples" / "search.parquet"
INF = float("inf")
ROWS = [[0.3, 2.0, -1.0, 0.5], [1.0, 2.0, 3.0], [5.0], [-INF, 1.0, 0.2, INF], [-INF, -INF], [2.0, 2.0, 2.0]]
QS = (0.25, 0.5, 1.0)


def long_table(path, rows=ROWS) -> Path:
    qid = [f"q{r}" for r, row in enumerate(rows) for _ in row]
    put(pa.table({"qid": qid, "score": [x for row in rows for x in row]}), path)
    return path


def want(q, rows=ROWS, **options):
    return [soft_quantile(row, q, **options) for row in rows]


def numbers(column):
    """As floats: NaN where there is none, which a text may say by nothing."""
    return np.array([np.nan if value in (None, "") else float(value) for value in column.to_pylist()])


@pytest.mark.parametrize("alpha", ["0.3", "0.1std", "0.2mad"])
@pytest.mark.parametrize("format", TABLES)
def test_a_row_for_each_ranking_and_a_column_for_each_q(tmp_path, format, alpha):
    rows = [*ROWS[:3], [-INF, 1.0, 0.2, 7.0], *ROWS[4:]]  # not every text has a word for an infinite result
    source = long_table(tmp_path / f"in.{format}", rows)
    run_file("quantile", source, tmp_path / f"out.{format}", q="0.25,0.5,1", alpha=alpha)
    found = get(tmp_path / f"out.{format}")
    assert found.column_names == ["qid", *(f"soft_quantile_{q}" for q in ("0.25", "0.5", "1"))]
    assert found["qid"].to_pylist() == [f"q{r}" for r in range(len(ROWS))]
    for q, name in zip(QS, found.column_names[1:], strict=True):
        np.testing.assert_allclose(numbers(found[name]), want(q, rows, alpha=alpha), rtol=1e-12)
    assert np.isnan(numbers(found[name])).tolist() == [False] * 4 + [True, False]  # where nothing takes part


def test_with_a_gradient_every_row_stays(tmp_path):
    source = long_table(tmp_path / "in.parquet")
    asked = {"q": "0.25,1", "alpha": 0.3, "gradient": True, "grad_alpha": True, "grad_q": True}
    run_file("quantile", source, tmp_path / "out.parquet", **asked)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(["qid", "score"]).equals(pq.read_table(source))
    for q in ("0.25", "1"):
        for name in ("soft_quantile", "grad_alpha", "grad_q", "grad"):
            gradients = [soft_quantile_vjp(row, float(q), alpha=0.3) for row in ROWS]
            expected = {
                "soft_quantile": np.repeat(want(float(q), alpha=0.3), [len(row) for row in ROWS]),
                "grad": np.concatenate([one.scores for one in gradients]),
                "grad_alpha": np.repeat([one.alpha for one in gradients], [len(row) for row in ROWS]),
                "grad_q": np.repeat([one.q for one in gradients], [len(row) for row in ROWS]),
            }[name]
            np.testing.assert_allclose(numbers(found[f"{name}_{q}"]), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("layout", ["wide", "lists", "array"])
def test_in_other_layouts_a_row_of_the_input_is_a_row_of_the_result(tmp_path, layout):
    x = np.random.default_rng(0).standard_normal((4, 5))
    source, sink = tmp_path / f"in.{'npy' if layout == 'array' else 'parquet'}", tmp_path / "out.parquet"
    if layout == "array":
        np.save(source, x)
        sink = tmp_path / "out.npy"
    else:
        columns = {f"s_{j}": x[:, j] for j in range(5)} if layout == "wide" else {"score": x.tolist()}
        pq.write_table(pa.table({"id": range(4), **columns}), source)
    options = {"columns": "s_*"} if layout == "wide" else {}
    run_file("quantile", source, sink, q=0.5, alpha=0.3, **options)
    found = np.load(sink) if layout == "array" else numbers(pq.read_table(sink)["soft_quantile"])
    np.testing.assert_array_equal(found, soft_median(x, alpha=0.3))
    run_file("quantile", source, sink, q=0.5, alpha=0.3, gradient=True, force=True, **options)
    gradients = soft_quantile_vjp(x, 0.5, alpha=0.3).scores
    if layout == "array":
        np.testing.assert_array_equal(np.load(tmp_path / "out.grad.npy"), gradients)
    elif layout == "lists":
        np.testing.assert_array_equal(np.array(pq.read_table(sink)["grad"].to_pylist()), gradients)
    else:
        found = pq.read_table(sink)
        np.testing.assert_array_equal(np.stack([found[f"grad_s_{j}"] for j in range(5)], 1), gradients)


@pytest.mark.parametrize("nan", ["last", "drop"])
@pytest.mark.parametrize("ascending", [False, True])
def test_what_is_no_score_takes_no_part(tmp_path, nan, ascending):
    source = long_table(tmp_path / "in.parquet", [[1.0, float("nan"), 4.0, 2.0], [float("nan")]])
    given = {"q": 0.5, "alpha": 0.2, "nan": nan, "descending": not ascending}
    [first, second] = run_file("quantile", source, "arrow", **given)["soft_quantile"].to_pylist()
    assert first == pytest.approx(soft_median([1.0, 4.0, 2.0], alpha=0.2), rel=1e-12)
    assert second is None
    found = run_file("quantile", source, "arrow", gradient=True, **given)
    assert found["grad"].to_pylist()[1] == (None if nan == "drop" else 0)


def test_a_pipe_and_the_order_of_the_smallest_memory(tmp_path):
    source = long_table(tmp_path / "in.csv")
    done = run("quantile", "-", "--from", "csv", "--q", "1", "--alpha", "0.3", stdin=source.read_bytes())
    found = pa.csv.read_csv(io.BytesIO(done.stdout))
    np.testing.assert_allclose(numbers(found["soft_quantile"]), [soft_max(row, alpha=0.3) for row in ROWS], rtol=1e-12)
    assert "15 scores" not in done.stderr.decode()
    assert f"{sum(map(len, ROWS))} scores in {len(ROWS)} rankings, {len(ROWS)} rows" in done.stderr.decode()


def test_the_column_may_be_called_otherwise(tmp_path):
    source = long_table(tmp_path / "in.parquet")
    assert run_file("quantile", source, "arrow", q="0.5,1", column="top").column_names == ["qid", "top_0.5", "top_1"]
    assert run_file("quantile", source, "arrow", q=0.5, column="middle").column_names == ["qid", "middle"]
    assert run_file("quantile", source, "arrow", q=[0.5, 1]).column_names[1:] == [
        "soft_quantile_0.5",
        "soft_quantile_1",
    ]


REFUSED = {
    "": "quantile needs --q, such as --q 0.5",
    "--q 2": "q must be from 0 to 1, got 2",
    "--q 0.5,half": "q must be a number from 0 to 1, such as 0.9, got 'half'",
    "--q 0.5,0.5": "q is given twice in 0.5,0.5",
    "--q 0.5 --grad-q": "--grad-alpha and --grad-q need --gradient",
    "--q 0.5 --method sparse": "no method 'sparse' for quantile; known are lapsum, hard",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_what_cannot_be_asked_for_is_said(typed):
    done = run("quantile", SAMPLE, *typed.split(), "-q")
    assert (done.returncode, REFUSED[typed] in refusal(done.stderr)) == (2, True), done.stderr


def test_python_is_told_what_it_typed(tmp_path):
    source = long_table(tmp_path / "in.parquet")
    for operation, options, words in (
        ("quantile", {"q": 0.5, "upstream": "score"}, "takes no upstream=; gradient=True writes the gradient"),
        ("quantile", {"q": 0.5, "k": 3}, "quantile takes no k"),
        ("quantile", {"q": 0.5, "target": "score"}, "quantile takes no target"),
        ("rank", {"q": 0.5}, "rank takes no q"),
        ("topk", {"k": 1, "q": 0.5}, "topk takes no q"),
    ):
        with pytest.raises(OptionError, match=words):
            run_file(operation, source, "arrow", **options)
