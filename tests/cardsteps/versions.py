"""What is installed, and what is found: a line for each; what is missing is said, and fails only if nothing works."""

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distributions, version

from common import IS_REHEARSED

from lapsum_cli.devices import machine

PACKAGES = """
numpy numba numba-cuda cuda-cccl cuda-core cuda-bindings cuda-pathfinder nvidia-nvvm nvidia-nvjitlink nvidia-cuda-nvrtc
pyarrow typer pytest pytest-xdist hypothesis torch triton
"""
FOR = {
    "numba-cuda": "no kernel runs",
    "cuda-cccl": "ranks and sorts do not run",
    "nvidia-nvvm": "libnvvm must be that of a toolkit",
    "pytest-xdist": "the tests take longer",
    "torch": "no figures of it, and none through it",
}


def of(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return f"not installed{': ' + FOR[package] if package in FOR else ''}"


def gpu():
    from lapsum_cli.study.bench.machine import _card

    try:
        return _card()
    except Exception as error:
        return f"not seen ({type(error).__name__})"


def main():
    print(f"{'python':<16} {platform.python_version()} {sys.executable}, {os.cpu_count()} cores, {platform.release()}")
    for package in PACKAGES.split():
        print(f"{package:<16} {of(package)}")
    from numba import cuda

    cupy = next((f"{d.name} {d.version}" for d in distributions() if (d.name or "").startswith("cupy")), None)
    print(f"{'cupy':<16} {cupy or 'not installed: no figures of it'}")
    print(f"{'numba.cuda':<16} {cuda.__file__}")
    print(f"{'sanitizer':<16} {shutil.which('compute-sanitizer') or 'not on the path'}")
    print(f"{'CUDA_HOME':<16} {os.environ.get('CUDA_HOME', 'not set')}")
    print(f"{'driver':<16} {machine.driver_in_words()}")
    print(f"{'libnvvm':<16} {machine.libnvvm() or machine.NO_LIBNVVM}")
    print(f"{'card':<16} {gpu()}")
    problem = machine.cuda_problem()
    print(problem or "nothing keeps a kernel from running, as far as can be seen")
    return int(bool(problem) and not IS_REHEARSED)


if __name__ == "__main__":
    sys.exit(main())
