"""Sparse differentiable top-k (Sander et al., ICML 2023): most memberships are 0, exactly."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"topk": Rows("topk", "sparse").way(200)},
    promises=("sums_to_k", "keeps_order", "exact_zeros", "hard_limit", "shift_invariant", "scale_invariant"),
)
