"""Gates as threshold-p chooses them; see gates.py."""

from . import gates


def topk(cores, given):
    """Gates that pass, and 0."""
    values, state = gates.threshold(cores, given)
    return values, (state, values != 0)


def topk_gradient(cores, given, state, upstream):
    """For the scores and alpha."""
    return gates.gradient(cores, given, state[0], upstream, state[1])
