"""Differentiable sorting networks (Petersen et al., ICML 2021, ICLR 2022); alpha is 1 over their steepness.

How hard results are goes by the step: Cauchy's, the default, leaves alpha over the gap of two scores of each on the
wrong side.
"""

from __future__ import annotations

from typing import Any

from ..method import Method
from .rows import Rows


def _steps(choices: dict[str, Any], lengths: Any, ks: Any) -> Any:
    """Comparisons, of which odd-even transposition takes n^2 / 2 and bitonic sorting n log^2 n: for a permutation with
    each item by itself.
    """
    from numpy import log2, maximum

    if choices["network"] == "odd_even":
        return lengths * lengths
    layers = log2(maximum(lengths, 1)) + 1
    return lengths * layers * layers


def _steps_of_matrix(choices: dict[str, Any], lengths: Any, ks: Any) -> Any:
    return lengths * _steps(choices, lengths, ks)


METHOD = Method(
    {
        **{name: Rows(name, "sortnet", steps=_steps, has_logs=True).way() for name in ("rank", "sort", "topk")},
        "permute": Rows("permute", "sortnet", steps=_steps_of_matrix).way(),
    },
    promises=("sums_to_k", "shift_invariant", "scale_invariant"),
    lacks=("symmetric",),
)
