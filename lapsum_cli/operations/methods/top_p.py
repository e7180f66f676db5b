"""Top-p (Holtzman et al., ICLR 2020): the largest gates that hold p of their sum."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"topk": Rows("topk", "gates", passes="TOP_P").way()}, promises=("keeps_order", "exact_zeros"), lacks=("symmetric",)
)
