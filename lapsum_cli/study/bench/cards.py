"""The benchmark on a card, whose scores are there already, and whose results stay there.

lapsum      what kernels.cuda makes of them, as a call on arrays of the card does once it has looked for NaN. Results
            are new arrays, and nothing waits
graph       the same launches, of a top-k, captured once by PyTorch as a CUDA graph, and replayed
copy        what lapsum reads, copied from the card to the card
to card     the scores, from pinned memory
from card   the scores, to pinned memory

All of it is enqueued on one stream, and timed by events there: launching counts. Each run takes the next of several
copies of the inputs, so that the cache of the card does not hold them.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...core.errors import DeviceError, is_out_of_memory
from ...core.rankings import Rankings
from ...core.reference import soft_count
from ...devices.card import Card
from ...kernels.cuda import adapter
from ...kernels.cuda.repeating import Repeating
from .cases import EVEN, Case, Measured
from .check import MANY, WrongResult, check_output
from .clock import Side, between_events, take_turns
from .counting import Counting
from .peers import Peer

ROTATED, MOST_COPIES = 256 << 20, 64  # bytes of inputs that runs take in turn, if so many copies are enough
SHARE = 0.25  # of the free memory, for copies
PATIENCE = 2.0  # seconds that a library may take where lapsum takes milliseconds (CuPy, of many rankings)


def measure(
    case: Case,
    peers: list[Peer],
    runs: int,
    notice: Callable[[str], None],
    more: Callable[[Work], dict[str, Side]] = lambda work: {},
    evened: Case | None = None,
) -> Measured:
    """The times of lapsum, of copies, and of every peer that has something in place of the operation.

    A wrong output is an error, and has no time. notice is told why a side has none; `more` makes further sides; evened
    is a case like it whose rankings are of one length.
    """
    gc.collect()  # a lane and its layout refer to each other: the memory of the case before
    with _enough_memory(case):
        work, inputs, outputs = _checked(case)
        sides, remarks = {"lapsum": work.side(work.run), **_copies(work, inputs[0])}, []
        if evened:
            beside, *_ = _checked(evened)
            sides[EVEN] = beside.side(beside.run)
        peers = [peer for peer in peers if case.operation in peer.work(case.shape.kind, on_card=True)]
        if case.operation in ("topk", "log-topk") and any(peer.name == "torch" for peer in peers):
            try:
                sides["graph"] = _graph(work, outputs[0])
            except Exception as error:  # whatever PyTorch, Numba and the driver may raise
                remarks.append(f"{case} has no graph: {' '.join(str(error).split())[:200]}")
                notice(remarks[-1])
        for peer in peers:
            side = _of_peer(work, peer)
            if (seconds := side().seconds) < PATIENCE:
                sides[peer.name] = side
            else:
                remarks.append(f"{case} is left out for {peer.name}, which takes {seconds:.0f} s")
                notice(remarks[-1])
        sides |= more(work)
        moved = sum(array.nbytes for array in (*inputs, *outputs))
        return Measured(case, take_turns(sides, runs), moved, remarks=remarks)


def _checked(case: Case) -> tuple[Work, list[np.ndarray], list[np.ndarray]]:
    """A case on the card, with its inputs and outputs here, once these are right."""
    inputs = case.inputs()
    work = Work.of(case, inputs)
    outputs = [case.shape.formed(work.lane.get(array)) for array in work.run(0)]
    check_output(case, inputs, outputs, count=Counting(work.lane) if case.shape.longest > MANY else soft_count)
    return work, inputs, outputs


@contextlib.contextmanager
def _enough_memory(case: Case) -> Iterator[None]:
    """A card without it is an error of one line; Numba, PyTorch and CuPy have words of their own for that."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(f"{case}: the card has not enough memory; give a smaller --shape") from None


@dataclass(frozen=True)
class Work:
    """A case on a card: copies of its inputs, and what the kernels make of one of them."""

    case: Case
    lane: adapter.Lane
    copies: list[list]  # each the inputs (N,)
    turns: Iterator[int]  # whose copy is next
    offsets: np.ndarray

    @classmethod
    def of(cls, case: Case, inputs: list[np.ndarray]) -> Work:
        """The inputs go to the card, flat, as often as ROTATED, MOST_COPIES and its free memory have it."""
        lane, size = adapter.Lane(), sum(array.nbytes for array in inputs)
        free = int(SHARE * min(adapter.free_bytes(), 1 << 50))
        count = max(1, min(MOST_COPIES, math.ceil(ROTATED / size), free // size))
        copies = [[lane.put(array.reshape(-1)) for array in inputs] for _ in range(count)]
        return cls(case, lane, copies, itertools.cycle(range(count)), case.shape.offsets)

    def run(self, copy: int, lane: adapter.Lane | None = None) -> list:
        """The results (N,) for one of the copies, on the card; by default on the lane of all sides."""
        lane, (scores, *upstream) = lane or self.lane, self.copies[copy]
        beside = {"upstream": upstream[0]} if upstream else {}
        result = Card(lane).compute(self.case.made(), Rankings(scores, self.offsets, beside))
        return list(result.values.values())

    def side(self, function: Callable[[int], object], within: Callable[[], Any] = contextlib.nullcontext) -> Side:
        """Runs of function(number of a copy), whose launches go to the stream of the lane."""
        return between_events(lambda: function(next(self.turns)), self.lane.stream, adapter.here.event, within)


def _copies(work: Work, scores: np.ndarray) -> dict[str, Side]:
    """What it takes to copy the inputs on the card, and the scores there and back."""
    supply, copies = work.lane.supply, work.copies
    targets = [work.lane.empty(array.shape, array.dtype) for array in copies[0]]
    pinned = adapter.here.pinned_array(scores.size, scores.dtype)
    np.copyto(pinned, scores.reshape(-1))

    def copy(i: int) -> None:
        for target, array in zip(targets, copies[i], strict=True):
            supply.copy(array, target)

    return {
        "copy": work.side(copy),
        "to card": work.side(lambda i: supply.send(pinned, copies[i][0])),
        "from card": work.side(lambda i: supply.fetch(copies[i][0], pinned)),
    }


def _of_peer(work: Work, peer: Peer) -> Side:
    """What a library makes of the same memory, on the same stream."""
    share, within = peer.on_stream(work.lane.stream)
    shape, function = (work.case.rankings, work.case.length), peer.on_card[work.case.operation]
    shared = [share(scores.reshape(shape)) for scores, *_ in work.copies]
    return work.side(lambda i: function(work.case, shared[i]), within)


def _graph(work: Work, expected: np.ndarray) -> Side:
    """Replays of the launches, a graph for each copy; each is replayed once and must give what was checked."""
    import torch

    from .peers.torch import on_stream

    stream, (_, within) = torch.cuda.Stream(), on_stream(work.lane.stream)
    lane = Repeating(adapter.external_stream(stream.cuda_stream))
    lane.learn(partial(work.run, 0, lane))
    graphs = []
    for i in range(len(work.copies)):
        graphs.append(torch.cuda.CUDAGraph())
        with adapter.here.defer_cleanup(), torch.cuda.graph(graphs[i], stream=stream):
            [result] = lane.again(partial(work.run, i, lane))
        result.copy_to_device(np.zeros(result.shape, result.dtype))
        lane.wait()
        with within():
            graphs[i].replay()
        if not np.array_equal(work.lane.get(result).reshape(expected.shape), expected):
            raise WrongResult("what it gives is not what its launches gave")
    kept = graphs, lane  # whose memory the graphs write to
    return work.side(lambda i: kept[0][i].replay(), within)
