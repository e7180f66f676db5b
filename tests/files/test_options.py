"""What an option changes in the result."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import LENGTHS, floats, get, long_table, members, put, rankings, ranks

from lapsum_cli import run_file, soft_topk


@pytest.fixture
def long(tmp_path):
    """Run an operation on a long table of two short rankings; returns the table that comes out."""
    rows = [np.array([0.0, 3.0, 1.0, 2.0]), np.array([5.0, 4.0])]
    put(
        pa.table(
            {
                "qid": [1, 1, 1, 1, 2, 2],
                "score": np.concatenate(rows),
                "soft": [0.5] * 4 + [2.0] * 2,
                "quota": [2] * 4 + [1] * 2,
            }
        ),
        tmp_path / "in.parquet",
    )

    def result(operation, **options):
        run_file(operation, tmp_path / "in.parquet", tmp_path / "out.parquet", score="score", force=True, **options)
        return pq.read_table(tmp_path / "out.parquet")

    result.rows = rows
    return result


def test_alpha_is_in_the_unit_of_the_scores_or_in_their_deviations(long):
    plain, relative = (long("rank", alpha=alpha)["soft_rank"].to_numpy() for alpha in ("0.5", "0.5std"))
    np.testing.assert_array_equal(plain, ranks(long.rows, alpha=0.5))
    np.testing.assert_allclose(relative, ranks([row / row.std() for row in long.rows], alpha=0.5))
    assert np.abs(plain - relative).max() > 0.01
    np.testing.assert_array_equal(long("rank")["soft_rank"], ranks(long.rows, alpha="0.1std"))


def test_alpha_and_k_may_come_from_a_column(long):
    got = long("topk", alpha_column="soft", k_column="quota")["soft_topk"].to_numpy()
    first, second = long.rows
    want = np.concatenate([soft_topk(first, 2, alpha=0.5), soft_topk(second, 1, alpha=2.0)])
    np.testing.assert_array_equal(got, want)


def test_alpha_and_k_may_come_from_a_column_of_text_files_and_of_lists(tmp_path):
    lines = [("a", 1.0, 0.5, 1), ("a", 2.0, 0.5, 1), ("b", 1.0, 2, 2), ("b", 4.0, 2, 2), ("b", 2.0, 2, 2)]
    table = pa.table(dict(zip(("qid", "score", "soft", "quota"), zip(*lines, strict=True), strict=True)))
    run_file("topk", put(table, tmp_path / "in.csv"), tmp_path / "a.csv", alpha_column="soft", k_column="quota")
    lists = pa.table({"scores": [[1.0, 2.0], [1.0, 4.0, 2.0]], "soft": [0.5, 2], "quota": [1, 2]})
    path = put(lists, tmp_path / "lists.parquet")
    run_file("topk", path, tmp_path / "b.parquet", alpha_column="soft", k_column="quota", score="scores")
    want = [*soft_topk(np.array([1.0, 2.0]), 1, alpha=0.5), *soft_topk(np.array([1.0, 4.0, 2.0]), 2, alpha=2.0)]
    np.testing.assert_array_equal(floats(get(tmp_path / "a.csv")["soft_topk"]), want)
    np.testing.assert_array_equal(get(tmp_path / "b.parquet")["soft_topk"].combine_chunks().flatten(), want)


def test_several_k_give_a_column_each(long):
    result = long("topk", k="1,2.5", alpha=0.5)
    assert result.column_names[-2:] == ["soft_topk_1", "soft_topk_2.5"]
    np.testing.assert_array_equal(result["soft_topk_1"], members(long.rows, 1, alpha=0.5))
    np.testing.assert_array_equal(result["soft_topk_2.5"], members(long.rows, 2.5, alpha=0.5))
    assert set(result["soft_topk_2.5"].to_pylist()[4:]) == {1.0}  # a ranking of two has no more to give


def test_k_may_be_a_share_of_each_ranking(long):
    got = long("topk", k="50%", alpha=0.5)["soft_topk"].to_numpy()
    assert [got[:4].sum(), got[4:].sum()] == pytest.approx([2, 1])


def test_ascending_turns_the_order_round_and_base_counts_from_zero(long):
    down, up, zero = (
        long("rank", alpha=0.01, **options)["soft_rank"].to_numpy().round(6).tolist()
        for options in ({}, {"descending": False}, {"base": 0})
    )
    assert down == [4, 1, 3, 2, 1, 2]
    assert up == [1, 4, 2, 3, 2, 1]
    assert zero == [3, 0, 2, 1, 0, 1]
    least = long("topk", k=1, alpha=0.01, largest=False)["soft_topk"].to_numpy().round(6).tolist()
    assert least == [1, 0, 0, 0, 0, 1]


def test_min_leaves_out_items_of_low_membership(long):
    every = long("topk", k=1, alpha=0.5)
    some = long("topk", k=1, alpha=0.5, minimum=0.1)
    kept = every.filter(pa.compute.greater_equal(every["soft_topk"], 0.1))
    assert 0 < len(some) < len(every)
    assert some.equals(kept)


def test_threshold_is_where_membership_is_one_half(long):
    result = long("topk", k=1, alpha=0.5, threshold=True)
    b = result["threshold"].to_numpy()
    assert len(np.unique(b)) == 2
    z = (result["score"].to_numpy() - b) / 0.5
    laplace = np.where(z <= 0, 0.5 * np.exp(-np.abs(z)), 1 - 0.5 * np.exp(-np.abs(z)))
    np.testing.assert_allclose(result["soft_topk"], laplace, atol=1e-12)
    assert long("topk", k="1,2", threshold=True).column_names[-2:] == ["threshold_1", "threshold_2"]


def test_column_names_the_result(long):
    assert long("rank", column="place").column_names[-1] == "place"
    assert long("topk", k="1,2", column="p").column_names[-2:] == ["p_1", "p_2"]


def test_groups_of_several_columns(tmp_path):
    table = pa.table({"day": [1, 1, 1, 2, 2], "user": ["a", "a", "b", "b", "b"], "score": [1.0, 2.0, 9.0, 4.0, 3.0]})
    run_file("rank", put(table, tmp_path / "in.csv"), tmp_path / "out.csv", group=["day", "user"], alpha=0.01)
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [2, 1, 1, 1, 2])


def test_a_null_group_is_a_group(tmp_path):
    table = pa.table({"qid": pa.array([None, None, 1, 1], pa.int64()), "score": [1.0, 2.0, 9.0, 4.0]})
    run_file("rank", put(table, tmp_path / "in.parquet"), tmp_path / "out.csv", alpha=0.01)
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [2, 1, 1, 2])


@pytest.mark.parametrize("name", ["score", "Score", "SCORE", "logit"])
@pytest.mark.parametrize("format", ["parquet", "csv", "jsonl"])
def test_the_score_is_found_by_its_usual_names(tmp_path, name, format):
    table = pa.table({"QID": ["1", "1", "2"], name: [1, 2, 3], "x": [0.5, 0.25, 0.125]})
    run_file("rank", put(table, tmp_path / f"in.{format}"), tmp_path / "out.csv", alpha=0.01)
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [2, 1, 1])


def test_without_a_group_the_table_is_one_ranking(tmp_path):
    table = pa.table({"item": list("abc"), "score": [1.0, 3.0, 2.0]})
    summary = run_file("rank", put(table, tmp_path / "in.csv"), tmp_path / "out.csv", alpha=0.01)
    assert summary.rankings == 1
    np.testing.assert_allclose(floats(get(tmp_path / "out.csv")["soft_rank"]), [3, 1, 2])


def test_rankings_shorter_than_k_are_counted(tmp_path):
    path = put(long_table(rankings()), tmp_path / "in.parquet")
    assert run_file("topk", path, tmp_path / "out.arrow", k=3).short == sum(n < 3 for n in LENGTHS)
