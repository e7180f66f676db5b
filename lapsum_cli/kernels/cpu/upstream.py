"""An upstream gradient of ranks: in their order, and without what all of it has in common."""

from ..jit import uncounted


@uncounted
def put_in_order(upstream, place, begin, end, v):
    for i in range(begin, end):
        v[i] = upstream[place[i]]


@uncounted
def common_of(v):
    """What is taken off an upstream gradient: its number nearest to 0, if all are on one side and none is beyond twice
    that; else 0.

    Ranks have a sum that no score moves, so gradients do not see it, and that difference is exact: of numbers that are
    nearly alike the sums that cancel would leave little more than their rounding.
    """
    zero = v.dtype.type(0)
    near = far = v[0] if v.size > 0 else zero
    for i in range(v.size):
        near = v[i] if abs(v[i]) < abs(near) else near
        far = v[i] if abs(v[i]) > abs(far) else far
        if not near * v[i] > zero or abs(far) > abs(near + near):
            return zero
    return near


@uncounted
def take_off(common, v):
    for i in range(v.size if common != 0 else 0):
        v[i] -= common
