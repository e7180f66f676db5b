"""torchsort: soft ranks by projection on the permutahedron, in PyTorch."""

LABEL = "torchsort"


def gradient(case, scores, upstream):
    """soft_rank (l2), forward and backward; its softness has another unit."""
    import torch
    import torchsort

    x = torch.from_numpy(scores).requires_grad_()
    ranks = torchsort.soft_rank(x, regularization="l2", regularization_strength=case.alpha)
    ranks.backward(torch.from_numpy(upstream))
    return ranks, x.grad


MODULES = {"torchsort": {"rank-gradient": gradient}}
