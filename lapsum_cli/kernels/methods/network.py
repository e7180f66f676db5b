"""Sorting networks: which places a layer compares, for odd-even transposition and for bitonic sorting of any length.

A network is layers of pairs of places, of which the second gets the larger score. Odd-even transposition has n layers
of two kinds, that alternate. Bitonic sorting (Batcher 1968) is of 2^b wires; of other lengths the lowest wires hold
less than any score, as if padded. What meets them goes to the wire of the larger, uncompared. Leaving such pairs out,
as the original does, sorts most lengths but not 38.
"""

import numpy as np

from ..jit import inner_counted


@inner_counted
def network(bitonic, n):
    """Pairs (p, 2) of places by kind of layer; where those of each kind begin; the kind of every layer; and the place
    that has the l-th smallest score in the end.
    """
    if bitonic:
        return _bitonic(n)
    pairs, starts = np.empty((max(n - 1, 0), 2), np.int32), np.zeros(3, np.int64)
    size = 0
    for kind in range(2):
        for i in range(kind, n - 1, 2):
            pairs[size, 0], pairs[size, 1] = i, i + 1
            size += 1
        starts[kind + 1] = size
    return pairs, starts, np.arange(n) % 2, np.arange(n)


@inner_counted
def _bitonic(n):
    blocks = 0
    while 1 << blocks < n:
        blocks += 1
    wires, layers = 1 << blocks, blocks * (blocks + 1) // 2
    held = np.arange(wires) - (wires - n)  # the place at every wire, below 0 for none
    pairs, starts = np.empty((layers * (n // 2), 2), np.int32), np.zeros(layers + 1, np.int64)
    size, layer = 0, 0
    for block in range(blocks):
        for step in range(block, -1, -1):
            size = _bitonic_layer(held, block, 1 << step, pairs, size)
            layer += 1
            starts[layer] = size
    return pairs[:size], starts, np.arange(layers), held[wires - n :].copy()


@inner_counted
def _bitonic_layer(held, block, span, pairs, size):
    """Every other stretch of 2^(block + 1) wires is sorted the other way round, to be merged with its neighbour."""
    for wire in range(held.size):
        if wire & span:
            continue
        small, large = wire, wire + span
        if (wire >> (block + 1)) & 1:
            small, large = large, small
        if held[small] >= 0 and held[large] >= 0:
            pairs[size, 0], pairs[size, 1] = held[small], held[large]
            size += 1
        elif held[small] >= 0:
            held[small], held[large] = held[large], held[small]
    return size
