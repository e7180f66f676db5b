"""A card, an NVIDIA GPU: one stream of it, for rankings in memory here or there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import cached_property
from types import ModuleType
from typing import Any, ClassVar

from ..core.errors import DeviceError, is_out_of_memory
from ..core.rankings import Array, Rankings
from . import machine
from .cpu import Cpu


class Card:
    """A device: a lane of a card, which is one thread's at a time. Results come back to memory here, unless the scores
    are on the card: then they stay. Numbers of rankings stay on the card until all is computed, and come here then.
    """

    name: ClassVar[str] = "cuda"
    batch: ClassVar[int] = 64 << 20
    has_own_memory: ClassVar[bool] = True

    def __init__(self, lane: Any):
        self.place, self.lock = lane, threading.RLock()

    @property
    def kernels(self) -> ModuleType:
        """The table of kernels: modules by the names that both devices use."""
        from ..kernels import cuda

        return cuda

    @cached_property
    def host(self) -> Cpu:
        """Who computes on arrays in this machine's memory."""
        return Cpu(machine.cores())

    @contextlib.contextmanager
    def alone(self, operation: Any, rankings: Rankings) -> Iterator[None]:
        """While an operation has the lane to itself: its rooms are whoever's asks for them.

        A card without room for it is a DeviceError that says how much is needed.
        """
        with self.lock:
            self.place.begin()
            try:
                yield
            except Exception as error:  # the driver's, or that of a library that sorts
                if isinstance(error, MemoryError) or not is_out_of_memory(error):
                    raise
                self.place.drop()
                scores = int(rankings.offsets[-1])
                needed = scores * operation.card_bytes(rankings.values.dtype.itemsize) >> 20
                raise DeviceError(
                    f"out of memory on the GPU: {scores} scores need {needed} MiB there for {operation.name}; "
                    "pass fewer at a time, or use the CPU"
                ) from None

    def compute(self, operation: Any, rankings: Rankings, results: bool = True) -> Any:
        """Every slot that an operation gives."""
        with self.alone(operation, rankings):
            result = operation.compute(rankings, self, results)
            if self.place.doubts is not None and self.place.doubts.read():
                self.place.begin(knows_alphas=True)
                result = operation.compute(rankings, self, results)
            return result

    def numbers(self, values: Array) -> Array:
        """Numbers of rankings (m,) as kernels take them: one for all, with a stride of 0, is sent as one."""
        return values

    def home(self, values: Array | None, like: Rankings) -> Array | None:
        """The values where the scores are."""
        if values is None:
            return None
        with self.lock:
            return self.place.put(values) if like.is_on_card else self.here_array(values)

    def here(self, rankings: Rankings) -> Rankings:
        """The rankings in this machine's memory."""
        return Rankings(self.here_array(rankings.values), rankings.offsets) if rankings.is_on_card else rankings

    def here_array(self, values: Array) -> Array:
        """An array in this machine's memory."""
        import numpy as np

        if isinstance(values, np.ndarray):
            return values
        with self.lock:
            return self.place.get(values)

    def clear(self, values: Array, rankings: Rankings, chosen: Any) -> None:
        """Set the values (N,) of the chosen rankings (m,) to 0, wherever they are."""
        import numpy as np

        from ..kernels.cuda import tiles

        if isinstance(values, np.ndarray):
            values[np.repeat(chosen, rankings.lengths)] = 0
            return
        with self.lock:
            tiles.OnTiles.of(self.place, rankings.offsets).clear(chosen, values)

    def clear_numbers(self, values: Array, chosen: Array) -> None:
        """Set the numbers (m,) of the chosen rankings (m,) to 0, wherever they are."""
        import numpy as np

        from ..kernels.cuda import numbers

        if isinstance(values, np.ndarray):
            values[self.here_array(chosen)] = 0
            return
        with self.lock:
            numbers.clear(self.place, chosen, values)

    def here_numbers(self, named: dict[Any, Any]) -> dict[Any, Any]:
        """What there is one of for each ranking, in this machine's memory; waits once."""
        there = [name for name, values in named.items() if hasattr(values, "copy_to_host")]
        with self.lock:
            return named | dict(zip(there, self.place.get_all([named[name] for name in there]), strict=True))

    def has_nan(self, values: Array) -> bool:
        """Whether any number on the card is NaN."""
        from ..kernels.cuda import doubts

        with self.lock:
            return doubts.has_nan(self.place, values)

    def cast(self, values: Array, dtype: Any) -> Array:
        """An array on the card in another dtype."""
        from ..kernels.cuda import topk

        with self.lock:
            return values if values.dtype == dtype else topk.cast(self.place, values, dtype)

    def wait(self) -> None:
        """Until results are there: nothing tells another library's stream to do so."""
        with self.lock:
            self.place.wait()
