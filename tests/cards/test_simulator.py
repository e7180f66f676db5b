"""The stand-in for numba.cuda in Numba's simulator: device functions of any module see the thread that runs."""

from types import ModuleType

import numpy as np
import pytest

SOURCE = """
def place():
    cuda.syncthreads()
    return cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
"""


@pytest.mark.simulated
def test_a_device_function_of_another_module_knows_every_thread_until_the_last_returns():
    from lapsum_cli.kernels.cuda import adapter

    other = ModuleType("other")
    other.cuda = adapter.cuda
    exec(SOURCE, vars(other))
    place = adapter.device(other.place)

    @adapter.kernel
    def places(out):
        for _ in range(2):  # some threads return while others are at the barrier
            i = place()
        out[i] = i

    out = np.full(12, -1)
    places[3, 4](out)
    assert out.tolist() == list(range(12))


@pytest.mark.cuda
def test_a_small_grid_warns_of_nothing():
    import numba

    from lapsum_cli.kernels.cuda import adapter

    assert bool(numba.config.ENABLE_CUDASIM) == adapter.IS_SIMULATED
    assert numba.config.CUDA_LOW_OCCUPANCY_WARNINGS == 0
