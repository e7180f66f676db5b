"""Compile every kernel for several GPUs, on a machine without one: python3 tests/compile_cuda.py [80 90 120]

Needs the extra `cuda`, and a C compiler for a driver that runs nothing. Lists registers, spills and shared memory of
each kernel, for both dtypes, and how many float64 operations it has. Fails if one does not compile, spills or takes
more registers than a block may have, or if a kernel that goes through float32 scores computes with float64 more than
the totals of a thread. What is compiled stays in the cache of kernels, where launch_words.py finds it.
"""

import re
import sys

import host_cost
import numba
import numpy as np
from numba import types
from onecard import Held, counting_lane, run_every_operation

CARDS = (80, 90, 120)
# Float32 passes over the scores, and how many float64 operations the totals of all their loops may take. What is sorted
# is swept in float64, as lapsum_cli/kernels/cpu/sweeps.py says why, and what one block finds out about a threshold is
# little work.
PASSES = {"_collapse": 64, "_walk_tiles": 48, "_settle": 40}
REGISTERS = 1 << 16  # of a block; a thread's are given out in eights


def signatures() -> dict:
    """(module, kernel, types of its arguments) -> the kernel, its threads, and its shared memory in bytes."""
    found = {}

    def launched(kernel, threads, shared, arguments):
        function = kernel.py_func
        key = (function.__module__.rpartition(".")[2], function.__name__, tuple(map(_type, arguments)))
        found[key] = (kernel, threads, max(shared, found.get(key, (0, 0, 0))[2]))

    for dtype in (np.float32, np.float64):
        for offsets in ([0, 60, 120, 180], [0, 100, 200, 300], [0, 200, 101_200], [0, 10, 42]):
            run_every_operation(counting_lane(launched), np.array(offsets), dtype)
    return found


def _type(argument):
    if isinstance(argument, Held):
        return types.Array(numba.from_dtype(argument.dtype), len(argument.shape), "C")
    if isinstance(argument, tuple):
        return types.BaseTuple.from_types(tuple(map(_type, argument)), type(argument))
    return numba.typeof(argument)


def compile_for(kernel, signature, card: int) -> tuple[str, str]:
    """PTX, and what the assembler says of the machine code."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    ptx = kernel.compile(signature).inspect_asm(divmod(card, 10))
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=LinkerOptions(arch=f"sm_{card}", ptxas_options=["-v"]))
    linker.link("cubin")
    return ptx, linker.get_info_log() or ""


def main(cards) -> int:
    failed = 0
    host_cost.stub()
    print(f"{'kernel':<28} {'scores':<8} {'card':<7} registers  spilled  threads  shared  float64")
    for (module, name, signature), (kernel, threads, shared) in sorted(signatures().items(), key=lambda f: f[0][:2]):
        is_float32 = types.Array(types.float32, 1, "C") in signature
        for card in cards:
            ptx, log = compile_for(kernel, signature, card)
            registers, spilled = (re.search(p, log) for p in (r"Used (\d+) registers", r"(\d+) bytes spill stores"))
            doubles = len(re.findall(r"\s(?:add|sub|mul|fma|div|sqrt|rcp)\.(?:rn\.|rz\.|approx\.)*f64", ptx))
            spills = int(spilled[1]) if spilled else 0
            taken = -(-int(registers[1]) // 8) * 8 * threads if registers else REGISTERS + 1
            is_wrong = taken > REGISTERS or spills > 0 or (is_float32 and doubles > PASSES.get(name, doubles))
            failed += is_wrong
            print(
                f"{module + '.' + name:<28} {'float32' if is_float32 else '':<8} sm_{card:<4} "
                f"{registers[1] if registers else '?':>9} {spills:>8} {threads:>8} {shared:>7} {doubles:>8}"
                + ("  WRONG" if is_wrong else "")
            )
    print(f"{failed} wrong" if failed else "all compile, and none spills")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main([int(card) for card in sys.argv[1:]] or CARDS))
