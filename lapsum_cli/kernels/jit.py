"""How kernels are compiled: when they are first called, by one process at a time, and each with all that it calls.

Several processes that compile at once can crash (numba #10128): whoever compiles a kernel holds a file lock, and looks
into the cache again when it has it. Whoever waits is told, once.

Numba would make machine code of every function that a kernel calls, apart from the kernel that it is then linked into.
What a kernel calls is compiled as a part of it, and gets none of its own, which halves the time. It is optimised before
it is linked, as LLVM finds less in one large function: ranks of 5000 took half as long again without.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numba
from numba.core import caching, sigutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock

from . import cache
from .cache import CACHE, kept, what_was_wrong

__all__ = ["CACHE", "kept", "what_was_wrong"]


# --- When: at the first call, alone. ----------------------------------------------------------------------------------

_waits: list[Callable[[], object]] = []  # what to call, once, before the next kernel compiles
_compiling: list[Any] = []  # the kernel that compiles, under Numba's lock


def before_a_wait(say: Callable[[], object]) -> None:
    """Have this called, once, before the next kernel compiles, in place of what was to be called."""
    _waits[:] = [say]


@contextlib.contextmanager
def _alone(made: Any) -> Iterator[None]:
    """As the only process that compiles, and after a word for whoever waits."""
    _compiling.append(made)
    try:
        while _waits:
            _waits.pop()()
        with cache.exclusive(CACHE / "lock") if CACHE else contextlib.nullcontext():
            cache.remove_torn()
            yield
    finally:
        _compiling.pop()


class _NotKept(Exception):
    """A kernel is not in the cache, and may not compile yet."""


def _compiled_alone(made: Any) -> None:
    """Have a dispatcher of Numba's compile alone what it does not find in its cache."""
    compile, load = made.compile, made._cache.load_overload

    def load_overload(signature: Any, context: Any) -> Any:
        found = load(signature, context)
        if found is None and not _compiling:
            raise _NotKept
        return found

    def compile_alone(signature: Any) -> Any:
        with global_compiler_lock:
            if _compiling or tuple(sigutils.normalize_signature(signature)[0]) in made.overloads:
                return compile(signature)
            try:
                return compile(signature)
            except _NotKept:
                pass
            with _alone(made):
                return compile(signature)

    made.compile, made._cache.load_overload = compile_alone, load_overload


def keep(made: Any, function: Callable, kind: type) -> Any:
    """A function that Numba is to compile alone, with a cache of the kind of its device."""
    made._cache = caching.NullCache()
    if CACHE is not None:
        with contextlib.suppress(Exception):  # no place on the disk, or no file of it
            made._cache = cache.checked(kind)(function)
    _compiled_alone(made)
    return made


_kernels: list[Any] = []  # of the CPU, all that there are


def compiled() -> tuple[int, int]:
    """How many kernels of the CPU are in the cache, for some dtype, and how many are imported."""
    return sum(cache.holds(made._cache) for made in _kernels), len(_kernels)


# --- How: with what it calls. -----------------------------------------------------------------------------------------


class _Part(JITCodeLibrary):
    """What one function that a kernel calls is compiled to: code for LLVM alone, to be linked into the kernel."""

    @property
    def codegen(self) -> Any:
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing: no code is there yet that has it."""

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _Kernel(Compiler):
    """Numba's compiler, which makes machine code of the kernel and parts of it of all that it calls."""

    def _compile_core(self) -> Any:
        codegen, function = self.state.targetctx.codegen(), self.state.func_id
        self.state.library = JITCodeLibrary(codegen, function.func_qualname)
        self.state.library.enable_object_caching()
        before, codegen._library_class = codegen._library_class, _Part
        try:
            result = super()._compile_core()
        finally:
            codegen._library_class = before
        for environment in result._find_referenced_environments():
            codegen.set_env(environment.env_name, environment)
        return result


def _function(**options: Any) -> Callable[[Callable], Any]:
    """A decorator for a function that kernels call: a part of each. Called from Python, it is a kernel of its own."""
    alone = numba.njit(**options, pipeline_class=_Kernel)
    called = numba.njit(**options, no_cpython_wrapper=True, no_cfunc_wrapper=True)

    def decorate(function: Callable) -> Any:
        made, part = alone(function), called(function)
        if hasattr(made, "enable_caching"):  # else Numba is told to compile nothing
            made.get_call_template, made.get_overload = part.get_call_template, part.get_overload
            # What a card reads of it: there "reassoc" stands for all of fastmath, and the lanes of a sum are threads.
            made.targetoptions = {name: value for name, value in made.targetoptions.items() if name != "fastmath"}
        return made

    return decorate


def _kernel(**options: Any) -> Callable[[Callable], Any]:
    """A decorator for a function that Python calls: it compiles on first use, and what was compiled is kept."""
    compiled = _function(**options)

    def decorate(function: Callable) -> Any:
        made = compiled(function)
        if hasattr(made, "enable_caching"):
            _kernels.append(keep(made, function, caching.FunctionCache))
        return made

    return decorate


def _known(**options: Any) -> dict[str, Any]:
    """Options without a public name, where this version of Numba has them."""
    try:
        numba.njit(**options)(lambda: None)
    except KeyError:
        return {}
    return options


# No fastmath: the compiler may neither drop a NaN check, reorder a sum, nor choose where a*b+c becomes one instruction
# (scalars/functions.py fma), so that all lanes of a loop, and its rest, compute the same.
OPTIONS: Any = {"nogil": True, "error_model": "numpy"}
kernel = _kernel(**OPTIONS)

# Numba counts references to arrays, by an atomic instruction at either end of every slice: of a ranking of 100 scores
# that is a tenth of the time. A kernel that makes no array, nor copies one into another, needs no count. It passes this
# on to what it calls, which must be of that kind too.
_UNCOUNTED = _known(_nrt=False)
uncounted = _kernel(**OPTIONS, **_UNCOUNTED)

# What kernels alone call, and is not kept by itself.
inner = _function(**OPTIONS, **_UNCOUNTED)
inner_counted = _function(**OPTIONS)

# A scalar formula that loops over arrays use: part of the loop before LLVM sees it, or it is a call, and nothing is
# vectorised (25 against 3 ns for the root of a threshold).
inlined = _function(inline="always", **OPTIONS)

# For sums and counts over one short block only: reordering is what lets the compiler add in SIMD lanes.
REORDERED: Any = {**OPTIONS, "fastmath": {"reassoc"}}
block_sum = _function(**REORDERED, **_UNCOUNTED)

# What is called for every short ranking is part of its caller: a call passes seven words an array, 20 ns with three.
within = _function(**OPTIONS, **_UNCOUNTED, forceinline=True)
sum_within = _function(**REORDERED, **_UNCOUNTED, forceinline=True)
