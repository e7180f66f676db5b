"""The one module that imports numba.cuda: how kernels are declared, and a lane, which is a stream with its memory.

Declarations are lazy: a module of kernels imports without a driver, and each kernel compiles for the card on its first
launch. The package numba-cuda takes the place of numba.cuda where it is installed, and Numba's simulator where
NUMBA_ENABLE_CUDASIM is set, which runs every line of a kernel in Python.
"""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import cuda as numba_cuda
from numba import types
from numpy.typing import DTypeLike

from ...core.rankings import Array
from .. import jit
from ..scalars import functions

# numba-cuda 0.30 asks NumPy for this alias when it first compiles, and NumPy 2.5 has it no more.
vars(np).setdefault("row_stack", np.vstack)

here = numba_cuda  # what is asked for outside kernels
Shape = int | tuple[int, ...]
Key = tuple[str, np.dtype]  # of memory that is used again

# The polynomials of these functions are for the SIMD of a CPU; a GPU has instructions.
if not numba.config.ENABLE_CUDASIM:
    from numba.cuda.extending import overload as overload

    @overload(functions.fma)
    def _fma(a, b, c):
        return lambda a, b, c: a * b + c

    @overload(functions.exp_nonpositive)
    def _exp(z):
        return lambda z: math.exp(z)

    @overload(functions.log_one_minus)
    def _log_one_minus(u):
        return lambda u: math.log1p(-u)

    @overload(functions.log_normal)
    def _log(x):
        return lambda x: math.log(x)


numba.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a few rankings are a few blocks
IS_SIMULATED = bool(numba.config.ENABLE_CUDASIM)
# fastmath is left off: it would take NaN and infinities for impossible. Multiply-add contraction is on by default.
float64 = types.float64  # of shared memory: the simulator takes no NumPy type there
if not IS_SIMULATED:
    cuda = here
    kernel = here.jit(cache=jit.CACHE is not None)
    device = here.jit(device=True)
else:
    from numba.cuda.simulator import kernel as simulator

    class _Running:
        """What kernels and device functions call cuda. The simulator puts it into the module of the kernel that runs,
        and into that of a device function only until its first thread returns; this is the same in every module.
        """

        def __getattr__(self, name: str) -> Any:
            return getattr(simulator._get_kernel_context(), name)

    cuda, kernel, device = _Running(), here.jit, lambda function: function


class Lane:
    """A stream of a card, and arrays on the card that its work uses again, whatever they hold.

    Memory fresh from the driver costs up to a millisecond, and giving it back waits for the whole card. What is
    enqueued on a lane runs in order; two lanes run side by side. A lane is one thread's at a time.
    """

    def __init__(self, stream: Any = None):
        self.stream = here.stream() if stream is None else stream
        self._rooms: dict[Key, Any] = {}
        self._pinned: dict[Key, Any] = {}
        self._put: dict[str, tuple[np.ndarray, Any]] = {}  # what is named, and where it is on the card
        self.tables: dict[Any, Any] = {}
        self._crossing: set[str] = set()  # what is still read from pinned memory

    def room(self, name: str, shape: Shape, dtype: DTypeLike) -> Any:
        """An array of this shape, until it is asked for by this name again."""
        return _held(self._rooms, (name, np.dtype(dtype)), shape, dtype, self.empty)

    def result(self, name: str, shape: Shape, dtype: DTypeLike, given: Array) -> Any:
        """An array for what is made of the given one: a room, to be copied back, or one that stays on the card."""
        return self.room(name, shape, dtype) if isinstance(given, np.ndarray) else self.empty(shape, dtype)

    def empty(self, shape: Shape, dtype: DTypeLike) -> Any:
        """A fresh array on the card."""
        return here.device_array(shape, dtype, stream=self.stream)

    def zeros(self, name: str, shape: Shape, dtype: DTypeLike) -> Any:
        """A room of zeros."""
        room = self.room(name, shape, dtype)
        self.fill(room, 0)
        return room

    def fill(self, array: Any, value: float) -> None:
        """Set every element of an array on the card."""
        self.launch(_fill, -(-array.size // 256), 256, 0, array.reshape(array.size), array.dtype.type(value))

    def put(self, array: Array, name: str | None = None) -> Any:
        """The array on the card: itself if it is there already, else a copy, by way of pinned memory if it is named."""
        if not isinstance(array, np.ndarray):
            return array
        if name is None or not array.size:
            return here.to_device(np.ascontiguousarray(array), stream=self.stream)
        if self._put.get(name, (None, None))[0] is array:
            return self._put[name][1]
        self._put.pop(name, None)
        if name in self._crossing:
            self.wait()
        there, way = self.room(name, array.shape, array.dtype), self._way("in " + name, array.shape, array.dtype)
        np.copyto(way, array)
        there.copy_to_device(way, stream=self.stream)
        self._crossing.add(name)
        self._put[name] = array, there
        return there

    def begin(self) -> None:
        """Forget what was put: within one operation scores cross the bus once, for a deviation, a rank, a gradient."""
        self._put.clear()

    def get(self, array: Any, out: np.ndarray | None = None) -> np.ndarray:
        """A copy of an array on the card, once all work of this lane is done."""
        out = np.empty(array.shape, array.dtype) if out is None else out
        if array.size:
            way = self._way("out", array.shape, array.dtype)
            array.copy_to_host(way, stream=self.stream)
            self.wait()
            np.copyto(out, way)
        return out

    def wait(self) -> None:
        """Until all that was enqueued is done."""
        self.stream.synchronize()
        self._crossing.clear()

    def drop(self) -> None:
        """Give all rooms back to the card."""
        self.wait()
        self._rooms.clear()
        self._put.clear()
        self.tables.clear()

    @property
    def held(self) -> int:
        """Bytes of the rooms."""
        return sum(room.size * room.dtype.itemsize for room in self._rooms.values())

    def launch(self, function: Any, blocks: int, threads: int, rows: int, *arguments: Any) -> None:
        """Run a kernel on so many blocks of threads, with `rows` float64 of shared memory for each thread."""
        if blocks:
            function[blocks, threads, self.stream, rows * threads * 8](*arguments)

    def _way(self, name: str, shape: Shape, dtype: DTypeLike) -> Any:
        """Pinned memory, which the card reads and writes by itself."""
        return _held(self._pinned, (name, np.dtype(dtype)), shape, dtype, here.pinned_array)


def _held(held: dict[Key, Any], key: Key, shape: Shape, dtype: DTypeLike, make: Callable[..., Any]) -> Any:
    """An array of this shape out of what is held by this key, or else made."""
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    if key not in held or held[key].size < size:
        held.pop(key, None)
        held[key] = make(max(size, 1), dtype)
    return held[key][:size].reshape(shape)


@kernel
def _fill(out, value):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = value


def check() -> None:
    """Run a kernel of one thread. Whatever keeps it from running comes out as an exception."""
    out = here.to_device(np.zeros(1))
    _fill[1, 1](out, 1.0)
    if out.copy_to_host()[0] != 1.0:
        raise RuntimeError("a kernel of one thread did not write its result")


def free_bytes() -> int:
    """What the card has left."""
    return here.current_context().get_memory_info()[0]


def compute_capability() -> tuple[int, int]:
    """That of the card, such as (9, 0)."""
    return here.current_context().device.compute_capability


def as_array(interface: Any) -> Any:
    """An array on the card, from any object with the CUDA Array Interface; waits for the stream that it names."""
    return here.as_cuda_array(interface)


def to_card(array: np.ndarray) -> Any:
    """A copy of the array on the card."""
    return here.to_device(array)


def external_stream(handle: int) -> Any:
    """The stream of another library, by its address."""
    return here.external_stream(handle)
