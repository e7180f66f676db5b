"""Loops on the cores of this machine: rankings in memory, NumPy arrays in and out."""

from . import deviations, losses, order, parallel, permute, rank, sort, sweeps, threshold, topk

__all__ = ["deviations", "losses", "order", "parallel", "permute", "rank", "sort", "sweeps", "threshold", "topk"]
