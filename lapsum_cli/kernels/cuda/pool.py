"""Memory of a card in the order of a stream: neither taking it nor giving it back waits for anything.

It comes from a pool of the driver, which keeps what was given back (cuMemAllocFromPoolAsync). An array's memory is for
others once the array is dropped here and the stream has come that far: who reads it on another stream keeps it as long.
Where the card has no pools, in the simulator, or with a memory manager of the user's, arrays are Numba's.
"""

import atexit
import contextlib
import functools
import math
import threading
import weakref
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda
from numpy.typing import DTypeLike

from . import launches

if not numba.config.ENABLE_CUDASIM:
    from numba.cuda.cudadrv.devicearray import DeviceNDArray
    from numba.cuda.cudadrv.driver import MemoryPointer, NumbaCUDAMemoryManager, binding, driver

    class _Lent(MemoryPointer):
        """Memory of a pool, which goes back in the order of a stream.

        It keeps the stream: the driver does not survive work on one that is gone. Those go first at the end of a
        process, and all memory with it.
        """

        is_over = False

        def __init__(self, context: Any, at: Any, size: int, stream: Any):
            super().__init__(context, at, size)
            self._back = binding.cuMemFreeAsync, at, stream

        def __del__(self) -> None:
            if not type(self).is_over:
                free, at, stream = self._back
                free(at, getattr(stream, "handle", stream))

    @functools.cache
    def _end_with_the_process() -> None:
        """Called once there is a stream: what was registered last is called first."""
        atexit.register(setattr, _Lent, "is_over", True)


Shape = int | tuple[int, ...]
_NOWHERE, _DONE = object(), 0  # memory of no address; what the driver returns of what is done


class Supply:
    """Arrays on the card, for work on one stream, and copies of them in its order."""

    def __init__(self, stream: Any):
        self._stream, self._handle = stream, getattr(stream, "handle", stream)
        self._thread = 0  # that asked last
        self._context: Any = None  # that of the card, once an array was asked for
        self._pool: Any = None

    def empty(self, shape: Shape, dtype: DTypeLike) -> Any:
        """A fresh array, from the pool if the card has one."""
        if self._thread != threading.get_ident():
            self._begin()
        size = _form(shape, dtype).size
        if self._pool is None or not size:
            return cuda.device_array(shape, dtype, stream=self._stream)
        error, at = binding.cuMemAllocFromPoolAsync(size, self._pool, self._handle)
        if error:
            at = self._after_others(size)
        return _array(shape, dtype, _Lent(self._context, at, size, self._stream), int(at), self._stream)

    def send(self, array: np.ndarray, to: Any) -> None:
        """Copy an array in memory here, C-contiguous, to one on the card, of as many numbers of the same dtype."""
        if numba.config.ENABLE_CUDASIM or binding.cuMemcpyHtoDAsync(
            to.device_ctypes_pointer.value, array.ctypes.data, array.nbytes, self._handle
        ) != (_DONE,):
            to.copy_to_device(array, stream=self._stream)

    def fetch(self, array: Any, to: np.ndarray) -> None:
        """Copy an array on the card to one in memory here, as `send`; it is there once the stream has come that far."""
        if numba.config.ENABLE_CUDASIM or binding.cuMemcpyDtoHAsync(
            to.ctypes.data, array.device_ctypes_pointer.value, to.nbytes, self._handle
        ) != (_DONE,):
            array.copy_to_host(to, stream=self._stream)

    def copy(self, array: Any, to: Any) -> None:
        """Copy an array on the card to another there, as `send`."""
        if numba.config.ENABLE_CUDASIM or binding.cuMemcpyDtoDAsync(
            to.device_ctypes_pointer.value, array.device_ctypes_pointer.value, to.nbytes, self._handle
        ) != (_DONE,):
            to.copy_to_device(array, stream=self._stream)

    def _begin(self) -> None:
        """Have the card's context be that of this thread."""
        self._thread = threading.get_ident()
        if numba.config.ENABLE_CUDASIM:
            return
        context = cuda.current_context()
        if self._context is None:
            _end_with_the_process()
            if type(context.memory_manager) is NumbaCUDAMemoryManager:
                self._pool = _pool(context.device.id)
            self._context = weakref.proxy(context)

    def _after_others(self, size: int) -> Any:
        """Where memory is that the driver refused at first: what Numba has to give back goes back before."""
        manager = cuda.current_context().memory_manager
        return manager._attempt_allocation(lambda: driver.cuMemAllocFromPoolAsync(size, self._pool, self._handle))


def lent(shape: Shape, dtype: DTypeLike, owner: Any, at: int) -> Any:
    """An array, not empty, of memory of another library at this address, which its owner keeps."""
    memory = MemoryPointer(None, binding.CUdeviceptr(at), _form(shape, dtype).size, owner=owner)
    return _array(shape, dtype, memory, at, 0)


class _Form(NamedTuple):
    """What the arrays of a shape and dtype have in common."""

    size: int  # in bytes
    attributes: dict[str, Any]
    kind: str | None  # launches.words_of
    before: bytes  # the address among the words
    behind: bytes


@functools.lru_cache(1024)
def _form(shape: Shape, dtype: DTypeLike) -> _Form:
    dtype, shape = np.dtype(dtype), (shape,) if isinstance(shape, int) else shape
    size = math.prod(shape) * dtype.itemsize
    if numba.config.ENABLE_CUDASIM or not size:
        return _Form(0, {}, None, b"", b"")
    strides = tuple(dtype.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    made = DeviceNDArray(shape, strides, dtype, gpu_data=_NOWHERE)
    with contextlib.suppress(launches.Unknown):
        launches.words_of(made)
    attributes = vars(made)
    kind, words = attributes.pop("launch_words", (None, b""))
    return _Form(size, attributes, kind, words[: launches.ADDRESS], words[launches.ADDRESS + launches.WORD :])


def _array(shape: Shape, dtype: DTypeLike, memory: Any, at: int, stream: Any) -> Any:
    """An array on the card as others of its form, which costs a tenth of one that is made anew."""
    form, array = _form(shape, dtype), DeviceNDArray.__new__(DeviceNDArray)
    vars(array).update(form.attributes)
    array.gpu_data, array.stream = memory, stream
    if form.kind is not None:
        array.launch_words = form.kind, form.before + at.to_bytes(launches.WORD, "little") + form.behind
    return array


def unused() -> int:
    """Bytes of the pool that nothing uses: they are taken from what the driver calls free."""
    pool = None if numba.config.ENABLE_CUDASIM else _pool(cuda.current_context().device.id)
    if pool is None:
        return 0
    known = binding.CUmemPool_attribute
    reserved, used = (
        int(driver.cuMemPoolGetAttribute(pool, attribute))
        for attribute in (known.CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, known.CU_MEMPOOL_ATTR_USED_MEM_CURRENT)
    )
    return max(0, reserved - used)


def trim() -> None:
    """Give what nothing uses back to the card."""
    pool = None if numba.config.ENABLE_CUDASIM else _pool(cuda.current_context().device.id)
    if pool is not None:
        driver.cuMemPoolTrimTo(pool, 0)


@functools.cache
def _pool(device: int) -> Any:
    """A pool on this card that gives nothing back by itself; None where cards have none."""
    if not driver.cuDeviceGetAttribute(binding.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, device):
        return None
    how = binding.CUmemPoolProps()
    how.allocType = binding.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    how.location.type = binding.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
    how.location.id = device
    pool = driver.cuMemPoolCreate(how)
    everything = binding.cuuint64_t(2**64 - 1)
    driver.cuMemPoolSetAttribute(pool, binding.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, everything)
    return pool
