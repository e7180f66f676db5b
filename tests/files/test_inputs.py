"""Several inputs are read as one: listed, by a pattern, or in a directory."""

import numpy as np
import pyarrow as pa
import pytest
from tables import get, long_table, put, rankings, ranks

from lapsum_cli import DataError, InputMissing, run_file


def test_a_ranking_may_continue_over_a_file_boundary(tmp_path):
    rows = rankings()
    table = long_table(rows)
    for i, (start, stop) in enumerate([(0, 20), (20, 21), (21, 60), (60, len(table))]):
        put(table.slice(start, stop - start), tmp_path / f"part-{i}.parquet")
    (tmp_path / "notes.txt").write_text("not a part")
    listed = [tmp_path / f"part-{i}.parquet" for i in range(4)]
    for sources in (listed, tmp_path, tmp_path / "part-*.parquet", tmp_path / "part-[0-3].parquet"):
        run_file("rank", sources, tmp_path / "out.arrow", alpha=0.3, force=True)
        result = get(tmp_path / "out.arrow")
        assert result.drop(["soft_rank"]).equals(table)
        np.testing.assert_array_equal(result["soft_rank"], ranks(rows, alpha=0.3))


def test_files_are_read_in_the_order_given(tmp_path):
    for name, qid in (("b", 1), ("a", 2)):
        put(pa.table({"qid": [qid] * 2, "score": [1.0, 2.0]}), tmp_path / f"{name}.parquet")
    run_file("rank", [tmp_path / "b.parquet", tmp_path / "a.parquet"], tmp_path / "out.arrow")
    assert get(tmp_path / "out.arrow")["qid"].to_pylist() == [1, 1, 2, 2]


def test_files_of_different_columns_are_refused(tmp_path):
    put(pa.table({"qid": [1], "score": [1.0]}), tmp_path / "a.parquet")
    put(pa.table({"qid": ["1"], "score": [1.0]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet.*differ.*a\.parquet.*has qid: string"):
        run_file("rank", tmp_path, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_files_of_different_formats_with_the_same_columns_are_one_input(tmp_path):
    sources = [put(long_table([np.arange(3.0)]), tmp_path / f"a.{format}") for format in ("parquet", "arrow")]
    run_file("rank", sources, tmp_path / "out.arrow", alpha=0.01)
    np.testing.assert_allclose(get(tmp_path / "out.arrow")["soft_rank"], [5.5, 3.5, 1.5] * 2)


def test_a_directory_without_parquet_is_no_input(tmp_path):
    with pytest.raises(InputMissing, match=r"no \.parquet"):
        run_file("rank", tmp_path, tmp_path / "out.csv")
