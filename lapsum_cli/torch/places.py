"""Where tensors are computed: the CPU, or the card that holds them, on PyTorch's stream and in its memory."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from .. import devices
from ..core.rankings import Rankings
from ..operations.operation import Operation

NOTHING = nullcontext()  # of a block that needs no more


def device_of(x: torch.Tensor) -> Any:
    """The CPU with as many threads as PyTorch has, or the card that holds x, on PyTorch's current stream."""
    if not x.is_cuda:
        return devices.choose("cpu", torch.get_num_threads())
    stream = torch.cuda.current_stream(x.device).cuda_stream
    return devices.lane((x.device.index, stream), lambda: _lane_of_torch(x.device, stream))


def alone(on: Any, operation: Operation, rankings: Rankings) -> Any:
    """While an operation has a card's lane to itself."""
    return on.alone(operation, rankings) if on.has_own_memory else NOTHING


def _lane_of_torch(device: torch.device, stream: int) -> Any:
    """A lane on a stream of PyTorch's, in its memory."""
    from ..kernels.cuda import adapter

    there = adapter.external_stream(stream)
    return adapter.Lane(there, supply_of_torch(device, there))


def supply_of_torch(device: torch.device, stream: Any) -> Any:
    """Arrays from PyTorch's allocator, which gives memory out again in the order of the stream."""
    from ..kernels.cuda import adapter, pool

    class Supply(pool.Supply):
        def empty(self, shape: Any, dtype: Any) -> Any:
            size = math.prod(shape) if isinstance(shape, tuple) else shape
            room = torch.empty(max(size, 1) * np.dtype(dtype).itemsize, dtype=torch.uint8, device=device)
            if size:
                return adapter.lent(room, room.data_ptr(), shape, dtype)
            return adapter.as_array(room).view(np.dtype(dtype))[:0].reshape(shape)

    return Supply(stream)


def doubts(on: Any, rankings: Rankings) -> Any:
    """What may be wrong with rankings that stay on the card, found out there; None where all is known to be right."""
    if not rankings.is_on_card or "target" in rankings.beside:
        return None
    doubts = on.kernels.doubts.Doubts.of(on.place)
    doubts.nan(rankings.values)
    if "k" in rankings.each:
        doubts.outside(rankings.each["k"], 0.0, np.inf)
    return doubts


def spoil(doubts: Any, *results: Any) -> None:
    """Results (some None) of what is wrong are NaN: nobody has waited to be told."""
    for result in results:
        if doubts is not None and result is not None:
            doubts.spoil(result)
