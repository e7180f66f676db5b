"""One number at a time, the same on a CPU and on a card: the Laplace distribution and its sums."""

from . import laplace

__all__ = ["laplace"]
