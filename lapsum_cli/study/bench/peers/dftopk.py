"""DFTopK, in PyTorch: another soft top-k."""

import math

from .torch import set_threads as set_threads

LABEL = "DFTopK"


def topk(case, scores):
    """A sigmoid around the middle between the k-th and the next largest score. It does not sum to k."""
    import torch

    x, at = torch.from_numpy(scores), case.length - min(math.ceil(case.k), case.length - 1)
    return torch.sigmoid((x - (x.kthvalue(at + 1, -1, True)[0] + x.kthvalue(at, -1, True)[0]) / 2) / case.alpha)


MODULES = {"torch": {"topk": topk}}
