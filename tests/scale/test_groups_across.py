"""That no group is in two shards is proved from 8 bytes of each, in pieces; and the last row of a file is found."""

import contextlib
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from cut_tables import scored, written

from lapsum_cli import DataError, run_file
from lapsum_cli.api import returning
from lapsum_cli.flow.giant import over
from lapsum_cli.formats import text
from lapsum_cli.tables import groupsfile
from lapsum_cli.tables.groupsfile import GroupsFile, twice


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Files of groups, each of batches of groups, in runs of five."""
    monkeypatch.setattr(groupsfile, "_RUN", 5)

    def kept(*shards):
        paths = [str(tmp_path / f"{i}") for i in range(len(shards))]
        for path, batches in zip(paths, shards, strict=True):
            with open(path, "wb") as stream, contextlib.closing(GroupsFile(stream)) as file:
                for batch in batches:
                    file.add([_array(column) for column in batch])
        return paths

    return kept


def _array(values):
    return pa.array(values, pa.string() if any(isinstance(value, str) for value in values) else pa.int64())


def returned(paths, piece=1 << 20, run=map):
    return groupsfile.returned(paths, twice(paths, piece, run))


def sharing(paths, piece=1 << 20, run=map):
    return groupsfile.sharing(paths, twice(paths, piece, run))


def backwards(task, items):
    """As workers may be done."""
    return [task(item) for item in reversed(items)]


@pytest.mark.parametrize("run", [map, backwards, partial(over, threads=3)])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_group_of_two_files_is_found(kept, piece, run):
    drawn = np.random.default_rng(0)
    groups = drawn.permutation(200)
    shards = [[[part] for part in np.split(some, [3, 20])] for some in np.split(groups, [50, 51, 120])]
    assert not [*returned(kept(*shards), piece, run)]
    shards[2].append([[int(groups[10])]])
    paths = kept(*shards)
    assert [*returned(paths, piece, run)] == [(groupsfile.mixed(np.array([groups[10]])).item(), [0, 2])]
    assert sharing(paths, piece, run) == [0, 2]
    shards[3].append([[int(groups[50])]])
    assert sharing(kept(*shards), piece, run) == [0, 1, 2, 3]


def test_a_null_is_a_group_and_no_number_is_one(kept):
    numbers = [-1, 0, 2**63 - 1, -(2**63)]
    assert not [*returned(kept([[numbers]], [[[None, 5]]]))]
    assert [*returned(kept([[numbers]], [[[None]]], [[[7, None]]]))] == [(None, [1, 2])]
    assert not [*returned(kept([[["a", None]]], [[["b"]]]))]
    assert not [*returned(kept([[["a", "b"], [1, 1]]], [[["a", "b"], [2, 3]]]))]
    assert sharing(kept([[["a", "b"], [1, 1]]], [[["c", "b"], [2, 1]]])) == [0, 1]


def test_files_without_a_group_are_as_good_as_none(kept):
    assert not [*returned(kept([], [[[]]], [[[1]]]))]
    assert not [*returned([])]


def test_groups_that_share_64_bits_are_told_apart(tmp_path, monkeypatch):
    """Here all have the same, and one returns behind another that does not."""

    def alike(keys):
        return np.zeros(len(keys[0]), np.int64), np.zeros(len(keys[0]), bool)

    for module in (groupsfile, returning):
        monkeypatch.setattr(module, "key_hashes", alike)
    table = scored([3, 3, 3, 3])
    assert run_file("rank", written(table, tmp_path / "in", [3, 6]), f"{tmp_path}/out/").rankings == 4
    table = table.set_column(0, "qid", [list("aaabbbcccbbb")])
    with pytest.raises(
        DataError, match=r'p002\.parquet, row 4: qid "b" appears again .* at .*p001\.parquet, row 1; sort'
    ):
        run_file("rank", written(table, tmp_path / "again", [3, 6]), f"{tmp_path}/none/")


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize("quoted", [False, True])
def test_the_last_row_of_a_file_is_found_at_its_end(tmp_path, monkeypatch, format, quoted):
    """Or by reading all, where quotes may hold what looks like the end of a row."""
    monkeypatch.setattr(text, "_ENDING", 300)
    table = scored([40, 3, 60, 30])
    if quoted and format != "tsv":
        names = ['x\n"q99",1,2.0,0.0\n'] * len(table)
        table = table.append_column("title", pa.array(names))
    inputs = written(table, tmp_path / "in", [20, 41, 60, 99], format)
    plan = run_file("rank", inputs, f"{tmp_path}/out/", dry_run=True)
    parts = [[(part.first, part.stop) for part in shard.piece.parts] for shard in plan.shards]
    assert parts == [
        [(0, None), (0, 20)],
        [(20, None), (0, 2)],
        [(2, None), (0, 39), (0, 4)],
        [(0, 0)],
        [(4, None)],
    ]


def test_little_is_read_of_a_long_text_to_plan(tmp_path, monkeypatch):
    """No more than a block at its head, and its end."""
    table = scored([500] * 100)
    inputs = written(table, tmp_path / "in", [25_250], "csv")
    read = []
    monkeypatch.setattr(text, "BLOCK", 1 << 14)
    whole = text.Blocks._block

    def block(self):
        made = whole(self)
        read.append(len(made))
        return made

    monkeypatch.setattr(text.Blocks, "_block", block)
    plan = run_file("rank", inputs, f"{tmp_path}/out/", dry_run=True)
    assert [len(shard.piece.parts) for shard in plan.shards] == [2, 1]
    assert sum(read) < 0.5 * sum(path.stat().st_size for path in inputs)
