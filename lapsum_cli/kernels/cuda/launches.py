"""Launches, each at little more than the driver takes: what Numba finds out anew each time is kept.

Numba resolves the types of all arguments, and takes them apart, at every launch: 36 us of the host with two arrays,
116 with sixteen. What a compiled kernel takes is words: of an array C-contiguous 0, 0, its size, that of an element,
where it is, its shape and its strides; of a tuple those of what is in it; of a number itself. An array's words are kept
on it. They go, eight bytes each, to one stretch of memory for all launches of a lane, and so do the pointers to them
that the driver asks for.

Numba itself launches what is launched for the first time, which compiles it, and then says which words it passed:
where they are not these, and of arguments or kernels of another kind, it launches ever after. It also launches again
what the driver refuses, and says why. So the words of a launch depend on its arguments alone.
"""

import ctypes
import struct
import threading
from typing import Any

import numba
import numpy as np

if not numba.config.ENABLE_CUDASIM:
    from numba.cuda.cudadrv.devicearray import DeviceNDArray
    from numba.cuda.cudadrv.driver import binding

WORD, MOST_WORDS = 8, 512
ADDRESS = 4 * WORD  # where the address of an array is among its words
# Numba's first load of a compiled kernel is for one thread at a time.
FIRST = threading.RLock()
Kind = tuple[Any, ...]

_FORMS = {  # of struct
    bool: "?",
    int: "q",
    float: "d",
    np.bool_: "?",
    np.int8: "b",
    np.uint8: "B",
    np.int16: "h",
    np.uint16: "H",
    np.int32: "i",
    np.uint32: "I",
    np.int64: "q",
    np.uint64: "Q",
    np.float32: "f",
    np.float64: "d",
}
_NUMBERS = {of: struct.Struct(f"<{form}{WORD - struct.calcsize(form)}x").pack for of, form in _FORMS.items()}
_ARRAYS = [struct.Struct(f"<{5 + 2 * axes}q").pack for axes in range(4)]


class Unknown(Exception):
    """An argument that Numba alone knows how to pass."""


def words_of(array: Any) -> tuple[str, bytes]:
    """The kind of an array on the card, and its words, which stay on it."""
    dtype, axes = array.dtype, array.ndim
    is_plain = dtype.kind in "biuf" and dtype.isnative and axes < len(_ARRAYS)
    if not is_plain or not array.is_c_contiguous() or (array.size and 0 in array.strides):
        raise Unknown
    at = array.device_ctypes_pointer.value or 0
    words = _ARRAYS[axes](0, 0, array.size, dtype.itemsize, at, *array.shape, *array.strides)
    array.launch_words = f"{dtype.char}{axes}", words
    return array.launch_words


def _describe(arguments: tuple, kinds: list, words: list[bytes]) -> None:
    """Append the kinds of arguments, and their words."""
    for argument in arguments:
        of = type(argument)
        if of is DeviceNDArray:
            try:
                kind, word = argument.launch_words
            except AttributeError:
                kind, word = words_of(argument)
            kinds.append(kind)
            words.append(word)
        elif of in _NUMBERS:
            kinds.append(of)
            words.append(_NUMBERS[of](argument))
        elif isinstance(argument, tuple):
            kinds += of, len(argument)
            _describe(argument, kinds, words)
        else:
            raise Unknown


class Launcher:
    """What launches on one stream, for one thread at a time."""

    def __init__(self, stream: Any):
        self._stream, self._there = stream, binding.CUstream(int(getattr(stream, "handle", stream)))
        words = (ctypes.c_uint64 * MOST_WORDS)()
        first = ctypes.addressof(words)
        self._pointers = (ctypes.c_void_p * MOST_WORDS)(*range(first, first + WORD * MOST_WORDS, WORD))
        self._words, self._of_all = memoryview(words).cast("B"), ctypes.addressof(self._pointers)
        self._known: dict[Kind, Any] = {}  # what the driver launches; None where Numba does

    def run(self, function: Any, blocks: int, threads: int, shared: int, arguments: tuple) -> None:
        """Launch a kernel on so many blocks of threads, with so many bytes of shared memory each."""
        kinds: list = [function]
        words: list[bytes] = []
        try:
            _describe(arguments, kinds, words)
        except (Unknown, struct.error):  # the latter of an integer beyond 64 bits
            with FIRST:
                self._by_numba(function, blocks, threads, shared, arguments)
            return
        kind, flat = tuple(kinds), b"".join(words)
        if kind not in self._known:
            with FIRST:
                self._by_numba(function, blocks, threads, shared, arguments)
                self._known[kind] = self._loaded(function, arguments, flat)
            return
        loaded = self._known[kind]
        if loaded is not None:
            self._words[: len(flat)] = flat
            to = self._there, self._of_all, 0
            if not binding.cuLaunchKernel(loaded, blocks, 1, 1, threads, 1, 1, shared, *to)[0]:
                return
        self._by_numba(function, blocks, threads, shared, arguments)

    def _by_numba(self, function: Any, blocks: int, threads: int, shared: int, arguments: tuple) -> None:
        function[blocks, threads, self._stream, shared](*arguments)

    def _loaded(self, function: Any, arguments: tuple, flat: bytes) -> Any:
        """What Numba has compiled and loaded for these arguments; None where it alone may launch it."""
        try:
            kernel = function.overloads[tuple(map(function.typeof_pyval, arguments))]
            if any(getattr(kernel, name) for name in _ODD) or len(flat) > WORD * MOST_WORDS:
                return None
            left: list[Any] = []  # to do after a launch
            passed: list[Any] = []
            for of, argument in zip(kernel.argument_types, arguments, strict=True):
                kernel._prepare_args(of, argument, self._stream, left, passed)
            if left or b"".join(map(_as_word, passed)) != flat:
                return None
            return binding.CUfunction(int(kernel.library.get_cufunc().handle))
        except (AttributeError, KeyError, TypeError, ValueError):  # of another version of Numba
            return None


_ODD = ("debug", "extensions", "cooperative", "launch_config_sensitive", "shared_memory_carveout")


def _as_word(passed: Any) -> bytes:
    """The word of what Numba hands to the driver; ValueError for more than one."""
    if isinstance(passed, bool | np.bool_):
        return _NUMBERS[bool](passed)
    if isinstance(passed, int):
        return passed.to_bytes(WORD, "little", signed=passed < 0)
    return bytes(passed).ljust(WORD, b"\0") if ctypes.sizeof(passed) <= WORD else b""
