"""NPY: an array in, an array out; tables where all rankings are of one length."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import opened
from tables import get, long_table, put, rankings, ranks, rng

from lapsum_cli import DataError, OptionError, run_file, soft_rank, soft_topk
from lapsum_cli.formats.files import Part

# NPY: (dtype, shape); the header is of version 1 unless it is said to be 2.
ARRAYS = [
    ("float16", (30, 7)),
    ("float32", (1000,)),
    ("float32", (300, 40)),
    ("float64", (5, 1)),
    (">f8", (30, 7)),
    (">f4", (50,)),
    ("<f2", (64,)),
    ("float32", (0,)),
    ("float32", (0, 9)),
    ("float64", (9, 0)),
]


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize(("dtype", "shape"), ARRAYS)
def test_npy_in_gives_npy_of_the_same_shape(tmp_path, dtype, shape, version):
    x = rng().normal(size=shape).astype(dtype)
    with (tmp_path / "x.npy").open("wb") as out:
        np.lib.format.write_array(out, x, version=version)
    native = x.astype(x.dtype.newbyteorder("="))
    for name, want, options in [
        ("rank", soft_rank(native, alpha=0.3), {}),
        ("topk", soft_topk(native, 2, alpha=0.3), {"k": 2}),
    ]:
        run_file(name, tmp_path / "x.npy", tmp_path / f"{name}.npy", alpha=0.3, **options)
        got = np.load(tmp_path / f"{name}.npy")
        assert (got.shape, got.dtype) == (shape, want.dtype)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("to", ["parquet", "csv", "jsonl"])
def test_an_array_becomes_a_table(tmp_path, to):
    x = rng().normal(size=(20, 3))
    np.save(tmp_path / "x.npy", x)
    run_file("rank", tmp_path / "x.npy", tmp_path / f"out.{to}", alpha=0.3)
    result = get(tmp_path / f"out.{to}").to_pylist()
    read = json.loads if to == "csv" else lambda value: value
    np.testing.assert_array_equal([read(row["score"]) for row in result], x)
    np.testing.assert_array_equal([read(row["soft_rank"]) for row in result], soft_rank(x, alpha=0.3))


def test_a_table_becomes_an_array_where_its_rankings_are_of_one_length(tmp_path):
    x = rng().normal(size=(20, 3)).astype(np.float32)
    even = pa.table({"id": np.arange(20), "scores": pa.array(list(x), pa.list_(pa.float32()))})
    run_file("rank", put(even, tmp_path / "even.parquet"), tmp_path / "even.npy", alpha=0.3)
    np.testing.assert_array_equal(np.load(tmp_path / "even.npy"), soft_rank(x, alpha=0.3))
    rows = rankings()
    run_file("rank", put(long_table(rows), tmp_path / "long.csv"), tmp_path / "long.npy", alpha=0.3)
    np.testing.assert_array_equal(np.load(tmp_path / "long.npy"), ranks(rows, alpha=0.3))
    uneven = pa.table({"scores": [[1.0], [1.0, 2.0]]})
    with pytest.raises(DataError, match="1 and 2 scores"):
        run_file("rank", put(uneven, tmp_path / "uneven.parquet"), tmp_path / "uneven.npy")
    assert not (tmp_path / "uneven.npy").exists()


def test_npy_files_hold_one_result_each(tmp_path):
    path = put(long_table(rankings()), tmp_path / "in.parquet")
    run_file("topk", path, tmp_path / "out.npy", k="1,2")
    run_file("topk", path, tmp_path / "out.parquet", k="1,2")
    table = pq.read_table(tmp_path / "out.parquet")
    assert np.array_equal(np.load(tmp_path / "out.npy"), table["soft_topk_1"])
    assert np.array_equal(np.load(tmp_path / "out.soft_topk_2.npy"), table["soft_topk_2"])
    with pytest.raises(OptionError, match="soft_topk_1, soft_topk_2"):
        run_file("topk", path, "/dev/stdout", k="1,2", to_format="npy")


def test_a_row_of_more_scores_than_a_list_holds_is_refused(tmp_path):
    with open(tmp_path / "x.npy", "wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "<f2", "fortran_order": False, "shape": (1, 2**31)})
        out.truncate(out.tell() + 2 * 2**31)  # a hole, which takes no place on a disk
    with pytest.raises(DataError, match="rows of 2147483648 scores, and 2147483647 are the most; save each as"):
        run_file("rank", tmp_path / "x.npy", tmp_path / "out.npy")


def replaced(path, scores):
    """Another array under this name."""
    np.save(path.with_name("other.npy"), scores)
    path.with_name("other.npy").replace(path)


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (4, 5), (5, 3)])
@pytest.mark.parametrize("which", [0, 1])
def test_rows_that_are_read_by_their_places_are_those_of_the_shape_that_was_seen(tmp_path, shape, which):
    """A file that is replaced before its first row is read would be cut elsewhere."""
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for path in paths:
        np.save(path, np.arange(15.0).reshape(3, 5))
    with opened(*paths) as source:
        source.unroll(5)
        replaced(paths[which], np.ones(shape))
        rows = source.again(None, Part(str(paths[which]), 5, 10))
        with pytest.raises(DataError, match=r"was written to while it was read|its columns differ"):
            list(rows)


def test_a_part_is_let_go_of_when_reading_it_ends_early(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 1_000_000)))
    with opened(tmp_path / "a.npy", memory=240 << 20) as source:
        source.unroll(1_000_000)
        before = open_files()
        rows = source.again(None, Part(str(tmp_path / "a.npy"), 1_000_000, 2_000_000))
        first = next(rows)
        assert (first.row, open_files() - before) == (1_000_001, 0)  # one for that which was open before
        rows.close()
        assert open_files() == before - 1


def open_files():
    return sum("a.npy" in os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd"))
