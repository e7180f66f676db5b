"""The stand-in for numba.cuda in Numba's simulator: device functions of any module see the thread that runs."""

from types import ModuleType

import numpy as np
import pytest
import races

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


@pytest.mark.simulated
@pytest.mark.parametrize("has_barrier", [True, False])
def test_a_race_is_told_and_so_is_a_barrier_that_not_all_threads_meet_at(has_barrier):
    from lapsum_cli.kernels.cuda import adapter

    @adapter.kernel
    def turned(given, out):
        t = adapter.cuda.threadIdx.x
        given[t] += 1
        if has_barrier or t == 0:
            adapter.cuda.syncthreads()
        out[t] = given[3 - t]

    with races.told() as found:
        turned[2, 4](np.zeros(4), np.zeros(4))
    assert bool(found) != has_barrier
    if found:
        assert {line.partition(": ")[2] for line in found} >= {"read beside a write", "threads meet {0, 1} times"}


@pytest.mark.cuda
def test_a_small_grid_warns_of_nothing():
    import numba

    from lapsum_cli.kernels.cuda import adapter

    assert bool(numba.config.ENABLE_CUDASIM) == adapter.IS_SIMULATED
    assert numba.config.CUDA_LOW_OCCUPANCY_WARNINGS == 0
