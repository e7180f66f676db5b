"""Fast soft ranks and sorts (Blondel et al., ICML 2020): projections onto the permutahedron."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"rank": Rows("rank", "fast_soft").way(150), "sort": Rows("sort", "fast_soft").way(150)},
    promises=("sums_to_k", "keeps_order", "exact_zeros", "hard_limit", "shift_invariant"),
)
