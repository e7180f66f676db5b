"""Forward and backward through PyTorch, beside the methods that others have in plain PyTorch.

softsort    rows of softmax(-|sorted x - x| / tau), as of SoftSort and SoftTorch: times the scores or the places, or the
            sum of the first k. They are n^2 numbers a ranking, so some rankings at a time
"""

import statistics
import time
from functools import partial

from common import either

ALPHA, RUNS = 0.1, either(15, 1)
SHAPES = {"large": either((4096, 1000), (3, 9)), "small": either((8, 128), (2, 6))}
CHUNK = either(256, 2)  # rankings at a time: 1 GB of n^2 numbers


def softsort(x):
    return (-(x.sort(-1, descending=True).values[..., None] - x[..., None, :]).abs() / ALPHA).softmax(-1)


def their_topk(x, k):
    return softsort(x)[:, :k].sum(1)


def their_sort(x, k):
    return (softsort(x) @ x[..., None])[..., 0]


def their_rank(x, k):
    import torch

    return torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=x.dtype) @ softsort(x)


def ours():
    import lapsum_cli.torch as soft

    return {
        "topk": lambda x, k: soft.soft_topk(x, k, alpha=ALPHA),
        "rank": lambda x, k: soft.soft_rank(x, alpha=ALPHA),
        "sort": lambda x, k: soft.soft_sort(x, alpha=ALPHA),
    }


THEIRS = {"topk": their_topk, "rank": their_rank, "sort": their_sort}


def seconds_of(function, device):
    """The median of some calls, by events on a card."""
    import torch

    found = []
    for _ in range(RUNS + 2):
        if device == "cuda":
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            function()
            after.record()
            after.synchronize()
            found.append(before.elapsed_time(after) / 1e3)
        else:
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return statistics.median(found[2:])


def sides_of(operation, shape):
    """Side -> seconds, of one forward and one backward pass; and of a hard sort of PyTorch's alone."""
    import torch

    device = "cuda" if torch.cuda.is_available() else either("cuda", "cpu")
    generator = torch.Generator().manual_seed(0)
    x, upstream = (torch.randn(shape, generator=generator).to(device) for _ in range(2))
    k = max(1, shape[1] // 10)

    def there_and_back(function, scores, upstream):
        scores.grad = None
        function(scores, k).backward(upstream)

    whole, parts = x.clone().requires_grad_(), [part.clone().requires_grad_() for part in x.split(CHUNK)]

    def theirs():
        for some, pulled in zip(parts, upstream.split(CHUNK), strict=True):
            there_and_back(THEIRS[operation], some, pulled)

    return {
        "lapsum": seconds_of(partial(there_and_back, ours()[operation], whole, upstream), device),
        "softsort": seconds_of(theirs, device),
        "torch.sort": seconds_of(lambda: x.sort(-1), device),
    }


def cases():
    """(name, a function that gives its sides)"""
    for size, shape in SHAPES.items():
        for operation in THEIRS:
            yield f"torch {operation} {size}", lambda operation=operation, shape=shape: sides_of(operation, shape)
