"""A float as an unsigned integer that orders like it: what every sort compares, on a CPU and on a card."""

import numpy as np

from ..jit import inlined


def bit_order(dtype: np.dtype, descending: bool) -> tuple:
    """(all bits, sign bit, all or none) of an unsigned dtype: what turns a float's bits into an integer and back.

    All bits of negative ones are inverted and the sign bit of the others, then all for a descending order.
    """
    every, sign = dtype.type(-1 % (1 << 8 * dtype.itemsize)), dtype.type(1 << (8 * dtype.itemsize - 1))
    return every, sign, every if descending else dtype.type(0)


@inlined
def key_of(bits, order):
    """The integer of the bits of a float; -0 is 0."""
    every, sign, flip = order
    b = bits if bits != sign else type(sign)(0)
    return b ^ (every if b & sign else sign) ^ flip


@inlined
def bits_of(key, order):
    """The bits of the float that has this integer."""
    every, sign, flip = order
    b = key ^ flip
    return b ^ (sign if b & sign else every)
