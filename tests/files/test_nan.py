"""NaN, null and infinity among the scores."""

import numpy as np
import pyarrow as pa
import pytest
from tables import get, put

from lapsum_cli import DataError, run_file

HOLES = [2.0, np.nan, 1.0, None, 3.0, 5.0, np.nan, 4.0]
HOLES_QID = [1, 1, 1, 1, 1, 2, 2, 2]


def with_holes(layout) -> pa.Table:
    scores = pa.array(HOLES, pa.float64())
    if layout == "long":
        return pa.table({"qid": HOLES_QID, "score": scores})
    if layout == "lists":
        return pa.table({"scores": pa.ListArray.from_arrays([0, 5, 8], scores)})
    return pa.table({f"s_{i}": scores[i : i + 1] for i in range(5)})


@pytest.mark.parametrize("layout", ["long", "lists", "wide"])
def test_nan_and_null_are_refused_ranked_last_or_dropped(tmp_path, layout):
    path = put(with_holes(layout), tmp_path / "in.parquet")
    columns = "s_*" if layout == "wide" else None

    def result(nan):
        sink = tmp_path / f"{nan}.arrow"
        summary = run_file("rank", path, sink, alpha=0.001, nan=nan, columns=columns)
        table = get(sink)
        if layout == "wide":
            return summary, [table[f"soft_rank_s_{i}"][0].as_py() for i in range(5)]
        column = table["soft_rank"].combine_chunks()
        return summary, (column if layout == "long" else column.flatten()).to_pylist()

    with pytest.raises(DataError, match="NaN or null"):
        result("error")
    assert not (tmp_path / "error.arrow").exists()
    first_only = 5 if layout == "wide" else 8
    summary, last = result("last")
    assert last == pytest.approx([2, 4.5, 3, 4.5, 1, 1, 3, 2][:first_only])
    summary, dropped = result("drop")
    assert summary.nan == (2 if layout == "wide" else 3)
    assert dropped == pytest.approx([2, None, 3, None, 1, 1, None, 2][:first_only])


@pytest.mark.parametrize("ascending", [False, True])
def test_nan_last_is_last_in_either_direction(tmp_path, ascending):
    path = put(pa.table({"score": [2.0, None, 1.0]}), tmp_path / "in.parquet")
    run_file("rank", path, tmp_path / "out.arrow", alpha=0.001, nan="last", descending=not ascending)
    assert get(tmp_path / "out.arrow")["soft_rank"].to_pylist() == pytest.approx([2, 3, 1] if ascending else [1, 3, 2])


def test_minus_infinity_masks_an_item(tmp_path):
    table = pa.table({"qid": [1] * 4 + [2] * 2, "score": [-np.inf, 2.0, 1.0, -np.inf, -np.inf, 7.0]})
    path = put(table, tmp_path / "in.parquet")
    run_file("topk", path, tmp_path / "top.arrow", alpha=0.5, k=2)
    assert get(tmp_path / "top.arrow")["soft_topk"].to_pylist() == [0, 1, 1, 0, 0, 1]
    run_file("rank", path, tmp_path / "ranks.arrow", alpha=0.001)
    assert get(tmp_path / "ranks.arrow")["soft_rank"].to_pylist() == pytest.approx([3.5, 1, 2, 3.5, 2, 1])
