"""Top-k by magnitude: memberships of |x|, and gradients with the signs of the scores."""

import numpy as np
import pytest

import lapsum_cli as lapsum
from lapsum_cli import OptionError

X = np.array([3.0, -4.0, 0.5, -0.1, 2.0, 0.0])
V = np.array([1.0, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("method", ["lapsum", "sparse", "dftopk"])
def test_magnitudes_are_what_is_compared(method, largest):
    how = {"alpha": 0.7, "largest": largest, "method": method}
    assert np.array_equal(lapsum.soft_topk(X, 2, by="magnitude", **how), lapsum.soft_topk(np.abs(X), 2, **how))
    got, of_sizes = lapsum.soft_topk_vjp(X, 2, V, by="magnitude", **how), lapsum.soft_topk_vjp(np.abs(X), 2, V, **how)
    assert np.array_equal(got.scores, np.sign(X) * of_sizes.scores)
    assert got.alpha == of_sizes.alpha
    assert got.k == of_sizes.k


def test_a_spread_is_that_of_the_magnitudes():
    assert np.array_equal(
        lapsum.soft_topk(X, 2, by="magnitude", alpha="1std"), lapsum.soft_topk(np.abs(X), 2, alpha="1std")
    )


@pytest.mark.parametrize("largest", [True, False])
def test_padding_is_no_large_magnitude(largest):
    wide = np.append(X, -np.inf)
    got = lapsum.soft_topk(wide, 2, by="magnitude", alpha=0.7, largest=largest)
    assert got[-1] == 0
    assert np.array_equal(got[:-1], lapsum.soft_topk(X, 2, by="magnitude", alpha=0.7, largest=largest))


def test_files_and_what_goes_with_places_know_it(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"qid": [1] * 6, "score": X, "v": V}), tmp_path / "x.parquet")
    given = {"k": 2, "alpha": 0.7, "by": "magnitude"}
    lapsum.run_file(
        "topk", tmp_path / "x.parquet", tmp_path / "y.parquet", only_top=True, order=True, hard=True, **given
    )
    top = pq.read_table(tmp_path / "y.parquet").to_pydict()
    assert top["score"] == [-4, 3]
    assert top["hard_rank"] == [1, 2]
    lapsum.run_file("topk", tmp_path / "x.parquet", tmp_path / "g.parquet", upstream="v", **given)
    gradient = pq.read_table(tmp_path / "g.parquet").column("grad").to_numpy()
    np.testing.assert_array_equal(gradient, lapsum.soft_topk_vjp(X, 2, V, by="magnitude", alpha=0.7).scores)


def test_what_it_is_not_is_refused():
    with pytest.raises(OptionError, match="by= must be score or magnitude, got 'size'"):
        lapsum.soft_topk(X, 2, by="size")
    with pytest.raises(TypeError, match="soft_rank"):
        lapsum.soft_rank(X, by="magnitude")
