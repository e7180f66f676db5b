"""What imports numba.cuda, with pool.py: how kernels are declared, and a lane, which is a stream with its memory.

Declarations are lazy: a module of kernels imports without a driver, and each kernel compiles for the card on its first
launch. The package numba-cuda takes the place of numba.cuda where it is installed, and Numba's simulator where
NUMBA_ENABLE_CUDASIM is set, which runs every line of a kernel in Python.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda as numba_cuda
from numba import types
from numpy.typing import DTypeLike

from ...core.rankings import Array, is_one
from .. import jit
from ..scalars import functions
from . import launches, pool

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
float64, int64 = types.float64, types.int64  # of shared memory: the simulator takes no NumPy type there
if not IS_SIMULATED:
    from numba.cuda.dispatcher import CUDACache

    cuda = here
    device = here.jit(device=True)

    def kernel(function: Callable) -> Any:
        """A kernel, which is kept in the cache as those for a CPU are."""
        return jit.keep(here.jit(function), function, CUDACache)
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

    Memory fresh from the driver costs up to a millisecond, and giving it back waits for the whole card: rooms are used
    again, and results come from a pool in the order of the stream. What is enqueued on a lane runs in order; two lanes
    run side by side. A lane is one thread's at a time.
    """

    def __init__(self, stream: Any = None, supply: pool.Supply | None = None):
        """supply: of its arrays; by default a pool of the card's."""
        self.stream = here.stream() if stream is None else stream
        self._rooms: dict[Key, Room] = {}
        self._pinned: dict[Key, Room] = {}
        self._put: dict[str, tuple[np.ndarray, Any]] = {}  # what is named, and where it is on the card
        self._ways: dict[str, Ways] = {}
        self._ones: dict[tuple[float, str], Any] = {}  # arrays of one number, by it and its dtype
        self.supply = supply or pool.Supply(self.stream)
        self._launcher = None if IS_SIMULATED else launches.Launcher(self.stream)
        self.tables: dict[Any, Any] = {}
        self.doubts: Any = None  # doubts.Doubts of the operation that is computed
        self.knows_alphas = False

    def room(self, name: str, shape: Shape, dtype: DTypeLike) -> Any:
        """An array of this shape, until it is asked for by this name again."""
        return _held(self._rooms, (name, np.dtype(dtype)), shape, self.empty)

    def result(self, name: str, shape: Shape, dtype: DTypeLike, given: Array) -> Any:
        """An array for what is made of the given one: a room, to be copied back, or one that stays on the card."""
        return self.room(name, shape, dtype) if isinstance(given, np.ndarray) else self.empty(shape, dtype)

    def empty(self, shape: Shape, dtype: DTypeLike) -> Any:
        """A fresh array on the card. Its memory is given out again in the order of the stream, once it is dropped."""
        return self.supply.empty(shape, dtype)

    def zeros(self, name: str, shape: Shape, dtype: DTypeLike) -> Any:
        """A room of zeros."""
        room = self.room(name, shape, dtype)
        self.fill(room, 0)
        return room

    def fill(self, array: Any, value: float) -> None:
        """Set every element of an array on the card."""
        self.launch(_fill, -(-array.size // 256), 256, 0, array.reshape(array.size), array.dtype.type(value))

    def put(self, array: Array, name: str | None = None) -> Any:
        """The array on the card: itself if it is there already, else a copy, in a room if it is named.

        What has one number for all, by a stride of 0, is an array of that one (`one_of` finds it); the lane keeps it.
        """
        if not isinstance(array, np.ndarray):
            return array
        if is_one(array):
            return self._one(array.flat[0])
        if name is None or not array.size:
            return self._sent(array)
        if self._put.get(name, (None, None))[0] is array:
            return self._put[name][1]
        there = self.room(name, array.shape, array.dtype)
        if array.nbytes <= STAGED:
            self.supply.send(np.ascontiguousarray(array), there)
        else:
            ways = self._ways.setdefault(name, Ways())
            ways.wait()  # before the stretch is written, or given back for a longer one
            way = _held(self._pinned, (f"{name} {ways.turn}", array.dtype), array.shape, here.pinned_array)
            np.copyto(way, array)
            self.supply.send(way, there)
            ways.record(self.stream)
        self._put[name] = array, there
        return there

    def _one(self, number: Any) -> Any:
        """An array of one number, which crosses the bus once."""
        key = float(number), number.dtype.char
        if key not in self._ones:
            if len(self._ones) >= MOST_NUMBERS:
                self._ones.clear()
            self._ones[key] = self._sent(np.array([number]))
        return self._ones[key]

    def _sent(self, array: np.ndarray) -> Any:
        """A copy of an array, in fresh memory on the card."""
        there = self.empty(array.shape, array.dtype)
        if array.size:
            self.supply.send(np.ascontiguousarray(array), there)
        return there

    def begin(self, knows_alphas: bool = False) -> None:
        """Forget what was put: within one operation scores cross the bus once, for a deviation, a rank, a gradient.

        knows_alphas: alphas that are computed on the card are read back, as some of them ask for more digits.
        """
        self._put.clear()
        self.doubts, self.knows_alphas = None, knows_alphas

    def get(self, array: Any, out: np.ndarray | None = None) -> np.ndarray:
        """A copy of an array on the card, once all work of this lane is done."""
        out = np.empty(array.shape, array.dtype) if out is None else out
        self._fetch([array], [out])
        return out

    def get_all(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        """Copies of several arrays on the card, for one wait."""
        outs = [np.empty(array.shape, array.dtype) for array in arrays]
        self._fetch(arrays, outs)
        return outs

    def _fetch(self, arrays: Sequence[Any], outs: Sequence[np.ndarray]) -> None:
        ways = []
        for i, array in enumerate(arrays):
            ways.append(_held(self._pinned, (f"out {i}", array.dtype), array.shape, here.pinned_array))
            if array.size:
                self.supply.fetch(array, ways[i])
        if any(array.size for array in arrays):
            self.wait()
        for out, way in zip(outs, ways, strict=True):
            np.copyto(out, way)

    def wait(self) -> None:
        """Until all that was enqueued is done."""
        self.stream.synchronize()

    def drop(self) -> None:
        """Give all rooms back to the card."""
        self.wait()
        for held in (self._rooms, self._put, self._ones, self.tables):
            held.clear()
        pool.trim()

    @property
    def held(self) -> int:
        """Bytes of the rooms."""
        return sum(room.memory.size * room.memory.dtype.itemsize for room in self._rooms.values())

    def launch(self, function: Any, blocks: int, threads: int, rows: int, *arguments: Any) -> None:
        """Run a kernel on so many blocks of threads, with `rows` float64 of shared memory for each thread."""
        if not blocks:
            return
        if self._launcher is None:
            function[blocks, threads, self.stream, rows * threads * 8](*arguments)
        else:
            self._launcher.run(function, blocks, threads, rows * threads * 8, arguments)


STAGED = 64 << 10  # bytes up to which the driver itself copies what the card is to read, and does not wait
MOST_NUMBERS = 64  # that a lane keeps


class Room(NamedTuple):
    """Memory that is used again, and the view of it that was asked for last: each view costs as much as a launch."""

    memory: Any
    shape: Shape
    view: Any


def _held(held: dict[Key, Room], key: Key, shape: Shape, make: Callable[..., Any]) -> Any:
    """An array of this shape out of what is held by this key, or else made."""
    if key in held and held[key].shape == shape:
        return held[key].view
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    if key in held and held[key].memory.size < size:
        del held[key]  # before more is asked for
    memory = held[key].memory if key in held else make(max(size, 1), key[1])
    held[key] = Room(memory, shape, memory[:size].reshape(shape))
    return held[key].view


class Ways:
    """Two stretches of pinned memory, which the card reads by itself: one is filled while the other is read."""

    def __init__(self) -> None:
        self.turn, self.read = 0, (here.event(), here.event())

    def wait(self) -> None:
        """Until the card has read what this stretch held."""
        self.read[self.turn].synchronize()

    def record(self, stream: Any) -> None:
        """The card reads this stretch now; the next is the other."""
        self.read[self.turn].record(stream)
        self.turn = 1 - self.turn


@device
def one_of(numbers, r):
    """The number of ranking r, of one for each or of one for all."""
    return numbers[r if numbers.size > 1 else 0]


@kernel
def _fill(out, value):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = value


def check() -> None:
    """Run a kernel of one thread. Whatever keeps it from running comes out as an exception."""
    out = here.to_device(np.zeros(1))
    with launches.FIRST:
        _fill[1, 1](out, 1.0)
    if out.copy_to_host()[0] != 1.0:
        raise RuntimeError("a kernel of one thread did not write its result")


def free_bytes() -> int:
    """What the card has left."""
    return here.current_context().get_memory_info()[0] + pool.unused()


def compute_capability() -> tuple[int, int]:
    """That of the card, such as (9, 0)."""
    return here.current_context().device.compute_capability


def as_array(interface: Any) -> Any:
    """An array on the card, from any object with the CUDA Array Interface; waits for the stream that it names."""
    return here.as_cuda_array(interface)


def lent(owner: Any, at: int, shape: Shape, dtype: DTypeLike) -> Any:
    """An array of memory on the card at this address, C-contiguous and not empty, which its owner keeps."""
    return pool.lent(shape, dtype, owner, at)


def lender_of(array: Any) -> tuple[Any, int]:
    """Who keeps the memory of an array on the card, and its address there."""
    return array.gpu_data.owner, array.device_ctypes_pointer.value or 0


def to_card(array: np.ndarray) -> Any:
    """A copy of the array on the card."""
    return here.to_device(array)


def external_stream(handle: int) -> Any:
    """The stream of another library, by its address."""
    return here.external_stream(handle)
