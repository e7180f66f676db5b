"""Every kernel compiled for this card, and kept: whoever runs it later loads it. Some cores have a share of them each.

Whoever compiles is alone with the cache of kernels (lapsum_cli/kernels/jit.py): two hundred kernels take minutes, and
other cores wait. Here each process has kernels of its own, whose files no other writes, and so none waits.
"""

import contextlib
import os
import subprocess
import sys
import time
from unittest import mock

from common import IS_REHEARSED, lane, line_of

MOST = 12  # processes: each has a context of the card


def share(number, of):
    """Compile the kernels that are this process's, and say which do not."""
    from compile_cuda import signatures

    from lapsum_cli.kernels import cache

    found, failed = signatures(), 0
    own = sorted({signature[:2] for signature in found})[number::of]
    # Nothing is removed either, lest it be what another process is about to write.
    with mock.patch.multiple(cache, exclusive=lambda path: contextlib.nullcontext(), remove_torn=lambda: None):
        for (module, name, types), (kernel, *_) in found.items():
            try:
                if (module, name) in own:
                    kernel.compile(types)
            except Exception as error:
                failed += 1
                print(f"{module}.{name}: {line_of(error)}", flush=True)
    return int(failed > 0)


def main():
    """All shares side by side, once a kernel has run; 1 if a kernel does not compile."""
    lane()
    if IS_REHEARSED:
        print("the simulator compiles nothing")
        return 0
    start, count = time.perf_counter(), min(MOST, os.cpu_count() or 1)
    shares = [subprocess.Popen([sys.executable, __file__, str(i), str(count)]) for i in range(count)]
    codes = [running.wait() for running in shares]
    print(f"{count} processes, {time.perf_counter() - start:.0f} s, exit codes {codes}")
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(share(*map(int, sys.argv[1:])) if sys.argv[1:] else main())
