"""Sorting networks: which wires a layer compares, for odd-even transposition and for bitonic sorting of any length.

A network is layers of pairs of wires, of which the second gets the larger score. Odd-even transposition has n layers of
two kinds, that alternate. Bitonic sorting (Batcher 1968) is of 2^b wires; of other lengths the lowest wires are left
out. Where stretches are sorted the other way round these stand for what is larger than all scores, else for what is
smaller: either way nothing that is compared with them moves, and all lengths are sorted.
"""

import numpy as np

from ..jit import inner_counted, kernel


@kernel
def network(bitonic, n):
    """Pairs (p, 2) of wires by kind of layer; where those of each kind begin; and the kind of every layer."""
    if bitonic:
        return _bitonic(n)
    pairs, starts = np.empty((max(n - 1, 0), 2), np.int32), np.zeros(3, np.int64)
    size = 0
    for kind in range(2):
        for i in range(kind, n - 1, 2):
            pairs[size, 0], pairs[size, 1] = i, i + 1
            size += 1
        starts[kind + 1] = size
    return pairs, starts, np.arange(n) % 2


@inner_counted
def _bitonic(n):
    blocks = 0
    while 1 << blocks < n:
        blocks += 1
    layers = blocks * (blocks + 1) // 2
    pairs, starts = np.empty((layers * (n // 2), 2), np.int32), np.zeros(layers + 1, np.int64)
    size, layer = 0, 0
    for block in range(blocks):
        for step in range(block, -1, -1):
            size = _bitonic_layer(n, 1 << blocks, block, 1 << step, pairs, size)
            layer += 1
            starts[layer] = size
    return pairs[:size], starts, np.arange(layers)


@inner_counted
def _bitonic_layer(n, wires, block, span, pairs, size):
    """Every other stretch of 2^(block + 1) wires is sorted the other way round, to be merged with its neighbour."""
    for wire in range(wires - n, wires - span):
        if wire & span:
            continue
        is_reversed = (wire >> (block + 1)) & 1
        low, high = wire - (wires - n), wire + span - (wires - n)
        pairs[size, 0], pairs[size, 1] = (high, low) if is_reversed else (low, high)
        size += 1
    return size
