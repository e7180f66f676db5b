"""Min-p (Nguyen et al., ICLR 2025): gates of at least p times the largest."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"topk": Rows("topk", "gates", passes="MIN_P").way(card_bytes=(36, 44))}, promises=("keeps_order", "exact_zeros")
)
