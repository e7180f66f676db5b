"""Whether kernels for a GPU can run here, simulated or on a card; and a lane that launches nothing but keeps count."""

import os
from unittest import mock

import numpy as np

from lapsum_cli.devices import machine

IS_SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0"
RUNS_CUDA = machine.cuda_problem() is None


class Held:
    """An array that stands for one on a card."""

    def __init__(self, array):
        self.array = array
        self.dtype, self.shape, self.size = array.dtype, array.shape, array.size

    def __len__(self):
        return len(self.array)

    def __getitem__(self, part):
        return Held(self.array[part])

    def view(self, dtype):
        return Held(self.array.view(dtype))

    def reshape(self, shape):
        return Held(self.array.reshape(shape))

    def copy_to_host(self):
        return self.array

    def copy_to_device(self, array, stream=0):
        pass


def counting_lane(launched):
    """A lane whose arrays are in memory here: launched(kernel, threads, bytes of shared memory, arguments) is told."""
    from lapsum_cli.kernels.cuda import adapter

    class Lane(adapter.Lane):
        def __init__(self):
            super().__init__(stream=0)
            self.bytes = 0

        def empty(self, shape, dtype):
            made = np.zeros(shape, dtype)
            self.bytes += made.nbytes
            return Held(made)

        def put(self, array, name=None):
            if not isinstance(array, np.ndarray):
                return array
            if name:  # what crosses the bus has a room
                return self.room(name, array.shape, array.dtype)
            self.bytes += array.nbytes
            return Held(np.ascontiguousarray(array))

        def get(self, array, out=None):
            return array.array

        def get_all(self, arrays):
            return [array.array for array in arrays]

        def launch(self, function, blocks, threads, rows, *arguments):
            launched(function, threads, rows * threads * 8, arguments)

    return Lane()


def run_every_operation(lane, offsets, dtype):
    """Launch the kernels for scores of this dtype: all of them, for three rankings of one length and for a long one."""
    from lapsum_cli.kernels.cuda import sorters

    with mock.patch.object(sorters, "sorter", return_value=mock.Mock()):  # a library's kernels are not ours
        run_kernels_of_lapsum(lane, offsets, dtype)
        run_loops_of_teams(lane, offsets, dtype)


def run_kernels_of_lapsum(lane, offsets, dtype):
    """Those that are written for a card."""
    from lapsum_cli.core.rankings import Rankings
    from lapsum_cli.kernels.cuda import deviations, doubts, numbers, order, padding, permute, rank, sort, tiles, topk

    n, m = int(offsets[-1]), len(offsets) - 1
    x, alphas, ks = np.zeros(n, dtype), np.ones(m), np.ones(m)
    rankings = Rankings(x, offsets)
    for log in (False, True):
        _, cuts = topk.soft_topk(lane, rankings, ks, alphas, True, log)
        topk.topk_gradient(lane, rankings, x, cuts, alphas, True, int(log))
        for of_each in (alphas, alphas * 1e39):  # of float32 scores the latter ask for float64
            _, cuts = topk.soft_topk(lane, rankings, ks, of_each, True, log, upstream=x)
            topk.topk_gradient(lane, rankings, x, cuts, of_each, True, int(log))
    best_first = order.Order(lane, rankings)
    rank.soft_rank(best_first, alphas, 1, dtype, x)
    rank.soft_rank(best_first, alphas, 1, np.float64)
    sort.soft_sort(best_first, alphas, x)
    sort.soft_sort(best_first, alphas)
    if m == 3:
        permute.dense(best_first, alphas)
    found, constant = deviations.in_units(lane, deviations.spreads(lane, rankings, "mad"), 0.1, None)
    topk.soft_topk(lane, rankings, ks, found, True)
    numbers.clear(lane, constant, found)
    topk.thresholds(lane, cuts, alphas)
    there = lane.put(x)
    of_all = doubts.Doubts.of(lane)
    of_all.nan(there)
    of_all.spoil(there)
    of_all.beyond(there, 1.0)
    padding.count(lane, Rankings(there, offsets), np.inf)
    padding.put_back(lane, padding.last(lane, there), offsets, np.ones(m))
    tiles.OnTiles.of(lane, offsets).clear(np.ones(m, bool), lane.put(x))


def run_loops_of_teams(lane, offsets, dtype):
    """Those that are written for every device: of other methods, and of losses."""
    from lapsum_cli.core.rankings import Rankings
    from lapsum_cli.devices.card import Card
    from lapsum_cli.kernels import cuda, losses
    from lapsum_cli.operations import LOSSES, METRICS
    from lapsum_cli.operations.loss_choices import READS, LossChoices

    n, m = int(offsets[-1]), len(offsets) - 1
    x, alphas, ks, target = np.zeros(n, dtype), np.ones(m), np.ones(m), np.zeros(n)
    for operation in _by_methods():
        operation.compute(Rankings(x, offsets, {"upstream": x}), Card(lane))
    target[::2] = 1.0  # two grades
    how = {name: read(LossChoices()) for name, read in READS.items()}
    rankings = Rankings(x, offsets)
    few = Rankings(x[: min(n, 1000)], np.minimum(offsets, 1000))
    for entry in (*LOSSES.values(), *METRICS.values()):
        loss, k, keep = losses.find(entry.module), None if entry.k == "none" else ks, entry.is_soft
        of = (
            few if entry.is_square or entry.module.endswith(".permutation") else rankings
        )  # one thread takes equal targets
        given = (of, target[: of.values.size], alphas, k, how)
        _, state = losses.forward(cuda, lane, loss, *given, descending=True, keep=keep)
        if keep:
            losses.backward(cuda, lane, loss, state)


def _by_methods():
    """Top-ks by every other method that knows a card, with all that they give there."""
    from lapsum_cli.core.quantities import Alpha, K
    from lapsum_cli.operations import METHODS, method_called, methods_of
    from lapsum_cli.operations.topk import TopK

    for name in methods_of("topk")[1:]:
        way = method_called(name, "topk").ways["topk"]
        if "cuda" in way.devices:
            has_threshold, ks = hasattr(way.forward.__self__._kernels, "thresholds"), (K(1.0),)
            given = {"gradient": True, "grad_alpha": True, "grad_k": True, "threshold": has_threshold}
            given |= {"method": name, "alpha": Alpha(1.0), "ks": ks if METHODS[name].takes_k else ()}
            yield from (TopK(**given, log=log) for log in (False, True))
