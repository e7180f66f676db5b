"""PyTorch's tensors, told by their class alone: whoever has none imports nothing for them."""

from __future__ import annotations

from typing import Any


def is_tensor(given: Any) -> bool:
    """Whether it is a tensor of PyTorch, or of a subclass."""
    return any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(given).__mro__)


def unreadable(tensor: Any) -> str | None:
    """What keeps anybody from reading the numbers of a tensor one after another, and what to do; None for nothing."""
    if tensor.is_nested:
        return "is nested; pad it with -inf, as torch.nested.to_padded_tensor does"
    if str(tensor.layout) != "torch.strided":
        return f"has the layout {str(tensor.layout).removeprefix('torch.')}; pass it as .to_dense()"
    if tensor.is_meta:
        return "is on meta, where a tensor has no numbers"
    if type(tensor).__name__ == "FakeTensor":
        return "is a fake tensor, which has no numbers"
    return None
