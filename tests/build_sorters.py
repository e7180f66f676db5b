"""Build the sorters of cuda.compute for a GPU, on a machine without one: python3 tests/build_sorters.py [90]

Needs the extra `cuda`, and where there is no driver also a C compiler: its library must be there, whatever it says. The
sorters are kept in the cache of kernels (LAPSUM_CACHE_DIR), whose folder `kept` may be carried to the machine of a GPU.
"""

import ctypes
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np


def load_driver() -> None:
    """The driver's library, or one of its name that has the functions which cuda.compute links to, and no device."""
    try:
        ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
        return
    except OSError:
        pass
    cccl = Path(find_spec("cuda.cccl").submodule_search_locations[0]).with_name("compute")
    libraries = map(str, cccl.rglob("*.so"))
    listed = subprocess.run(["nm", "-D", "--undefined-only", *libraries], check=True, capture_output=True, text=True)
    names = {line.split()[-1] for line in listed.stdout.splitlines() if line}
    names = sorted(name for name in names if name.startswith("cu") and name[2:3].isupper())
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "driver.c", Path(folder) / "libcuda.so.1"
        source.write_text("".join(f"int {name}(void) {{ return 100; }}\n" for name in names))  # CUDA_ERROR_NO_DEVICE
        command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, source]
        subprocess.run(command, check=True)
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def main(cards: list[int]) -> None:
    load_driver()
    from lapsum_cli.kernels import jit
    from lapsum_cli.kernels.cuda import sorters

    for card in cards:
        for name in ("radix_sort", "segmented_sort"):
            for kind in (np.dtype(np.uint32), np.dtype(np.uint64)):
                start = time.perf_counter()
                sorters.kept(name, kind, divmod(card, 10))
                print(f"{name} of {kind} for sm_{card}: {time.perf_counter() - start:.1f} s", flush=True)
    print(jit.what_was_wrong() or f"all are kept in {jit.CACHE.with_name('kept')}")


if __name__ == "__main__":
    main([int(card) for card in sys.argv[1:]] or [90])
