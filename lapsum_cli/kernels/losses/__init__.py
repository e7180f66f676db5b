"""Losses of soft ranks, memberships and permutations against a target."""

from . import losses, permutation

__all__ = ["losses", "permutation"]
