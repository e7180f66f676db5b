"""DFTopK: memberships by a threshold in the middle between the k-th score and the next, whose sum is not k.

Zhu et al., 2025 (arXiv:2510.11472). Linear: no sort, and no search for a sum.
"""

from . import threshold


def topk(place, given):
    """Memberships, or their logarithms; and the thresholds."""
    return threshold.middle(place, given)


def topk_gradient(place, given, state, upstream):
    """For the scores and alpha; k is a whole number, and has none."""
    return threshold.middle_gradient(place, given, state, upstream)


def thresholds(given, state):
    """(m,) in the middle between the k-th score and the next."""
    return state.b
