"""Small calls on a card that are made again and again: their launches as two CUDA graphs, forward and backward.

A call of a few thousand scores takes a card some 20 us, and the host, which launches a dozen kernels through Python, a
millisecond. So the second call of a kind (an operation, a shape, what is given as tensors) captures its launches on
arrays of its own, and every later one copies what it was given there, has the driver launch all of it at once, and
copies what came of it. The numbers are the same to the bit: they are the same launches.

Between forward and backward a pair of graphs is one call's alone; a kind has as many pairs as calls of it were under
way at once. What cannot be captured, since it waits for numbers of the card, is launched as it was.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch

from ..operations.operation import Operation
from . import passes
from .places import supply_of_torch
from .tensors import tensor_of

LARGEST = 1 << 20  # scores of a call up to which the host takes longer than the card
ROOM, LEAST = 1 << 23, 1 << 15  # scores of all pairs of graphs that are kept; what a pair counts at least
KINDS = 1024  # that are known
AGAIN = 2  # the call of a kind that captures it: those before it compile, and many kinds are seen but once

Given = dict[str, torch.Tensor]


class Pair:
    """A forward pass as a graph and, if it is kept, its way back as another, on tensors that stay where they are."""

    def __init__(self, operation: Operation, rows: torch.Tensor, each: Given, keep: bool):
        from ..devices.card import Card
        from ..kernels.cuda import adapter
        from ..kernels.cuda.repeating import Repeating

        stream = torch.cuda.Stream(rows.device)
        same = adapter.external_stream(stream.cuda_stream)
        lane = Repeating(same, supply_of_torch(rows.device, same))
        on, self.rows = Card(lane), rows.clone()
        self.each = {name: given.clone() for name, given in each.items()}
        self.upstream: Any = torch.ones_like(self.rows)

        def there() -> Any:
            return passes.forward(operation, self.rows, self.each, None, on, keep)

        def back(passed: passes.Passed) -> Any:
            return passes.backward(passed, self.upstream, on)

        def both() -> None:
            _, passed = there()
            if keep:
                back(passed)

        torch.cuda.current_stream(rows.device).synchronize()  # what is cloned is there
        with torch.cuda.stream(stream):
            lane.learn(both)
            self._there, (made, passed) = lane.again(lambda: _captured(there))
            self.result = tensor_of(made.values, rows, rows.shape)
            if keep:
                self._back, (of_scores, *ends) = _captured(lambda: back(passed))
                self.gradient = tensor_of(of_scores, rows, rows.shape)
                self.ends = [
                    tensor_of(end, rows, torch.Size([len(end)])) if name in each else None
                    for name, end in zip(("alpha", "k"), ends, strict=True)
                ]
        self._kept = lane, passed  # all that is read and written on the card

    def forward(self, rows: torch.Tensor, each: Given) -> torch.Tensor:
        """The results, a fresh tensor."""
        self.rows.copy_(rows)
        for name, given in each.items():
            self.each[name].copy_(given)
        self._there.replay()
        return self.result.clone()

    def backward(self, upstream: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """The gradient for scores, and those for alpha and k, None for what is no tensor: fresh tensors."""
        self.upstream.copy_(upstream)
        self._back.replay()
        return self.gradient.clone(), [None if end is None else end.clone() for end in self.ends]


def _captured(work: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
    """The launches of some work, which are not done, and what it gives."""
    from ..kernels.cuda import adapter

    graph = torch.cuda.CUDAGraph()
    with adapter.here.defer_cleanup():  # memory that Numba frees would end it
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            made = work()
        finally:
            graph.capture_end()
    return graph, made


class Lease:
    """A pair of graphs while a call has it; it goes back to those that are free once nobody keeps the lease."""

    def __init__(self, pair: Pair, free: list[Pair]):
        self._pair, self._free = pair, free
        self.forward, self.backward = pair.forward, pair.backward

    def __del__(self) -> None:
        self._free.append(self._pair)


class _Kind:
    """Calls that the same graphs can stand for. free: None once these cannot be captured."""

    def __init__(self, scores: int) -> None:
        self.calls, self.made, self.room = 0, 0, max(scores, LEAST)
        self.free: list[Pair] | None = []


_KINDS: OrderedDict[Hashable, _Kind] = OrderedDict()
_KINDS_ARE_READ = threading.RLock()  # and captured: a pair that was seen to be free is not another thread's by then


def lease(operation: Operation, rows: torch.Tensor, each: Given, keep: bool) -> Lease | None:
    """Graphs for a call of contiguous rows (..., n) on a card; None where it is launched kernel by kernel."""
    if not 0 < rows.numel() <= LARGEST or torch.cuda.is_current_stream_capturing():
        return None
    stream = torch.cuda.current_stream(rows.device).cuda_stream
    which = operation, rows.shape, rows.dtype, rows.device.index, stream, tuple(each), keep
    with _KINDS_ARE_READ:
        return _lease(which, operation, rows, each, keep)


def _lease(which: Hashable, operation: Operation, rows: torch.Tensor, each: Given, keep: bool) -> Lease | None:
    kind = _KINDS.setdefault(which, _Kind(rows.numel()))
    _KINDS.move_to_end(which)
    if len(_KINDS) > KINDS:
        _KINDS.popitem(last=False)
    kind.calls += 1
    if kind.calls < AGAIN or kind.free is None:
        return None
    if not kind.free:
        if not _has_room(kind.room):
            return None
        try:
            with torch.inference_mode(False), torch.no_grad():  # tensors of that mode could not be written later
                pair = Pair(operation, rows, each, keep)
        except Exception:  # it waits, or whatever else PyTorch and the driver refuse while they capture
            kind.free = None
            return None
        kind.made += 1
        kind.free.append(pair)
    return Lease(kind.free.pop(), kind.free)


def _has_room(scores: int) -> bool:
    """Whether a pair for so many may be made, once kinds that were not called for long gave theirs up."""
    while sum(kind.made * kind.room for kind in _KINDS.values()) + scores > ROOM:
        idle = next((kind for kind in _KINDS.values() if kind.free), None)
        if idle is None or idle.free is None:
            return False
        idle.free.pop()
        idle.made -= 1
    return True
