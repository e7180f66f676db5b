"""SOFT (Xie et al., NeurIPS 2020): entropic transport between the scores and two anchors."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"topk": Rows("topk", "ot", has_logs=True).way(card_bytes=(28, 44))}, promises=("sums_to_k", "keeps_order")
)
