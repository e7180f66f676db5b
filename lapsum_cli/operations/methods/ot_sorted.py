"""SOFT's sorted top-k (Xie et al., NeurIPS 2020): entropic transport to k + 1 anchors; alpha is its epsilon."""

from __future__ import annotations

from typing import Any

from ..method import Method
from .rows import Rows


def _steps(choices: dict[str, Any], lengths: Any, ks: Any) -> Any:
    """Every score meets every anchor."""
    return lengths * (ks + 1)


METHOD = Method(
    {"topk": Rows("topk", "ot_sorted", whole_k=True, steps=_steps, has_logs=True).way()},
    promises=("sums_to_k", "keeps_order"),
    lacks=("fractions",),
)
