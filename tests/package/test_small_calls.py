"""A call on a few scores costs what lies between the function and the kernel: calls of Python, which can be counted."""

import cProfile
from pathlib import Path

import numpy as np
import pytest

import lapsum_cli

PACKAGE = Path(lapsum_cli.__file__).parent
X, UPSTREAM = np.array([3, 1, 2, 0], np.float32), np.ones(4, np.float32)
# Calls of our own functions outside the kernels that a call makes, once it was made before.
CALLS = {
    "top-k": (67, lambda: lapsum_cli.soft_topk(X, 2, alpha=0.5)),
    "top-k in deviations": (65, lambda: lapsum_cli.soft_topk(X, 2)),
    "rank": (64, lambda: lapsum_cli.soft_rank(X, alpha=0.5)),
    "sort": (64, lambda: lapsum_cli.soft_sort(X, alpha=0.5)),
    "rank with gradient": (83, lambda: lapsum_cli.soft_rank_vjp(X, UPSTREAM, alpha=0.5)),
    "top-k with gradient": (94, lambda: lapsum_cli.soft_topk_vjp(X, 2, UPSTREAM, alpha=0.5)),
}


def functions_called(call):
    """Names of Python's functions that a call runs, with how often; those of modules that import are "import"."""
    for _ in range(2):
        call()
    profile = cProfile.Profile()
    profile.runcall(call)
    found: dict = {}
    for entry in profile.getstats():
        file = getattr(entry.code, "co_filename", "")
        if file.startswith("<frozen importlib"):
            found["import"] = found.get("import", 0) + entry.callcount
        elif Path(file).is_relative_to(PACKAGE) and not Path(file).is_relative_to(PACKAGE / "kernels"):
            name = f"{Path(file).stem}.{entry.code.co_name}"
            found[name] = found.get(name, 0) + entry.callcount
    return found


@pytest.mark.parametrize("what", CALLS)
def test_a_small_call_computes_nothing_twice_and_imports_nothing(what):
    most, call = CALLS[what]
    found = functions_called(call)
    assert "import" not in found
    assert sum(found.values()) <= most, found


def test_tensors_need_few_calls_too():
    torch = pytest.importorskip("torch")
    from lapsum_cli import torch as soft

    x = torch.tensor([[3.0, 1.0, 2.0, 0.0]] * 8, requires_grad=True)
    upstream = torch.ones(8, 4)
    found = functions_called(lambda: soft.soft_rank(x, alpha=0.5).backward(upstream))
    assert "import" not in found
    assert sum(found.values()) <= 96, found
