"""Sparse top-k of magnitudes (Sander et al., ICML 2023): the k largest |x| nearly as they are, and zeros."""

from ..method import Method
from .rows import Rows

METHOD = Method(
    {"topk": Rows("topk", "sparse_magnitude", has_members=False).way(200)},
    promises=("exact_zeros",),
    lacks=("members",),
)
