"""Ranks and sorted scores by entropic transport of squashed scores (Cuturi et al., NeurIPS 2019); alpha is epsilon."""

from ..method import Method
from .rows import Rows, quadratic

METHOD = Method(
    {
        **{name: Rows(name, "sinkhorn", steps=quadratic).way() for name in ("rank", "sort", "permute")},
        "topk": Rows("topk", "sinkhorn", has_logs=True).way(card_bytes=(52, 76)),
    },
    promises=("sums_to_k", "keeps_order", "shift_invariant"),
)
