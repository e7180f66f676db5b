"""SoftSort (Prillo and Eisenschlos, ICML 2020): the softmax of distances from the sorted scores; alpha is its tau."""

from __future__ import annotations

from typing import Any

from ..method import Method
from .rows import Rows, quadratic


def _steps(choices: dict[str, Any], lengths: Any, ks: Any) -> Any:
    """Distances as they are need sweeps alone."""
    return quadratic(choices, lengths, ks) if choices["power"] != 1 else 0 * lengths


METHOD = Method(
    {
        **{
            name: Rows(name, "matrices", passes="SOFTSORT", steps=_steps, has_logs=True).way()
            for name in ("rank", "sort", "topk")
        },
        "permute": Rows("permute", "matrices", passes="SOFTSORT", steps=quadratic).way(),
    },
    promises=("sums_to_k", "hard_limit", "shift_invariant", "scale_invariant"),
    lacks=("bounds",),
)
