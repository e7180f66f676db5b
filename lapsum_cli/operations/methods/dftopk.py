"""DFTopK (Zhu et al., 2025): a logistic step in the middle between the k-th score and the next."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"topk": Rows("topk", "dftopk", has_logs=True, whole_k=True).way(card_bytes=(28, 44))},
    promises=("keeps_order", "shift_invariant", "scale_invariant"),
    lacks=("fractions",),
)
