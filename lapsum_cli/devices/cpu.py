"""The cores of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, ClassVar

from ..core.rankings import Array, Rankings, has_nan


@dataclass(frozen=True)
class Cpu:
    """A device: the CPU. part: how many scores of a long ranking make one task; by default what is quickest."""

    threads: int = 1
    part: int | None = None

    name: ClassVar[str] = "cpu"
    batch: ClassVar[int] = 8 << 20  # bytes of a batch: small ones keep every stage busy, and more only waits
    has_own_memory: ClassVar[bool] = False

    @cached_property
    def kernels(self) -> ModuleType:
        """The table of kernels: modules by the names that both devices use."""
        from ..kernels import cpu

        return cpu

    @cached_property
    def place(self) -> Any:
        """Where kernels run: their first argument."""
        from ..kernels.cpu.parallel import PART, Cores

        return Cores(self.threads, self.part or PART)

    @property
    def host(self) -> Cpu:
        """Who computes on arrays in this machine's memory."""
        return self

    def compute(self, operation: Any, rankings: Rankings, results: bool = True) -> Any:
        """Every slot that an operation gives."""
        return operation.compute(rankings, self, results)

    def numbers(self, values: Array) -> Array:
        """Numbers of rankings (m,) as kernels take them: each in its place."""
        import numpy as np

        return np.ascontiguousarray(values)

    def home(self, values: Array | None, like: Rankings) -> Array | None:
        """The values where the scores are."""
        return values

    def here(self, rankings: Rankings) -> Rankings:
        """The rankings in this machine's memory."""
        return rankings

    def here_array(self, values: Array) -> Array:
        """An array in this machine's memory."""
        return values

    def clear(self, values: Array, rankings: Rankings, chosen: Any) -> None:
        """Set the values (N,) of the chosen rankings (m,) to 0."""
        import numpy as np

        values[np.repeat(chosen, rankings.lengths)] = 0

    def clear_numbers(self, values: Array, chosen: Array) -> None:
        """Set the numbers (m,) of the chosen rankings (m,) to 0."""
        values[chosen] = 0

    def here_numbers(self, named: dict[Any, Any]) -> dict[Any, Any]:
        """What there is one of for each ranking, in this machine's memory."""
        return named

    def has_nan(self, values: Array) -> bool:
        """Whether any number is NaN."""
        return has_nan(values)

    def wait(self) -> None:
        """Until results are there."""
