"""threshold-p (MoDification: Zhang et al., NAACL 2025): gates of p or more, any number of them."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"topk": Rows("topk", "gates", passes="THRESHOLD").way(card_bytes=(36, 44))},
    promises=("keeps_order", "exact_zeros"),
)
