"""`lapsum loss --weight`: what each ranking counts, in files of every layout, against `weights=` of the functions."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal, run
from tables import floats, put

import lapsum_cli as lapsum
from lapsum_cli import OptionError, run_file

RNG = np.random.default_rng(3)
LENGTHS = [5, 2, 7, 1, 6, 4]
X = [np.round(RNG.standard_normal(n), 2) for n in LENGTHS]
Y = [RNG.integers(0, 3, n).astype(float) for n in LENGTHS]
Y[1], Y[5] = np.array([1.0, 1.0]), np.array([0.0, 2.0, 1.0, 2.0])  # the first has no loss
W = np.array([0.5, 100.0, 3.0, 7.0, 0.0, 2.0])
HAVE = [0, 2, 4, 5]
ASKED = ("--score", "score", "--target", "y", "--weight", "w")


def in_rows(values):
    return np.repeat(values, LENGTHS)


def long_table(weights=None):
    flat = {"score": np.concatenate(X), "second": np.concatenate(X)[::-1].copy(), "y": np.concatenate(Y)}
    return pa.table({"qid": in_rows(np.arange(6)), **flat, "w": in_rows(W) if weights is None else weights})


def loss(tmp_path, table, name="in.parquet", **options):
    counts = run_file("loss", put(table, tmp_path / name), tmp_path / "out.parquet", force=True, **options)
    return counts, pq.read_table(tmp_path / "out.parquet")


@pytest.mark.parametrize("name", ["spearman", "ndcg", "topk", "permutation", "ranknet"])
@pytest.mark.parametrize("descending", [True, False])
def test_losses_and_gradients_are_those_of_weights_in_python(tmp_path, name, descending):
    given = {"loss": name, "target": "y", "weight": "w", "alpha": 0.5, "descending": descending, "score": "score"}
    k = {"k": 2} if name == "topk" else {}
    own = {"alpha": 0.5, "descending": descending, **k}
    function, vjp = (getattr(lapsum, f"{name}_loss{end}") for end in ("", "_vjp"))
    for file in ("in.parquet", "in.csv"):
        counts, table = loss(tmp_path, long_table(), file, **given, **k)
        want = function(X, Y, weights=W, reduction="none", **own)
        np.testing.assert_allclose(floats(table["loss"]), want, rtol=1e-14)
        assert np.flatnonzero(~np.isnan(want)).tolist() == HAVE
        assert counts.totals[0].mean == pytest.approx(function(X, Y, weights=W, **own), rel=1e-14)
    for reduction in ("none", "mean", "sum"):
        more = {"gradient": True, "grad_alpha": True, "reduction": reduction}
        _, table = loss(tmp_path, long_table(), **given, **k, **more)
        upstream = np.ones(6) if reduction == "none" else 1.0
        want = vjp(X, Y, upstream=upstream, weights=W, reduction=reduction, **own)
        np.testing.assert_allclose(table["grad"], np.concatenate(want.scores), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(table["grad_alpha"], in_rows(want.alpha), rtol=1e-12, atol=1e-15)
        assert want.alpha[HAVE].any()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_reduced_loss_is_that_of_weights_in_python(tmp_path, reduction):
    _, table = loss(tmp_path, long_table(), loss="ndcg,mrr", target="y", weight="w", score="score", reduction=reduction)
    given = {"weights": W, "reduction": reduction}
    want = {"loss_ndcg": lapsum.ndcg_loss(X, Y, **given), "mrr": lapsum.metric("mrr", X, Y, **given)}
    assert table.to_pydict() == {name: [pytest.approx(value, rel=1e-14)] for name, value in want.items()}


def test_several_losses_and_metrics_at_once(tmp_path):
    given = {"target": "y", "weight": "w", "score": "score", "alpha": 0.5}
    counts, table = loss(tmp_path, long_table(), loss="spearman,ndcg,ndcg@2", **given)
    spearman = lapsum.spearman_loss(X, Y, weights=W, reduction="none", alpha=0.5)
    np.testing.assert_allclose(floats(table["loss_spearman"]), spearman, rtol=1e-14)
    np.testing.assert_array_equal(floats(table["ndcg@2"]), lapsum.metric("ndcg@2", X, Y, weights=W, reduction="none"))
    assert [total.count for total in counts.totals] == [4, 4, 6]
    _, table = loss(tmp_path, long_table(), loss="spearman,ndcg", gradient=True, reduction="mean", **given)
    for name in ("spearman", "ndcg"):
        want = getattr(lapsum, f"{name}_loss_vjp")(X, Y, weights=W, alpha=0.5)
        np.testing.assert_allclose(table[f"grad_{name}"], np.concatenate(want.scores), rtol=1e-12, atol=1e-15)


def test_of_a_cascade(tmp_path):
    given = {"target": "y", "weight": "w", "stages": "score,second", "k": 2, "alpha": 0.5, "loss": "cascade-lapsum"}
    second = np.split(np.concatenate(X)[::-1], np.cumsum(LENGTHS)[:-1])
    counts, table = loss(tmp_path, long_table(), **given)
    want = lapsum.cascade_lapsum_loss((X, second), Y, 2, alpha=0.5, weights=W, reduction="none")
    np.testing.assert_allclose(floats(table["loss"]), want, rtol=1e-14)
    assert counts.totals[0].of == W[HAVE].sum()
    _, table = loss(tmp_path, long_table(), gradient=True, reduction="mean", **given)
    found = lapsum.cascade_lapsum_loss_vjp((X, second), Y, 2, alpha=0.5, weights=W)
    for name, scores in zip(("score", "second"), found.scores, strict=True):
        np.testing.assert_allclose(table[f"grad_{name}"], np.concatenate(scores), rtol=1e-12, atol=1e-15)


def test_of_lists_and_of_wide_tables(tmp_path):
    lists = pa.table({"score": [list(x) for x in X], "y": [list(y) for y in Y], "w": W})
    _, table = loss(tmp_path, lists, loss="spearman", target="y", weight="w")
    want = lapsum.spearman_loss(X, Y, weights=W, reduction="none")
    np.testing.assert_allclose(floats(table["loss"]), want, rtol=1e-14)
    x, y, w = RNG.standard_normal((3, 4)), np.array([[0, 1, 2, 0]] * 3), np.array([1.0, 0.0, 4.0])
    columns = {f"s{j}": x[:, j] for j in range(4)} | {f"y{j}": y[:, j] for j in range(4)}
    given = {"columns": "s*", "target": "y*", "weight": "w"}
    counts, table = loss(tmp_path, pa.table({**columns, "w": w}), loss="spearman", **given)
    np.testing.assert_allclose(
        floats(table["loss"]), lapsum.spearman_loss(x, y, weights=w, reduction="none"), rtol=1e-14
    )
    assert counts.totals[0].mean == pytest.approx(lapsum.spearman_loss(x, y, weights=w), rel=1e-14)


def test_rows_that_are_apart_and_a_data_set(tmp_path):
    given = {"loss": "ndcg", "target": "y", "weight": "w", "score": "score", "gradient": True, "reduction": "mean"}
    one, want = loss(tmp_path, long_table(), **given)
    order = np.random.default_rng(0).permutation(len(want))
    _, apart = loss(tmp_path, long_table().take(order), sort_groups=True, **given)
    np.testing.assert_allclose(apart["grad"], want["grad"].to_numpy()[order], rtol=1e-12, atol=1e-15)
    parts = [long_table()[:9], long_table()[9:]]
    inputs = [put(part, tmp_path / f"p{i}.parquet") for i, part in enumerate(parts)]
    done = run_file("loss", inputs, f"{tmp_path}/out/", **given)
    found = pa.concat_tables([pq.read_table(tmp_path / f"out/p{i}.parquet") for i in range(2)])
    np.testing.assert_allclose(found["grad"], want["grad"], rtol=1e-12, atol=1e-15)
    assert (done.shards, done.losses) == (2, one.losses)
    assert done.totals[0].mean == pytest.approx(one.totals[0].mean, rel=1e-14)


def test_the_command_says_the_mean_by_weight_and_how_it_is_made(tmp_path):
    put(long_table(), tmp_path / "in.parquet")
    done = run("loss", "spearman", "in.parquet", *ASKED, "-o", "out.parquet", "--json", cwd=tmp_path)
    mean = lapsum.spearman_loss(X, Y, weights=W)
    assert f"mean loss {mean:.6g} by weight over 4 rankings; 2 have none" in done.stderr.decode()
    assert json.loads(done.stdout)["means"] == {"loss": pytest.approx(mean, rel=1e-14)}
    made = json.loads(pq.read_metadata(tmp_path / "out.parquet").metadata[b"lapsum"])
    assert made["weight"] == {"column": "w"}
    nothing = long_table(np.zeros(sum(LENGTHS)))
    counts, table = loss(tmp_path, nothing, loss="spearman", target="y", weight="w", score="score", reduction="mean")
    assert (counts.totals[0].mean, table.to_pydict()) == (None, {"loss": [None]})
    options = {"target": "y", "weight": "w", "score": "score", "gradient": True, "reduction": "mean"}
    assert not floats(loss(tmp_path, nothing, loss="spearman", **options)[1]["grad"]).any()


REFUSED = {
    "below 0": (in_rows([1, 1, 1, 1, -2, 1]), 65, 'row 16 (qid "4")', "weight must be 0 or more, got -2"),
    "infinite": (in_rows([1, 1, np.inf, 1, 1, 1]), 65, 'qid "2"', "weight must be 0 or more, got inf"),
    "NaN": (in_rows([1, np.nan, 1, 1, 1, 1]), 65, 'qid "1"', "weight must be 0 or more, got nan"),
    "not constant": (
        np.r_[np.ones(9), 3.0, np.ones(15)],
        65,
        'row 10 (qid "2")',
        '"w" changes within a ranking, from 1 to 3',
    ),
    "text": (["a"] * 25, 65, '"w" has type string; it must hold numbers'),
}


@pytest.mark.parametrize(("weights", "code", "words"), [(w, code, words) for w, code, *words in REFUSED.values()])
def test_what_is_no_weight_is_refused(tmp_path, weights, code, words):
    put(long_table(weights), tmp_path / "in.parquet")
    done = run("loss", "ndcg,mrr", "in.parquet", *ASKED, "-o", "out.csv", "-q", cwd=tmp_path)
    assert done.returncode == code
    assert all(word in refusal(done.stderr) for word in words), done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_what_takes_no_weight_says_so(tmp_path):
    source = put(long_table(), tmp_path / "in.parquet")
    with pytest.raises(OptionError, match="rank takes no weight=; losses do"):
        run_file("rank", source, tmp_path / "out.csv", weight="w", score="score")
    with pytest.raises(OptionError, match='no column "v"'):
        run_file("loss", source, tmp_path / "out.csv", loss="ndcg", target="y", weight="v", score="score")
    np.save(tmp_path / "x.npy", np.eye(3))
    with pytest.raises(OptionError, match="weight= is a column of a table, and an array has none"):
        run_file("loss", tmp_path / "x.npy", None, loss="ndcg", target=tmp_path / "x.npy", weight="w")
