"""Noised top-k (Berthet et al., NeurIPS 2020; Garcin et al., ICML 2022): the mean of hard ones of noisy scores."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"topk": Rows("topk", "noised").way(400)},
    promises=("sums_to_k", "exact_zeros", "shift_invariant"),
    lacks=("symmetric", "alone"),
)
