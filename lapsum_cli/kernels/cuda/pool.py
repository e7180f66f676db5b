"""Memory of a card in the order of a stream: neither taking it nor giving it back waits for anything.

It comes from a pool of the driver, which keeps what was given back (cuMemAllocFromPoolAsync). An array's memory is for
others once the array is dropped here and the stream has come that far: who reads it on another stream keeps it as long.
Where the card has no pools, in the simulator, or with a memory manager of the user's, arrays are Numba's.
"""

import contextlib
import functools
import math
import weakref
from typing import Any

import numba
import numpy as np
from numba import cuda
from numpy.typing import DTypeLike

if not numba.config.ENABLE_CUDASIM:
    from numba.cuda.cudadrv.devicearray import DeviceNDArray
    from numba.cuda.cudadrv.driver import MemoryPointer, NumbaCUDAMemoryManager, binding, driver


def empty(shape: int | tuple[int, ...], dtype: DTypeLike, stream: Any) -> Any:
    """A fresh array on the card, from the pool if it has one."""
    dtype, shape = np.dtype(dtype), (shape,) if isinstance(shape, int) else shape
    size = math.prod(shape) * dtype.itemsize
    if numba.config.ENABLE_CUDASIM or not size:
        return cuda.device_array(shape, dtype, stream=stream)
    context = cuda.current_context()
    pool = _pool(context.device.id) if type(context.memory_manager) is NumbaCUDAMemoryManager else None
    if pool is None:
        return cuda.device_array(shape, dtype, stream=stream)
    at = context.memory_manager._attempt_allocation(lambda: driver.cuMemAllocFromPoolAsync(size, pool, stream.handle))

    def give_back() -> None:
        with contextlib.suppress(Exception):  # at the end of the process, with the driver gone
            driver.cuMemFreeAsync(at, stream.handle)

    memory = MemoryPointer(weakref.proxy(context), at, size, finalizer=give_back)
    return DeviceNDArray(shape, _strides(shape, dtype.itemsize), dtype, stream=stream, gpu_data=memory)


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
def _strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


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
