"""`lapsum loss`, and --upstream of the other operations: files in every layout, against the functions on arrays."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal, run

import lapsum_cli as lapsum
from lapsum_cli import DataError, OptionError, OutputError, run_file
from lapsum_cli.operations import LOSSES as LISTED
from lapsum_cli.operations import METRICS

SAMPLE = Path(__file__).parents[2] / "samples" / "search.parquet"
LOSSES = {
    "spearman": {},
    "topk": {"k": 5},
    "recall": {"k": 5},
    "ndcg": {},
    "ndcg at 5": {"k": 5},
    "ndcg linear": {"gain": "linear"},
    "permutation": {},
    "graded-topk": {},
    "bce-dftopk": {"k": 5},
    "ranknet": {},
    "lambda": {},
    "lambda at 5": {"k": 5, "weighting": "ndcg2++", "mu": 3.0},
    "listnet": {},
    "listmle": {},
    "approx-ndcg": {"gain": "linear"},
    "neural-ndcg": {"k": 5},
    "topk-hinge": {"k": 5},
    "topk-cross-entropy": {"k": 5},
    "topk-svm": {"k": 5},
}
INF = float("inf")
SCORES = [[0.3, 2.0, -1.0, 0.5], [1.0, 2.0, 3.0], [5.0], [], [-INF, 1.0, 0.2, 4.0], [-INF, 1.0], [2.0, 2.0, 2.0]]
TARGETS = [[1.0, 3.0, 0.0, 0.0], [2.0, 2.0, 2.0], [4.0], [], [9.0, 0.0, 3.0, 1.0], [0.0, 1.0], [0.0, 1.0, 2.0]]
DEFINED = [0, 4, 6]  # the others: a constant target, one score, none, one that is not masked


def function(case, vjp=False):
    """The function on arrays of a case of LOSSES."""
    name, options = case.split()[0], dict(LOSSES[case])
    made = getattr(lapsum, f"{name.replace('-', '_')}_loss" + "_vjp" * vjp)
    return lambda x, y, **more: made(x, y, **options, **more)


def lossy(case, source, sink, **options):
    return run_file("loss", source, sink, loss=case.split()[0], force=True, **LOSSES[case] | options)


def long_table(path, scores=SCORES, targets=TARGETS) -> Path:
    qid = [f"q{r}" for r, row in enumerate(scores) for _ in row]
    flat = {name: [value for row in rows for value in row] for name, rows in (("score", scores), ("label", targets))}
    pq.write_table(pa.table({"qid": qid} | flat), path, row_group_size=3)
    return path


def by_query(table, *columns):
    """Each column, cut into rankings."""
    starts = np.flatnonzero(np.r_[True, np.array(table["qid"])[1:] != np.array(table["qid"])[:-1]])
    return [np.split(table[name].to_numpy(), starts[1:]) for name in columns]


@pytest.mark.parametrize("case", LOSSES)
def test_a_long_table_gives_a_loss_for_each_ranking_or_a_gradient_for_each_row(tmp_path, case):
    sample = pq.read_table(SAMPLE)
    x, y = by_query(sample, "score", "label")
    want = function(case)(x, y, reduction="none")
    summary = lossy(case, SAMPLE, tmp_path / "out.parquet", target="label")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["qid", "loss"]
    assert table["qid"].to_pylist() == sample["qid"].unique().to_pylist()
    np.testing.assert_array_equal(table["loss"].to_numpy(zero_copy_only=False), want)
    assert table["loss"].null_count == np.isnan(want).sum() == summary.rankings - summary.losses > 0
    assert summary.loss == pytest.approx(np.nansum(want))

    for reduction, weight in {"none": np.ones(len(x)), "mean": np.full(len(x), 1 / summary.losses)}.items():
        options = {"gradient": True, "grad_alpha": True, "target": "label", "reduction": reduction}
        lossy(case, SAMPLE, tmp_path / "out.parquet", **options)
        table = pq.read_table(tmp_path / "out.parquet")
        assert table.drop(["grad", "grad_alpha"]).equals(sample)
        got = function(case, vjp=True)(x, y, upstream=weight, reduction="none")
        want = np.concatenate(got.scores)
        np.testing.assert_allclose(table["grad"], want, rtol=1e-6, atol=1e-7 * np.abs(want).max())
        np.testing.assert_allclose(table["grad_alpha"], np.repeat(got.alpha, [len(row) for row in x]), rtol=1e-9)


@pytest.mark.parametrize("case", ["spearman", "ndcg", "permutation"])
def test_masked_scores_take_no_part_and_rankings_without_a_loss_are_null(tmp_path, case):
    source, sink = long_table(tmp_path / "in.parquet"), tmp_path / "out.parquet"
    summary = lossy(case, source, sink, target="label", alpha=0.5)
    losses = dict(zip(*(pq.read_table(sink)[name].to_pylist() for name in ("qid", "loss")), strict=True))
    assert (summary.rankings, summary.losses) == (6, 3)
    assert [q for q, loss in losses.items() if loss is not None] == [f"q{r}" for r in DEFINED]
    assert losses["q4"] == function(case)(SCORES[4][1:], TARGETS[4][1:], alpha=0.5)
    lossy(case, source, sink, target="label", alpha=0.5, gradient=True)
    (grads,) = by_query(pq.read_table(sink), "grad")
    assert [grad.any() for grad in grads[:-1]] == [True, False, False, True, False]
    assert np.array_equal(grads[3][1:], function(case, vjp=True)(SCORES[4][1:], TARGETS[4][1:], alpha=0.5).scores)
    assert grads[3][0] == 0


def test_no_gain_is_no_loss(tmp_path):
    source = long_table(tmp_path / "in.parquet", [[1.0, 2.0], [1.0, 2.0]], [[0.0, 0.0], [0.0, 1.0]])
    assert lossy("ndcg", source, tmp_path / "out.csv", target="label").losses == 1
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "q0,"


def test_losses_are_reduced_to_one_row(tmp_path):
    source, sink = long_table(tmp_path / "in.parquet"), tmp_path / "out.csv"
    losses = lapsum.spearman_loss(SCORES, TARGETS, alpha=0.5, reduction="none")[DEFINED]
    for reduction, want in {"sum": losses.sum(), "mean": losses.mean()}.items():
        lossy("spearman", source, sink, target="label", alpha=0.5, reduction=reduction)
        name, value = sink.read_text().split()
        assert (name, float(value)) == ("loss", pytest.approx(want, rel=1e-14))
    done = run("loss", "spearman", source, "--target", "label", "--alpha", 0.5)
    said = done.stderr.decode()
    assert f"mean loss {losses.mean():.6g} over 3 rankings; 3 have none" in said
    nothing = long_table(tmp_path / "none.parquet", SCORES[1:3], TARGETS[1:3])
    lossy("spearman", nothing, sink, target="label", reduction="mean")
    assert sink.read_text().splitlines() in (["loss", ""], ["loss", '""'])


def test_a_reduced_loss_does_not_depend_on_the_memory(tmp_path):
    rng = np.random.default_rng(0)
    y, x = rng.integers(0, 3, 400_000), rng.standard_normal(400_000).astype(np.float32)
    pq.write_table(pa.table({"qid": np.arange(400_000) // 4, "score": x, "y": y}), tmp_path / "in.parquet")
    for memory in ("256MiB", "2GiB"):
        options = {"target": "y", "reduction": "sum", "memory": memory}
        lossy("permutation", tmp_path / "in.parquet", tmp_path / f"{memory}.csv", **options)
    assert (tmp_path / "256MiB.csv").read_text() == (tmp_path / "2GiB.csv").read_text()


# Lists, wide tables, arrays: --target and --upstream go beside the scores.


def put(layout, folder, **columns) -> tuple[Path, dict]:
    """A file with these matrices, and the options that name them: x the scores."""
    if layout == "npy":
        for name, values in columns.items():
            np.save(folder / f"{name}.npy", values)
        return folder / "x.npy", {name: folder / f"{name}.npy" for name in columns if name != "x"}
    if layout == "lists":
        table = pa.table({name: list(values) for name, values in columns.items()})
    elif layout == "wide":
        table = pa.table({f"{name}{j}": columns[name][:, j] for name in columns for j in range(columns[name].shape[1])})
    else:
        qid = np.repeat(np.arange(len(columns["x"])), columns["x"].shape[1])
        table = pa.table({"qid": qid} | {name: values.reshape(-1) for name, values in columns.items()})
    pq.write_table(table, folder / "in.parquet", row_group_size=3)
    star = "*" if layout == "wide" else ""
    names = {name: name + star for name in columns}
    return folder / "in.parquet", {"columns" if layout == "wide" else "score": names.pop("x")} | names


def get(layout, sink, name, shape) -> np.ndarray:
    """A result with a value for each score, or for each ranking."""
    if layout == "npy":
        return np.load(sink if name.startswith(("soft", "log", "loss")) else sink.with_name(f"{sink.stem}.{name}.npy"))
    table = pq.read_table(sink)
    if name in table.column_names:
        values = table[name].to_numpy(zero_copy_only=False)
        values = np.stack(values) if layout == "lists" and values.dtype == object else values
        return values if layout in ("lists", "wide") else values.reshape(shape)
    return np.stack([table[f"{name}_x{j}"] for j in range(shape[1])], axis=1)


LAYOUTS = ["long", "lists", "wide", "npy"]
X, V = np.random.default_rng(5).standard_normal((2, 7, 6)).astype(np.float32)
HOLE = np.where(np.arange(42).reshape(7, 6) == 15, np.nan, V)
Y = np.random.default_rng(6).integers(0, 3, (7, 6)).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_losses_and_their_gradients_in_every_layout(tmp_path, layout):
    source, options = put(layout, tmp_path, x=X, target=Y)
    sink = tmp_path / ("out.npy" if layout == "npy" else "out.parquet")
    lossy("spearman", source, sink, alpha=0.5, **options)
    want = lapsum.spearman_loss(X, Y, alpha=0.5, reduction="none")
    np.testing.assert_array_equal(get(layout, sink, "loss", X.shape), want)
    lossy("spearman", source, sink, alpha=0.5, gradient=True, **options)
    grad = np.load(sink) if layout == "npy" else get(layout, sink, "grad", X.shape)
    want = lapsum.spearman_loss_vjp(X, Y, np.ones(7), alpha=0.5, reduction="none")
    np.testing.assert_array_equal(grad, want.scores)


VJPS = {
    "soft_rank": ("rank", {}, lapsum.soft_rank, lapsum.soft_rank_vjp),
    "soft_sort": ("sort", {}, lapsum.soft_sort, lapsum.soft_sort_vjp),
    "soft_topk": ("topk", {"k": 2}, lapsum.soft_topk, lapsum.soft_topk_vjp),
    "log_soft_topk": ("topk", {"k": 2, "log": True}, lapsum.log_soft_topk, lapsum.log_soft_topk_vjp),
}


@pytest.mark.parametrize("name", VJPS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_upstream_gradients_in_every_layout(tmp_path, layout, name):
    operation, options, forward, vjp = VJPS[name]
    source, named = put(layout, tmp_path, x=X, upstream=V)
    sink = tmp_path / ("out.npy" if layout == "npy" else "out.parquet")
    k = (2,) if operation == "topk" else ()
    asked = {"grad_alpha": True} | ({"grad_k": True} if k else {})
    run_file(operation, source, sink, alpha=0.5, **options, **named, **asked)
    want = vjp(X, *k, V, alpha=0.5)
    if (operation, layout) != ("sort", "long"):  # where what is by position has no place beside items
        np.testing.assert_array_equal(get(layout, sink, name, X.shape), forward(X, *k, alpha=0.5))
    np.testing.assert_array_equal(get(layout, sink, "grad", X.shape), want.scores)
    for asked_for in asked:
        got = get(layout, sink, asked_for, X.shape)
        got = got[:, 0] if layout == "long" else got
        np.testing.assert_array_equal(got, getattr(want, asked_for.removeprefix("grad_")))


def test_a_table_without_a_group_has_one_loss(tmp_path):
    pq.write_table(pa.table({"score": X[0], "target": Y[0]}), tmp_path / "in.parquet")
    lossy("spearman", tmp_path / "in.parquet", tmp_path / "out.parquet", alpha=0.5, target="target")
    want = lapsum.spearman_loss(X[0], Y[0], alpha=0.5)
    assert pq.read_table(tmp_path / "out.parquet").to_pydict() == {"loss": [want]}


def test_several_k_have_a_gradient_each(tmp_path):
    source, named = put("long", tmp_path, x=X, upstream=V)
    run_file("topk", source, tmp_path / "out.parquet", k="1,2.5", alpha=0.5, grad_k=True, **named)
    for k in (1, 2.5):
        want = lapsum.soft_topk_vjp(X, k, V, alpha=0.5)
        table = pq.read_table(tmp_path / "out.parquet")
        np.testing.assert_array_equal(table[f"grad_{k}"], want.scores.ravel())
        np.testing.assert_array_equal(table[f"grad_k_{k}"], np.repeat(want.k, 6))


def test_arrays_appear_together_or_not_at_all(tmp_path):
    source, named = put("npy", tmp_path, x=X, upstream=V)
    before = sorted(tmp_path.iterdir())
    sink, beside = tmp_path / "out.npy", tmp_path / "out.grad.npy"
    beside.write_text("precious")
    with pytest.raises(OutputError, match=r"out\.grad\.npy: exists already"):
        run_file("rank", source, sink, **named)
    assert sorted(tmp_path.iterdir()) == sorted([*before, beside])
    assert beside.read_text() == "precious"
    run_file("rank", source, sink, force=True, **named)
    assert np.load(beside).shape == np.load(sink).shape == X.shape
    assert sorted(tmp_path.iterdir()) == sorted([*before, sink, beside])


def test_the_command_writes_gradients_too(tmp_path):
    put("npy", tmp_path, x=X, upstream=V)
    asked = ("topk", "x.npy", "--k", 2, "--log", "--upstream", "upstream.npy", "--grad-alpha", "--grad-k", "-q")
    assert run(*asked, "-o", "out.npy", cwd=tmp_path).returncode == 0
    want = {"out.grad.npy", "out.grad_alpha.npy", "out.grad_k.npy", "out.npy", "upstream.npy", "x.npy"}
    assert {path.name for path in tmp_path.iterdir()} == want
    for refused, words in ((asked, "holds one array"), (("rank", "x.npy", "--grad-alpha", "-q"), "need --upstream")):
        done = run(*refused, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, b"")
        assert words in refusal(done.stderr)


# What cannot be used.


@pytest.mark.parametrize(
    ("layout", "beside", "words"),
    [
        ("npy", V[:, :5], r"upstream\.npy: has shape \(7, 5\), the scores have \(7, 6\)"),
        ("npy", V[:6], r"has shape \(6, 6\)"),
        ("npy", V.ravel(), r"has shape \(42,\)"),
        ("lists", V[:, :5], '"upstream" has 5 values for 6 scores'),
        ("wide", V[:, :5], r"matches 5 columns for 6"),
        *((layout, HOLE, "upstream.* is NaN or null") for layout in LAYOUTS),
    ],
)
def test_upstream_gradients_of_another_shape_or_with_holes_are_refused(tmp_path, layout, beside, words):
    source, named = put(layout, tmp_path, x=X, upstream=beside)
    before = sorted(tmp_path.iterdir())
    with pytest.raises((OptionError, DataError), match=words) as refused:
        run_file("rank", source, tmp_path / ("out.npy" if layout == "npy" else "out.csv"), **named)
    assert "\n" not in str(refused.value)
    assert sorted(tmp_path.iterdir()) == before


REFUSED = [
    ("spearman in.parquet", 2, "--target"),
    ("pearson in.parquet --target label", 2, "no loss 'pearson'", "spearman"),
    ("ndcg,pearson in.parquet --target label", 2, "no loss 'pearson'"),
    ("ndcg,ndcg in.parquet --target label", 2, "loss ndcg is asked for twice"),
    ("ndcg@ in.parquet --target label", 2, "ndcg@k needs its k, such as ndcg@10"),
    ("ndcg@ten in.parquet --target label", 2, "k must be a number"),
    ("ndcg@10 in.parquet --target label --gradient", 2, "ndcg@10 is a metric of hard orders, which has no gradient"),
    ("ndcg,mrr in.parquet --target label --gradient", 2, "mrr is a metric of hard orders, which has no gradient"),
    ("ndcg,topk in.parquet --target label", 2, "loss ndcg,topk needs one of --k"),
    ("mrr,spearman in.parquet --target label --k 2", 2, "takes no k"),
    ("lambda in.parquet --target label --weighting best", 2, "--weighting must be none, ranknet,", "got 'best'"),
    ("ranknet in.parquet --target label --mu 2", 2, "--mu is of use to lambda, not to ranknet"),
    ("lambda in.parquet --target label --eps 2", 2, "--eps must be from 0 to 1, got 2"),
    ("topk in.parquet --target label", 2, "loss topk needs one of --k"),
    ("recall in.parquet --target label", 2, "loss recall needs one of --k"),
    ("spearman in.parquet --target label --k 2", 2, "takes no k"),
    ("spearman in.parquet --target nothing", 2, 'no column "nothing"'),
    ("spearman in.parquet --target label --gain linear", 2, "--gain is of use to ndcg"),
    ("ndcg in.parquet --target label --gain log", 2, "--gain must be exp2 or linear"),
    ("spearman in.parquet --target label --reduction max", 2, "reduction must be"),
    ("spearman in.parquet --target label --gradient --reduction max", 2, "reduction must be"),
    ("spearman in.parquet --target label --grad-alpha", 2, "need --gradient"),
    ("spearman - --target label --gradient --reduction mean", 2, "reads its input twice"),
    ("ndcg in.parquet --target negative", 65, "ndcg needs targets of 0 or more, got -1", 'qid "q0"'),
    ("spearman in.parquet --target hole", 65, "in.parquet, row 9", '"hole" is NaN'),
]


@pytest.mark.parametrize(("command", "code", "words"), [(command, code, words) for command, code, *words in REFUSED])
def test_what_a_loss_cannot_use_is_one_line(tmp_path, monkeypatch, here, command, code, words):
    table = pq.read_table(long_table(tmp_path / "in.parquet"))
    label = table["label"].to_numpy()
    table = table.append_column("negative", pa.array(np.where(label == 3, -1, label)))
    pq.write_table(table.append_column("hole", pa.array(np.where(label == 9, np.nan, label))), tmp_path / "in.parquet")
    name, *options = command.split()
    options += ["--score", "score", "-q", "-o", "out.csv"]
    monkeypatch.chdir(tmp_path)
    found, said = here("loss", name, *options)
    assert found == code
    assert all(word in refusal(said.encode()) for word in words), said
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_the_losses_are_listed_and_defined():
    done = run("loss", "--list")
    lines = done.stdout.decode().partition("\n\n")[0].splitlines()
    names = [line.split("  ")[0] for line in lines]
    losses = [*dict.fromkeys(case.split()[0] for case in LOSSES)]
    assert losses == [name for name, entry in LISTED.items() if entry.stages == 1]
    assert (done.returncode, names) == (0, [*LISTED, *METRICS])
    square = [line.split()[0] for line in lines if "; n^2 steps" in line]
    of_classes = ["topk-cross-entropy"]
    assert square == ["ranknet", "lambda", "approx-ndcg", "neural-ndcg", "lcron", "arf", *of_classes, "kendall"]


# Several at once.


def test_several_losses_and_metrics_have_a_column_each(tmp_path):
    sample, asked = pq.read_table(SAMPLE), "ndcg,spearman,listnet,ndcg@10,ndcg@3,mrr"
    x, y = by_query(sample, "score", "label")
    counts = run_file("loss", SAMPLE, tmp_path / "out.parquet", loss=asked, target="label", gain="linear")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["qid", "loss_ndcg", "loss_spearman", "loss_listnet", "ndcg@10", "ndcg@3", "mrr"]
    for name, options in {"ndcg": {"gain": "linear"}, "spearman": {}, "listnet": {}}.items():
        want = getattr(lapsum, f"{name}_loss")(x, y, reduction="none", **options)
        np.testing.assert_array_equal(table[f"loss_{name}"].to_numpy(zero_copy_only=False), want)
    for name, options in {"ndcg@10": {"gain": "linear"}, "ndcg@3": {"gain": "linear"}, "mrr": {}}.items():
        want = lapsum.metric(name, x, y, reduction="none", **options)
        np.testing.assert_array_equal(table[name].to_numpy(zero_copy_only=False), want)
    assert [total.count for total in counts.totals] == [280] * 6
    run_file("loss", SAMPLE, tmp_path / "mean.parquet", loss=asked, target="label", gain="linear", reduction="mean")
    means = pq.read_table(tmp_path / "mean.parquet").to_pydict()
    assert means == {name: [pytest.approx(np.nanmean(table[name]))] for name in table.column_names[1:]}


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_several_gradients_are_those_of_each_alone(tmp_path, reduction):
    asked = {"gradient": True, "grad_alpha": True, "target": "label", "reduction": reduction}
    run_file("loss", SAMPLE, tmp_path / "both.parquet", loss="topk,ndcg,ranknet", k=5, **asked)
    both = pq.read_table(tmp_path / "both.parquet")
    for name, k in (("topk", 5), ("ndcg", 5), ("ranknet", None)):
        run_file("loss", SAMPLE, tmp_path / "one.parquet", loss=name, k=k, force=True, **asked)
        one = pq.read_table(tmp_path / "one.parquet")
        for column in ("grad", "grad_alpha"):
            np.testing.assert_array_equal(both[f"{column}_{name}"], one[column])


def test_a_k_column_is_of_the_losses_that_take_one(tmp_path):
    table = pa.table({"qid": [1, 1, 1, 2, 2], "score": [3.0, 1, 2, 1, 2], "y": [0, 1, 1, 1, 0], "k": [1, 1, 1, 2, 2]})
    pq.write_table(table, tmp_path / "in.parquet")
    run_file(
        "loss", tmp_path / "in.parquet", tmp_path / "out.parquet", loss="recall,recall@1", target="y", k_column="k"
    )
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["recall@1"].to_pylist() == [0, 0]
    assert found["loss_recall"].to_pylist() == pytest.approx([1, 0], abs=1e-3)


def test_what_takes_the_square_of_a_long_ranking_must_be_asked_for(tmp_path):
    x = np.arange(20_001.0)
    for name in ("ranknet", "lambda", "approx-ndcg"):
        with pytest.raises(DataError, match=rf"{name} takes n\^2 steps, 4e\+08 for its 20001 scores"):
            function(name)(x, x % 2)
    with pytest.raises(DataError, match="kendall takes n"):
        lapsum.metric("kendall", x, x % 2)
