"""SoftSort (Prillo and Eisenschlos, ICML 2020): the softmax of distances from the sorted scores; alpha is its tau."""

from ..method import Method
from .rows import Rows, quadratic


def _steps(choices, lengths, ks):
    """Distances as they are need sweeps alone."""
    return quadratic(choices, lengths, ks) if choices["power"] != 1 else 0 * lengths


METHOD = Method(
    {
        **{name: Rows(name, "softsort", steps=_steps).way() for name in ("rank", "sort", "topk")},
        "permute": Rows("permute", "softsort", steps=quadratic).way(),
    },
    promises=("sums_to_k", "hard_limit", "shift_invariant", "scale_invariant"),
    breaks=("bounds",),
)
