"""NeuralSort (Grover et al., ICLR 2019): the softmax of how well each item fits a position; alpha is its tau."""

from ..method import Method
from .rows import Rows, quadratic

METHOD = Method(
    {
        name: Rows(name, "matrices", passes="NEURALSORT", steps=quadratic, has_logs=True).way()
        for name in ("rank", "sort", "topk", "permute")
    },
    promises=("sums_to_k", "hard_limit", "shift_invariant", "scale_invariant"),
    lacks=("bounds",),
)
