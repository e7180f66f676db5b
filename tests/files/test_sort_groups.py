"""--sort-groups: rows in any order give the numbers that sorted rows give, in the order in which they came."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import put

from lapsum_cli import LapsumError, run_file
from lapsum_cli.flow.budget import Budget
from lapsum_cli.flow.spill import Buckets
from lapsum_cli.tables import gather
from lapsum_cli.tables.hashes import hashes

N = 1200
GROUPS = {
    "integers": lambda group: pa.array(group),
    "text": lambda group: pa.array([f"{g % 7}" * (g % 40) + str(g) for g in group]),
    "nulls": lambda group: pa.array([None if g == 3 else int(g) for g in group], pa.int32()),
    "floats": lambda group: pa.array(np.where(group % 2, group * 0.5, np.where(group % 3, -0.0, np.nan))),
    "decimals": lambda group: pa.array(group).cast(pa.decimal128(24, 2)),
    "times": lambda group: pa.array(group, pa.timestamp("ns")),
    "bytes": lambda group: pa.array([bytes([g % 256] * 4) for g in group], pa.binary(4)),
    "categories": lambda group: pa.array([f"c{g}" for g in group]).dictionary_encode(),
    "flags": lambda group: pa.array(group % 2 == 0),
}


def export(kind, n=N, groups=80):
    """Rows in time order: of a ranking some here and some there."""
    rng = np.random.default_rng(1)
    group = rng.integers(0, groups, n)
    columns = {"session": GROUPS[kind](group), "score": rng.standard_normal(n).astype("f4"), "at": np.arange(n)}
    columns |= {"label": rng.integers(0, 3, n), "g": rng.standard_normal(n).astype("f4"), "alpha": 0.1 + group % 2}
    return pa.table(columns | {"title": [f"title {i}" * (i % 9) for i in range(n)]})


def sorted_by_group(table, *by):
    """The rows of each group together, as they came; groups in the order in which they come first."""
    columns = [["null" if v is None or v != v else 0 if v == 0 else v for v in table[name].to_pylist()] for name in by]
    rows, first = list(zip(*columns, strict=True)), {}
    for row in rows:
        first.setdefault(row, len(first))
    return np.argsort([first[row] for row in rows], kind="stable")


def same(a, b):
    """Whether tables are equal, where NaN is itself."""
    return a.schema.equals(b.schema) and str(a.to_pylist()) == str(b.to_pylist())


@pytest.fixture(params=["in memory", "in files"])
def little(request, monkeypatch):
    """Whether rows have to wait in files, and buckets in finer ones."""
    if request.param == "in files":
        monkeypatch.setattr(Budget, "lend", lambda budget: 5000)


def result(folder, operation, table, **options):
    path, sink = folder / "in.parquet", folder / "out.parquet"
    pq.write_table(table, path, row_group_size=700)
    run_file(operation, path, sink, group="session", score="score", force=True, **options)
    return pq.read_table(sink)


OPERATIONS = {
    "rank": {},
    "quantile": {"q": 0.3, "gradient": True, "grad_q": True},
    "sort": {"upstream": "g"},
    "topk": {"k": 3, "grad_alpha": True, "upstream": "g", "threshold": True, "alpha_column": "alpha"},
}


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_numbers_of_sorted_rows_in_the_order_of_these(tmp_path, little, operation, kind):
    table, options = export(kind), OPERATIONS[operation]
    order = sorted_by_group(table, "session")
    want = result(tmp_path, operation, table.take(order), **options)
    got = result(tmp_path, operation, table, sort_groups=True, **options)
    assert same(got.take(order), want)
    with pytest.raises(LapsumError, match="run again with sort_groups=True"):
        result(tmp_path, operation, table, **options)


@pytest.mark.parametrize("kind", ["text", "floats"])
def test_results_that_are_not_beside_rows_come_where_their_ranking_began(tmp_path, little, kind):
    table = export(kind)
    order = sorted_by_group(table, "session")
    for operation, options in (
        ("topk", {"k": 2, "minimum": 0.5}),
        ("loss", {"loss": "ndcg", "target": "label"}),
        ("loss", {"loss": "spearman", "target": "label", "gradient": True, "reduction": "mean"}),
        ("loss", {"loss": "spearman", "target": "label", "reduction": "mean"}),
        ("quantile", {"q": "0.5,1"}),
        ("permute", {"item": "at"}),
    ):
        want = result(tmp_path, operation, table.take(order), **options)
        got = result(tmp_path, operation, table, sort_groups=True, **options)
        if operation == "topk":
            want = want.take(pc.sort_indices(want["at"]))
        if options.get("gradient"):
            want = want.take(np.argsort(order))
        if options.get("reduction") == "mean":  # a sum of as many terms in another order
            name = got.schema.names[-1]
            np.testing.assert_allclose(got[name], want[name], rtol=1e-6, atol=1e-9)
        else:
            assert same(got, want), operation


def test_several_columns_inputs_and_a_pipe(tmp_path, little):
    table = export("text").append_column("day", pa.array(np.arange(N) % 3))
    order = sorted_by_group(table, "session", "day")
    want = tmp_path / "sorted.parquet"
    pq.write_table(table.take(order), want)
    options = {"group": ["session", "day"], "score": "score", "force": True}
    run_file("rank", want, tmp_path / "want.parquet", **options)
    parts = [tmp_path / f"{i}.parquet" for i in range(3)]
    for i, part in enumerate(parts):
        pq.write_table(table.slice(N // 3 * i, N // 3), part)
    run_file("rank", parts, tmp_path / "got.parquet", sort_groups=True, **options)
    assert pq.read_table(tmp_path / "got.parquet").take(order).equals(pq.read_table(tmp_path / "want.parquet"))
    stream = put(table, tmp_path / "in.csv").read_bytes()
    command = [
        sys.executable,
        "-m",
        "lapsum_cli",
        "rank",
        "-",
        "--sort-groups",
        "--group",
        "session,day",
        "--to",
        "arrows",
    ]
    done = subprocess.run(command, input=stream, capture_output=True)
    assert done.returncode == 0, done.stderr
    ranks = pa.ipc.open_stream(done.stdout).read_all()["soft_rank"]
    np.testing.assert_allclose(ranks.take(order), pq.read_table(tmp_path / "want.parquet")["soft_rank"], atol=1e-4)


def test_a_message_names_the_row_of_the_input(tmp_path, little):
    table = export("text")
    parts = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    scores = table["score"].to_numpy().copy()
    scores[945] = np.nan
    table = table.set_column(1, "score", pa.array(scores))
    for part, start in zip(parts, (0, 600), strict=True):
        pq.write_table(table.slice(start, 600), part)
    message = rf'b.parquet, row 346 \(session "{table["session"][945]}"\): the score is NaN'
    with pytest.raises(LapsumError, match=message):
        run_file("rank", parts, tmp_path / "out.parquet", group="session", sort_groups=True)
    assert not (tmp_path / "out.parquet").exists()


def test_what_cannot_be_gathered_is_refused(tmp_path):
    table = export("text")
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(LapsumError, match="sort_groups=True is for a table with a row for each item"):
        run_file("rank", tmp_path / "in.parquet", tmp_path / "o.parquet", score="score", group=[], sort_groups=True)
    with pytest.raises(LapsumError, match=r"temp_dir=.* is no directory"):
        result(tmp_path, "rank", table, sort_groups=True, temp_dir=str(tmp_path / "none"))


def test_one_large_group_beside_small_ones(tmp_path, little):
    table = export("integers")
    session = np.where(np.arange(N) % 3 == 0, 7, np.arange(N))
    table = table.set_column(0, "session", pa.array(session))
    order = sorted_by_group(table, "session")
    got = result(tmp_path, "rank", table, sort_groups=True)
    assert got.take(order).equals(result(tmp_path, "rank", table.take(order)))


@pytest.mark.parametrize("few", [True, False])
def test_groups_that_share_a_hash_are_told_apart_or_refused(tmp_path, monkeypatch, few):
    table = export("text")
    order = sorted_by_group(table, "session")
    want = result(tmp_path, "rank", table.take(order))
    monkeypatch.setattr(gather, "hashes", lambda columns: np.full(len(columns[0]), 7, np.uint64))
    if few:
        assert result(tmp_path, "rank", table, sort_groups=True).take(order).equals(want)
        return
    monkeypatch.setattr(Budget, "lend", lambda budget: 5000)
    with pytest.raises(LapsumError, match="two groups share a hash"):
        result(tmp_path, "rank", table, sort_groups=True)


@given(st.lists(st.integers(0, 1 << 40), max_size=60), st.integers(1, 400), st.integers(1, 300))
def test_parts_hold_every_row_once_in_the_order_of_their_buckets(keys, limit, size):
    buckets = Buckets(limit, None, "key", 34)
    for i, key in enumerate(keys):
        buckets.add(pa.record_batch({"key": pa.array([key]), "row": pa.array([i])}))
    found = []
    for part, is_one in buckets.parts(size):
        batches = list(part)
        own = [(k, i) for b in batches for k, i in zip(b["key"].to_pylist(), b["row"].to_pylist(), strict=True)]
        assert is_one or sum(b.nbytes for b in batches) <= size or not own
        assert not is_one or len({k for k, _ in own}) == 1
        assert not found or not own or max(k for k, _ in found[-1]) < min(k for k, _ in own)
        found += [own] if own else []
    assert sorted(i for part in found for _, i in part) == list(range(len(keys)))


@pytest.mark.parametrize("kind", GROUPS)
def test_hashes_are_equal_where_values_are(kind):
    from lapsum_cli.tables.keys import comparable

    column = comparable(export(kind)["session"].combine_chunks())
    values = ["null" if v is None else v for v in column.to_pylist()]
    found = hashes([column])
    pairs = set(zip(values, found.tolist(), strict=True))
    assert len(pairs) == len(set(values)) == len(set(found.tolist()))
    np.testing.assert_array_equal(hashes([column.slice(5, 900)]), found[5:905])


@pytest.mark.faults
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_under_what_waits_is_one_line_and_leaves_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    pq.write_table(export("text", 600_000, 60_000), tmp_path / "in.parquet")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "lapsum", small], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        command = [sys.executable, "-m", "lapsum_cli", "rank", "in.parquet", "-o", "out.parquet", "--group", "session"]
        command += ["--score", "score", "--sort-groups", "--temp-dir", "small", "--memory", "256MiB", "-q"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (74, 1), done.stderr
        assert "a temporary file in small: writing failed: No space left on device" in done.stderr
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in.parquet", "small"]
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
