"""OneSoft top-k (BT-Cell: Ray Chowdhury, Caragea, ICML 2023): k - 1 hard places and a soft one."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"topk": Rows("topk", "onesoft", whole_k=True).way()},
    promises=("sums_to_k", "keeps_order", "hard_limit", "shift_invariant", "scale_invariant"),
    lacks=("symmetric", "fractions"),
)
