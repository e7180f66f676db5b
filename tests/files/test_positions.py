"""Soft-sorted scores of a table: rows are positions, and say so; what is by item stays with its item."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import TABLES, floats, get, put

import lapsum_cli
from lapsum_cli import OptionError, run_file
from lapsum_cli.stream import Silent

rows = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-1.5, 0.0, 0.5, 2.0, None, -np.inf])), max_size=40)
OPTIONS = {"group": "qid", "score": "score", "alpha": 0.5, "force": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("positions")


def table_of(drawn):
    scores = pa.array([score for _, score in drawn], pa.float64())
    return pa.table({"qid": [f"q{qid}" for qid, _ in drawn], "score": scores, "at": range(len(drawn))})


def written(folder, table, **options):
    pq.write_table(table, folder / "in.parquet", row_group_size=7)
    run_file("sort", folder / "in.parquet", folder / "out.parquet", **{**OPTIONS, **options})
    return pq.read_table(folder / "out.parquet")


def by_position(drawn, nan, descending):
    """(group, position, sorted score, the row of the item there) by plain Python, rankings as they began."""
    rankings = {}
    for at, (qid, score) in enumerate(drawn):
        rankings.setdefault(qid, []).append((score, at))
    for qid, items in rankings.items():
        if nan == "drop":
            items = [(score, at) for score, at in items if score is not None]
        worst = -np.inf if descending else np.inf
        items = [(worst if score is None else score, at) for score, at in items]
        x = np.array([score for score, _ in items], float)
        last = [score in (-np.inf, worst) for score, _ in items]  # padding is the last in either order
        order = sorted(range(len(x)), key=lambda i: (last[i], 0 if last[i] else -x[i] if descending else x[i]))
        soft = lapsum_cli.soft_sort(x, alpha=0.5, descending=descending)
        yield from ((f"q{qid}", at, y, items[i][1]) for at, (y, i) in enumerate(zip(soft, order, strict=True), 1))


@given(rows.filter(len), st.sampled_from(["drop", "last"]), st.booleans(), st.booleans())
def test_a_row_is_a_position_with_its_group_and_what_was_asked_for(folder, drawn, nan, descending, gathered):
    drawn = drawn if gathered else sorted(drawn, key=lambda row: row[0])
    options = {"nan": nan, "descending": descending, "sort_groups": gathered}
    found = written(folder, table_of(drawn), **options)
    want = list(by_position(drawn, nan, descending))
    assert found.schema.names == ["qid", "position", "soft_sort"]
    assert [found.schema.field(name).type for name in ("position", "soft_sort")] == [pa.int64(), pa.float64()]
    columns = [found[name].to_pylist() for name in found.schema.names]
    assert list(zip(*columns, strict=True)) == [row[:3] for row in want]
    kept = written(folder, table_of(drawn), keep=["at", "score", "qid"], **options)
    assert kept.schema.names == ["qid", "position", "at", "score", "soft_sort"]
    assert kept["at"].to_pylist() == [row[3] for row in want]
    assert kept.select(found.schema.names).equals(found)


@pytest.mark.parametrize("format", [*TABLES, "npy"])
def test_every_format_and_several_inputs(tmp_path, format):
    rng = np.random.default_rng(0)
    score = rng.standard_normal(60)
    table = pa.table({"qid": np.repeat(np.arange(6), 10), "docid": np.arange(60), "score": score})
    to = "parquet" if format == "npy" else format
    parts = [put(table.slice(i * 25, 25), tmp_path / f"{i}.{to}") for i in range(3)]
    sink = tmp_path / f"out.{format}"
    run_file("sort", parts, sink, **OPTIONS, keep="docid")
    want = lapsum_cli.soft_sort(score.reshape(6, 10), alpha=0.5).ravel()
    if format == "npy":  # an array has the result alone
        np.testing.assert_array_equal(np.load(sink), want)
        return
    found = get(sink)
    assert found.schema.names == ["qid", "position", "docid", "soft_sort"]
    np.testing.assert_allclose(floats(found["soft_sort"]), want, atol=1e-14)
    np.testing.assert_array_equal(floats(found["position"]), np.tile(np.arange(1, 11), 6))
    np.testing.assert_array_equal(floats(found["docid"]) // 10, np.repeat(np.arange(6), 10))


X = np.random.default_rng(1).standard_normal((4, 5))


@pytest.mark.parametrize(
    ("table", "options"),
    [
        (pa.table({"id": range(4), "score": list(X)}), {"score": "score"}),
        (pa.table({"id": range(4), **{f"s{i}": X[:, i] for i in range(5)}}), {"columns": "s*"}),
    ],
    ids=["lists", "wide"],
)
def test_a_ranking_in_a_row_is_sorted_in_its_row(tmp_path, table, options):
    put(table, tmp_path / "in.parquet")
    run_file("sort", tmp_path / "in.parquet", tmp_path / "out.parquet", alpha=0.5, **options)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(table.schema.names).equals(table)
    new = [found[name].to_pylist() for name in found.schema.names if name.startswith("soft_sort")]
    np.testing.assert_array_equal(new[0] if len(new) == 1 else np.transpose(new), lapsum_cli.soft_sort(X, alpha=0.5))


@pytest.mark.parametrize("x", [X, X[0]], ids=["rankings", "one ranking"])
def test_an_array_stays_one(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    run_file("sort", tmp_path / "x.npy", tmp_path / "out.npy", upstream=tmp_path / "x.npy", alpha=0.5)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), lapsum_cli.soft_sort(x, alpha=0.5))
    want = lapsum_cli.soft_sort_vjp(x, x, alpha=0.5).scores
    np.testing.assert_array_equal(np.load(tmp_path / "out.grad.npy"), want)


def test_a_gradient_is_by_item_and_stands_beside_it_without_what_is_by_position(tmp_path):
    table = pa.table({"qid": [1, 1, 1, 2], "score": [1.0, 3.0, 2.0, 5.0], "g": [1.0, 0.5, 0.25, 2.0]})
    found = written(tmp_path, table, upstream="g", grad_alpha=True)
    assert found.schema.names == ["qid", "score", "g", "grad", "grad_alpha"]
    want = lapsum_cli.soft_sort_vjp([[1.0, 3.0, 2.0], [5.0]], [[1.0, 0.5, 0.25], [2.0]], alpha=0.5)
    np.testing.assert_array_equal(found["grad"], np.concatenate(want.scores))
    assert written(tmp_path, table, upstream="g", column="mine").schema.names == [*table.schema.names, "mine"]


REFUSED = [
    ("sort", {"keep": "doc"}, 'no column "doc"'),
    ("sort", {"keep": "at", "upstream": "score"}, "keep every column"),
    ("rank", {"keep": "at"}, "rank takes no keep"),
    ("rank", {"gradient": True}, "rank takes no gradient=; name upstream="),
    ("permute", {"gradient": True}, "permute takes no gradient=$"),
    ("permute", {"upstream": "score"}, "permute takes no upstream=$"),
    ("sort", {"column": "position"}, '"position" already; choose another'),
    ("sort", {"column": "qid"}, '"qid" already; choose another'),
    ("sort", {"keep": "position"}, '"position" already; rename it'),
    ("sort", {"group": "position"}, '"position" already; rename it'),
    ("permute", {"group": "position"}, '"position" already; rename it'),
]


@pytest.mark.parametrize(("operation", "options", "words"), REFUSED)
def test_what_has_no_place_is_refused(tmp_path, operation, options, words):
    table = table_of([(1, 2.0), (1, 1.0)]).append_column("position", pa.array([1, 1]))
    put(table, tmp_path / "in.parquet")
    with pytest.raises(OptionError, match=words):
        run_file(operation, tmp_path / "in.parquet", tmp_path / "out.parquet", **{**OPTIONS, **options})
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_rows_that_wait_in_files_come_where_their_ranking_began(tmp_path, monkeypatch):
    from lapsum_cli.flow.budget import Budget

    monkeypatch.setattr(Budget, "lend", lambda budget: 5000)
    rng = np.random.default_rng(2)
    drawn = list(zip(rng.integers(0, 60, 1500).tolist(), rng.standard_normal(1500).tolist(), strict=True))
    found = written(tmp_path, table_of(drawn), sort_groups=True, keep="at", words=Silent())
    want = list(by_position(drawn, "last", True))
    assert list(zip(*(found[name].to_pylist() for name in ("qid", "position", "at")), strict=True)) == [
        (qid, position, at) for qid, position, _, at in want
    ]
    np.testing.assert_allclose(found["soft_sort"], [row[2] for row in want], rtol=1e-12)


SAID = {  # what help says of the rows of a result
    "rank": "Every row and column of the input stays, in its order",
    "topk": "Every row and column of the input stays, in its order",
    "sort": "a row for each position of a ranking, which is no row of the input",
    "permute": "Rankings and their items keep the input's order",
    "loss": "A row for each ranking, in the input's order",
    "quantile": "a row for each ranking, in the input's order",
}


def test_every_command_says_what_its_rows_are():
    from lapsum_cli.operations import OPERATIONS, operation_called

    assert set(SAID) == set(OPERATIONS)
    for name, words in SAID.items():
        assert words in " ".join((operation_called(name).__doc__ or "").split())
