"""One number at a time, the same on a CPU and on a card: the Laplace distribution and its sums."""

from . import cut, laplace, team

__all__ = ["cut", "laplace", "team"]
