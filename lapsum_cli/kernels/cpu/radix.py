"""A long ranking sorted by its bytes, from the lowest (LSD radix sort): each is counted, then scattered.

11 ns a float32 score with its place, at any length, 8 without, and 16 to 19 a float64 score. For 10^7 scores NumPy's
SIMD sort of score and place packed into 64 bits takes 65, and its argsort 150, on a Zen 4, which is slow to store
compressed vectors. A ranking of more than a part is sorted in stretches by several threads.
"""

import numpy as np

from ..jit import inner, kernel
from ..scalars.keys import bits_of, key_of
from . import parallel
from .vectors import copy


def radix_sort_by(threads, bits, order, keys, places, spare, spare_places):
    """What radix_sort does, each step of it by several threads, a stretch of the ranking each."""
    # Several a thread, so that all end at once.
    stretches = list(enumerate(parallel.parts(len(bits), -(-len(bits) // (4 * threads)))))
    counts = np.empty((len(stretches), 256), np.int64)
    here, origin, there, target = keys, places, spare, spare_places

    def begin(i, part):
        _to_keys(bits[part], part.start, order, keys[part], places[part])

    def count(i, part, digit):
        _count(here[part], digit, counts[i])

    def scatter(i, part, digit):
        _scatter(here[part], origin[part], there, target, digit, counts[i])

    def end(i, part):
        _from_keys(here[part], origin[part], order, keys[part], places[part])

    parallel.for_each(begin, stretches, threads)
    for digit in range(bits.itemsize):
        steps = [(*stretch, digit) for stretch in stretches]
        parallel.for_each(count, steps, threads)
        if _begin_digits(counts):
            parallel.for_each(scatter, steps, threads)
            here, origin, there, target = there, target, here, origin
    parallel.for_each(end, stretches, threads)


@inner
def radix_sort(bits, first, order, keys, places, spare, spare_places, counts):
    """Sort by one byte after the other, the lowest first, to and fro between two buffers; ends in keys, as bits again,
    and places, counted from `first`. counts: (1, 256).
    """
    _to_keys(bits, first, order, keys, places)
    here, origin, there, target = keys, places, spare, spare_places
    for digit in range(bits.itemsize):
        _count(here, digit, counts[0])
        if _begin_digits(counts):
            _scatter(here, origin, there, target, digit, counts[0])
            here, origin, there, target = there, target, here, origin
    _from_keys(here, origin, order, keys, places)


@kernel
def _to_keys(bits, first, order, keys, places):
    """Integers in the order of the scores, and their places, from `first` on."""
    for i in range(bits.size):
        keys[i] = key_of(bits[i], order)
    for i in range(places.size):
        places[i] = first + i


@kernel
def _from_keys(keys, origin, order, bits, places):
    """The scores' bits again, and their places, which may be where they are to go."""
    for i in range(keys.size):
        bits[i] = bits_of(keys[i], order)
    copy(origin, places)


@kernel
def _count(keys, digit, count):
    """How often each value of a byte occurs."""
    shift = type(keys[0])(8 * digit)
    count[:] = 0
    for i in range(keys.size):
        count[np.uint8(keys[i] >> shift)] += 1


@kernel
def _begin_digits(counts):
    """Turn the counts of digits in every stretch into where each begins; False where one digit has them all: that byte
    orders nothing.
    """
    total, largest = 0, 0
    for d in range(counts.shape[1]):
        before = total
        for stretch in range(counts.shape[0]):
            begins, total = total, total + counts[stretch, d]
            counts[stretch, d] = begins
        largest = max(largest, total - before)
    return largest < total


@kernel
def _scatter(keys, places, to_keys, to_places, digit, begins):
    """Each key, and its place if they have any, to the next place of its digit."""
    shift, with_places = type(keys[0])(8 * digit), places.size > 0
    for i in range(keys.size):
        d = np.uint8(keys[i] >> shift)
        at = begins[d]
        begins[d] = at + 1
        to_keys[at] = keys[i]
        if with_places:
            to_places[at] = places[i]
