"""Hard results, with the gradients that they have: what is to be compared with."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {operation: Rows(operation, "hard").way() for operation in ("rank", "sort", "topk")},
    promises=("sums_to_k", "keeps_order", "exact_zeros", "hard_limit", "shift_invariant", "scale_invariant"),
)
