"""Hypothesis: 100 derandomised examples by default, `--hypothesis-profile long` by hand. No deadline: the JIT.

Kernels for GPUs are tested where one works, or by a second run in Numba's simulator, and are not collected elsewhere:

    NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1 python3 -m pytest tests/test_cuda.py
"""

from hypothesis import HealthCheck, settings
from onecard import RUNS_CUDA

settings.register_profile("default", max_examples=100, derandomize=True, deadline=None, database=None)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("default")

collect_ignore = [] if RUNS_CUDA else ["test_cuda.py"]
