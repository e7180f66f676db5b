"""What a device is to those who compute on one, whichever it is."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:  # NumPy
    from .rankings import Array, Rankings


class Device(Protocol):
    """Who computes an operation on rankings, as a whole or in pieces.

    batch           bytes of a batch of rows on its way to it
    has_own_memory  whether scores that are here have to be copied there
    """

    name: ClassVar[str]
    batch: ClassVar[int]
    has_own_memory: ClassVar[bool]

    def compute(self, operation: Any, rankings: Rankings, results: bool = True) -> Any:
        """Every slot that an operation gives; results: whether its own result is read."""

    def has_nan(self, values: Array) -> bool:
        """Whether any number is NaN."""

    def wait(self) -> None:
        """Until results are there."""


class DeviceWithKernels(Device, Protocol):
    """A device whose kernels and memory the passes of an operation use."""

    @property
    def kernels(self) -> ModuleType:
        """The table of kernels: modules by the names that all devices use."""

    @property
    def place(self) -> Any:
        """Where kernels run: their first argument."""

    @property
    def host(self) -> DeviceWithKernels:
        """Who computes on arrays in this machine's memory."""

    def numbers(self, values: Array) -> Array:
        """Numbers of rankings (m,), which may be one for all with a stride of 0, as kernels take them."""

    def home(self, values: Array | None, like: Rankings) -> Array | None:
        """The values where the scores are."""

    def here(self, rankings: Rankings) -> Rankings:
        """The rankings in this machine's memory."""

    def here_array(self, values: Array) -> Array:
        """An array in this machine's memory."""

    def clear(self, values: Array, rankings: Rankings, chosen: Any) -> None:
        """Set the values (N,) of the chosen rankings (m,) to 0."""

    def clear_numbers(self, values: Array, chosen: Array) -> None:
        """Set the numbers (m,) of the chosen rankings (m,) to 0."""

    def here_numbers(self, named: dict[Any, Any]) -> dict[Any, Any]:
        """What there is one of for each ranking, in this machine's memory."""
