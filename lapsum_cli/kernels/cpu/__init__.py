"""Loops on the cores of this machine: rankings in memory, NumPy arrays in and out."""

from . import deviations, order, parallel, permute, rank, sort, sweeps, threshold, topk, vectors

__all__ = ["deviations", "order", "parallel", "permute", "rank", "sort", "sweeps", "threshold", "topk", "vectors"]
