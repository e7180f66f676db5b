"""Where an operation is computed: the same methods on the cores of the CPU, and on a card, an NVIDIA GPU.

An operation asks a processor for soft ranks, sorts, memberships and their gradients, and does not know which it is.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass

from ..core.errors import BadRanking, DeviceError
from ..core.rankings import Rankings


@dataclass(frozen=True)
class Cpu:
    """The cores of this machine. part: how many scores of a long ranking make one task; by default what is quickest."""

    threads: int = 1
    part: int | None = None

    name = "cpu"
    batch = 8 << 20  # bytes of a batch of rankings: small ones keep every stage busy, and more only waits

    @property
    def cores(self):
        from ..kernels.cpu.parallel import PART, Cores

        return Cores(self.threads, self.part or PART)

    def run(self, operation, rankings, given, dtype=None):
        """What the operation makes of the rankings."""
        return operation.apply(rankings, given, dtype, self)

    def standard_deviations(self, rankings):
        """(m,) of the finite scores of each ranking."""
        from ..kernels.cpu import deviations as spread

        return spread.standard_deviations(self.cores, rankings)

    def order(self, rankings, descending, keep=False):
        """The rankings best first, which ranks, sorts and permutations are made of."""
        from ..kernels.cpu import order

        return order.Order(self.cores, rankings, descending, keep)

    def soft_rank(self, order, alphas, base=1, dtype=None, upstream=None):
        from ..kernels.cpu import rank

        return rank.soft_rank(order, alphas, base, dtype, upstream)

    def soft_sort(self, order, alphas, upstream=None):
        from ..kernels.cpu import sort

        return sort.soft_sort(order, alphas, upstream)

    def soft_topk(self, rankings, ks, alphas, largest, log, upstream=None):
        """Memberships, and the cuts that a gradient needs; upstream: of one that follows, where it is known."""
        from ..kernels.cpu import topk

        return topk.soft_topk(self.cores, rankings, ks, alphas, largest, log)

    def topk_gradient(self, rankings, upstream, cuts, alphas, largest, log):
        from ..kernels.cpu import topk
        from ..kernels.scalars import cut

        slope = cut.LOGARITHM if log else cut.MEMBERSHIP
        return topk.topk_gradient(self.cores, rankings, upstream, cuts, alphas, largest, slope)

    def thresholds(self, cuts, alphas, largest):
        from ..kernels.cpu import topk

        return topk.thresholds(self.cores, cuts, alphas, largest)

    def boundaries(self, order, alphas):
        from ..kernels.cpu import permute

        return permute.boundaries(order, alphas)

    def loss(self, name, rankings, target, alphas, ks=None, exponential=True, gradient=True, descending=True):
        """Losses (m,), and gradients for scores (N,) and alpha (m,), or None."""
        from ..kernels import cpu

        how = {"exponential": exponential}
        return _loss(cpu, self.cores, name, rankings, target, alphas, ks, how, descending, gradient)

    def without_constant(self, constant, rankings, gradient, to_alpha) -> None:
        """Set the gradients of constant rankings to 0: no direction is better than another, and there is no scale."""
        import numpy as np

        if constant is not None and constant.any():
            gradient[np.repeat(constant, rankings.lengths)] = 0
            to_alpha[constant] = 0

    def here(self, rankings):
        """The rankings in this machine's memory."""
        return rankings

    def wait(self) -> None:
        """Until results that are on a card are there."""


def _loss(kernels, place, name, rankings, target, alphas, ks, how, descending, gradient):
    from ..kernels import losses

    loss = losses.find(name)
    found, state = losses.forward(kernels, place, loss, rankings, target, alphas, ks, how, descending, keep=gradient)
    return found, *(losses.backward(kernels, place, loss, state) if gradient else (None, None))


def _alone(method):
    """A method during which the lane is the thread's alone: its rooms are whoever's asks for them."""

    @functools.wraps(method)
    def locked(self, *args, **kwargs):
        with self.lock:
            return method(self, *args, **kwargs)

    return locked


class Gpu:
    """One stream of a card. Results come back to memory here, unless the scores are on the card: then they stay.

    Numbers of rankings, such as alphas and losses, are here in any case.
    """

    name = "cuda"

    def __init__(self, lane):
        self.lane, self.lock = lane, threading.RLock()

    @_alone
    def run(self, operation, rankings, given, dtype=None):
        self.lane.begin()
        try:
            return operation.apply(rankings, given, dtype, self)
        except Exception as error:  # the driver's, or that of a library that sorts
            if isinstance(error, MemoryError) or "out of memory" not in str(error).lower().replace("_", " "):
                raise
            self.lane.drop()
            scores = int(rankings.offsets[-1])
            needed = scores * operation.card_bytes(rankings.values.dtype.itemsize) >> 20
            raise DeviceError(
                f"out of memory on the GPU: {scores} scores need {needed} MiB there for {operation.name}; "
                "pass fewer at a time, or use the CPU"
            ) from None

    @_alone
    def standard_deviations(self, rankings):
        from ..kernels.cuda import deviations as spread

        return spread.standard_deviations(self.lane, rankings)

    def order(self, rankings, descending, keep=False):
        from ..kernels.cuda import order

        return order.Order(self.lane, rankings, descending, keep)

    @_alone
    def soft_rank(self, order, alphas, base=1, dtype=None, upstream=None):
        from ..kernels.cuda import rank

        ranks, gradient, to_alpha = rank.soft_rank(order, alphas, base, dtype, upstream)
        return self._back(order, ranks), self._back(order, gradient), to_alpha

    @_alone
    def soft_sort(self, order, alphas, upstream=None):
        from ..kernels.cuda import sort

        values, gradient, to_alpha = sort.soft_sort(order, alphas, upstream)
        return self._back(order, values), self._back(order, gradient), to_alpha

    @_alone
    def soft_topk(self, rankings, ks, alphas, largest, log, upstream=None):
        from ..kernels.cuda import topk

        memberships, cuts = topk.soft_topk(self.lane, rankings, ks, alphas, largest, log, upstream)
        return self._back(rankings, memberships), cuts

    @_alone
    def topk_gradient(self, rankings, upstream, cuts, alphas, largest, log):
        from ..kernels.cuda import topk
        from ..kernels.scalars import cut

        slope = cut.LOGARITHM if log else cut.MEMBERSHIP
        gradient, to_k, to_alpha = topk.topk_gradient(self.lane, rankings, upstream, cuts, alphas, largest, slope)
        return self._back(rankings, gradient), to_k, to_alpha

    @_alone
    def thresholds(self, cuts, alphas, largest):
        from ..kernels.cuda import topk

        return topk.thresholds(self.lane, cuts, alphas, largest)

    @_alone
    def boundaries(self, order, alphas):
        from ..kernels.cuda import permute

        return permute.boundaries(order, alphas)

    @_alone
    def dense_permutation(self, order, alphas):
        """The matrices (m, n, n) of rankings of one length, on the card."""
        from ..kernels.cuda import permute

        return permute.dense(order, alphas)

    @_alone
    def loss(self, name, rankings, target, alphas, ks=None, exponential=True, gradient=True, descending=True):
        from ..kernels import cuda

        given = (name, rankings, target, alphas, ks, {"exponential": exponential}, descending, gradient)
        found, gradient, to_alpha = _loss(cuda, self.lane, *given)
        return found, self._back(rankings, gradient), to_alpha

    @_alone
    def without_constant(self, constant, rankings, gradient, to_alpha) -> None:
        from ..kernels.cuda import tiles

        if not rankings.is_on_card:
            Cpu().without_constant(constant, rankings, gradient, to_alpha)
        elif constant is not None and constant.any():
            tiles.Layout.of(self.lane, rankings.offsets).clear(constant, gradient)
            to_alpha[constant] = 0

    @_alone
    def here(self, rankings):
        if not rankings.is_on_card:
            return rankings
        return Rankings(self.lane.get(rankings.values), rankings.offsets)

    @_alone
    def has_nan(self, values) -> bool:
        from ..kernels.cuda import tiles

        return tiles.has_nan(self.lane, values)

    @_alone
    def cast(self, values, dtype):
        from ..kernels.cuda import topk

        return values if values.dtype == dtype else topk.cast(self.lane, values, dtype)

    def wait(self) -> None:
        self.lane.wait()

    @_alone
    def warm_up(self, operation, tiny, given) -> None:
        """Run every kernel that the operation may need, on tiny rankings and on a long one."""
        import numpy as np

        from ..kernels.cuda import adapter, tiles

        self.run(operation, tiny, given)
        if not adapter.IS_SIMULATED:
            long = np.arange(tiles.LONG + 1, dtype=tiny.values.dtype)
            beside = type(given)(upstream=long, target=long.astype(np.float64))
            self.run(operation, Rankings.equal_length(long, 1, len(long)), beside)

    def _back(self, given, result):
        """The result where the scores are."""
        import numpy as np

        return self.lane.get(result) if result is not None and isinstance(given.values, np.ndarray) else result


PIECE = 1 << 20  # scores that cross the bus at a time: enough that launches take less time than copies


class GpuInPieces:
    """A card for rankings in memory here: pieces of a batch are copied there, computed and copied back.

    Each lane has a thread that takes its pieces in turn: while the card computes one lane's, another's cross the bus. A
    ranking that the card has no room for is computed by the CPU, and `say` is told.
    """

    name = "cuda"
    batch = 64 << 20

    def __init__(self, lanes: list[Gpu], free, cpu: Cpu, say=lambda line: None):
        """free: a function that tells how many bytes the card has left."""
        self.lanes, self.free, self.cpu, self.say, self.told = lanes, free, cpu, say, False

    def run(self, operation, rankings, given, dtype=None):
        from concurrent.futures import ThreadPoolExecutor

        cost, count = operation.card_bytes(rankings.values.itemsize), min(len(self.lanes), max(1, len(rankings)))
        free = self.free() + sum(gpu.lane.held for gpu in self.lanes[:count])
        room = int(0.8 * min(free, 1 << 50)) // count // cost
        shortest = rankings.lengths.min(initial=1 << 62, where=rankings.lengths > 0)
        whole = not operation.in_pieces or shortest > room  # where none fits they are one task of the CPU
        pieces = self._cut(rankings, len(rankings.values) + 1 if whole else min(PIECE, room))

        def compute(turn):
            return [
                self._piece(operation, rankings, given, dtype, piece, room, cost, self.lanes[turn])
                for piece in pieces[turn::count]
            ]

        if len(pieces) == 1:
            results = compute(0)
        else:
            with ThreadPoolExecutor(count) as pool:
                shares = list(pool.map(compute, range(count)))
            results = [shares[i % count][i // count] for i in range(len(pieces))]
        for result in results:
            if isinstance(result, BadRanking):
                raise result
        return results[0] if len(results) == 1 else operation.joined(results)

    @staticmethod
    def _cut(rankings, most: int) -> list[tuple[int, int]]:
        """Ranges of whole rankings of at most so many scores, or of a single one."""
        import numpy as np

        pieces, first = [], 0
        while first < len(rankings):
            last = int(np.searchsorted(rankings.offsets, rankings.offsets[first] + most, side="right")) - 1
            pieces.append((first, max(last, first + 1)))
            first = pieces[-1][1]
        return pieces or [(0, 0)]

    def wait(self) -> None:
        """Results are in memory here."""

    def warm_up(self, operation, tiny, given) -> None:
        self.lanes[0].warm_up(operation, tiny, given)

    def _piece(self, operation, rankings, given, dtype, piece, room, cost, gpu):
        """The result of a piece; or what is wrong with one of its rankings, of which the first of all is to be told."""
        first, last = piece
        begin, end = int(rankings.offsets[first]), int(rankings.offsets[last])
        if (first, last) != (0, len(rankings)):
            rankings = rankings.piece(first, last)
            given = given.piece(slice(first, last), slice(begin, end))
        fits = end - begin <= room
        if not fits and not self.told:
            self.told = True
            self.say(
                f"{end - begin} scores need {(end - begin) * cost >> 20} MiB on the card, which has "
                f"{int(self.free()) >> 20} MiB free: the CPU computes them, and whatever else has no room"
            )
        try:
            return (gpu if fits else self.cpu).run(operation, rankings, given, dtype)
        except BadRanking as error:
            return BadRanking(error.ranking + first, error.problem)
