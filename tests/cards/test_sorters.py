"""Who sorts on a card: what is left to radix sorts, and what cuda.compute is asked for, by a stand-in for it."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

# Of our own code alone, whose module needs a card or the simulator.
pytestmark = pytest.mark.simulated


@pytest.mark.parametrize(
    ("lengths", "by_radix"),
    [
        ([], []),
        ([100] * 10_000, []),
        ([0, 20_000], []),  # a block sorts it before a radix sort is launched
        ([1_000_000], [0]),
        ([100_000] * 1000, []),  # they fill the card
        ([1_000_000] * 100, []),
        ([1_000_000] * 5, [0, 1, 2, 3, 4]),
        ([10_000, 10_000_000, 300, 20_000_000], [1, 3]),
    ],
)
def test_long_rankings_are_sorted_alone_where_there_are_few(lengths, by_radix):
    from lapsum_cli.kernels.cuda import sorters

    assert sorters.alone(np.array(lengths, np.int64)).tolist() == by_radix


class Sorter:
    """A sorter of cuda.compute, as it is called: of keys alone, if it was built for values that are nowhere."""

    def __init__(self, name, kind, value):
        self.name, self.kind, self.has_values, self.calls = name, kind, int(value) != 0, 0

    def __call__(
        self, *, temp_storage, d_in_keys, d_out_keys, d_in_values, d_out_values, num_items, stream, **segments
    ):
        if temp_storage is None:
            return 1000
        assert (temp_storage.dtype, temp_storage.size) == (np.uint8, 1000)
        assert len(d_in_keys) == num_items
        self.calls += 1
        ends = [(0, num_items)]
        if self.name == "segmented_sort":
            ends = list(zip(segments["start_offsets_in"], segments["end_offsets_in"], strict=True))
            assert len(ends) == segments["num_segments"]
        for start, end in ends:
            order = np.argsort(d_in_keys[start:end], kind="stable")
            d_out_keys[start:end] = d_in_keys[start:end][order]
            if self.has_values:
                d_out_values[start:end] = d_in_values[start:end][order]


@pytest.fixture
def compute(monkeypatch, tmp_path):
    """A stand-in for cuda.compute, which counts what it builds and loads."""
    from lapsum_cli.kernels import cache
    from lapsum_cli.kernels.cuda import sorters

    module = ModuleType("cuda.compute")
    module.built, module.loaded = [], {}

    def make(name, **like):
        module.built.append((name, like["compute_capability"]))
        kind, value = like["d_in_keys"].dtype, like["d_in_values"].__cuda_array_interface__["data"][0]
        return SimpleNamespace(serialize=lambda: f"{name} {kind} {value}".encode())

    def deserialize(blob):
        name, kind, value = blob.decode().split()
        return module.loaded.setdefault((name, kind), Sorter(name, kind, value))

    module.SortOrder = SimpleNamespace(ASCENDING=0)
    module.make_radix_sort = lambda **like: make("radix_sort", **like)
    module.make_segmented_sort = lambda **like: make("segmented_sort", **like)
    module.deserialize = deserialize
    parent = ModuleType("cuda")
    parent.compute = module
    monkeypatch.setitem(sys.modules, "cuda", parent)
    monkeypatch.setitem(sys.modules, "cuda.compute", module)
    monkeypatch.setattr(sorters, "compute_capability", lambda: (9, 0))
    monkeypatch.setattr(sorters, "version", lambda package: "1.2.1")
    monkeypatch.setattr(sorters, "sorter", lambda: sorters._by_cccl)
    monkeypatch.setattr(sorters, "OF_SEGMENT", 1.2e3)
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    return module


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_team_sorts_what_fits_into_shared_memory(dtype, descending):
    from lapsum_cli.core.rankings import Rankings
    from lapsum_cli.kernels.cuda import adapter, order

    rng = np.random.default_rng(0)
    rows = [np.round(rng.standard_normal(n), 1).astype(dtype) for n in (3, 33, 0, 8, 9, 16, 1, 17, 32, 40)]
    rows[1][::5], rows[1][1::5] = -0.0, np.inf
    rankings, lane = Rankings.of(rows), adapter.Lane()
    y, places = (lane.get(found) for found in order.Order(lane, rankings, descending).sorted())
    for x, start, end in zip(rows, rankings.offsets, rankings.offsets[1:], strict=False):
        expected = np.argsort(-x if descending else x, kind="stable")
        np.testing.assert_array_equal(places[start:end], expected)
        np.testing.assert_array_equal(y[start:end], x[expected])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sorters_are_built_once_and_loaded_once_a_lane(compute, dtype):
    from lapsum_cli.core.rankings import Rankings
    from lapsum_cli.kernels.cuda import adapter, order

    rng = np.random.default_rng(0)
    rows = [np.round(rng.standard_normal(n), 1).astype(dtype) for n in (33, 100, 0, 34, 40, 2)]
    rankings = Rankings.of(rows)
    lanes = [adapter.Lane(), adapter.Lane()]
    for lane in (*lanes, lanes[0]):
        y, places = (lane.get(found) for found in order.Order(lane, rankings).sorted())
        for x, start, end in zip(rows, rankings.offsets, rankings.offsets[1:], strict=False):
            expected = np.argsort(-x, kind="stable")
            np.testing.assert_array_equal(places[start:end], expected)
            np.testing.assert_array_equal(y[start:end], x[expected])
    assert compute.built == [("radix_sort", (9, 0)), ("segmented_sort", (9, 0))]
    assert {name for name, _ in compute.loaded} == {"radix_sort", "segmented_sort"}
    assert [loaded.calls for loaded in compute.loaded.values()] == [3, 3]
