"""One number at a time, the same on a CPU and on a card: the Laplace distribution and its sums."""

from . import cut, functions, keys, laplace, places, summary, team

__all__ = ["cut", "functions", "keys", "laplace", "places", "summary", "team"]
