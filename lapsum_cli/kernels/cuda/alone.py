"""Soft top-k of short rankings on a card: a thread for each, which has it in shared memory.

A block is a warp. Its threads read 32 rankings together, so that neighbours read neighbouring scores, and then each
solves its own without waiting for another: no barrier, no reduction, and sums in the order of the scores, which depends
on nothing beside them. Rows of an odd stride keep the threads on different banks. Results take the place of the scores,
gradients that of their upstream, and are written as they were read: a score crosses memory once in each direction.

A warp per ranking takes some 4500 instructions for 100 scores, most of them in reductions. Here the loops of sm_90 code
add up to some 330 a score and thread, so 1000 a ranking, and 300 to copy it in and out. Shared memory bounds the
length: 512 bytes a ranking are 17 KB a warp, 33 with an upstream gradient (48 are allowed), so that a multiprocessor
has 13 warps of an H100's 227 KB, or 6, and 5, or 3, of the 100 KB of compute capability 12.0. At 256 float32 scores
half of these would be left, against 32 with a warp for each ranking.
Rankings of like length go together (tiles.OWN): a warp takes as long as its longest one.
"""

from typing import Any, NamedTuple

import numpy as np

from . import tiles
from .adapter import cuda, device, float64, int64, kernel, one_of
from .members import (
    AT_ONCE,
    KEPT,
    beside,
    ends_of,
    factor_of,
    moment_of,
    nearest_to,
    off_by,
    pull_of,
    result_of,
    scaled,
    seen_from,
    settled_one,
)
from .teams import alone_for
from .threshold import find_whole_cut, on_a_line, put_found, put_shares

LOOKS = 4  # passes that only count: two fifths of a try with exponentials, of which they save one to three


class Class(NamedTuple):
    """Short rankings of like length."""

    numbers: Any  # on the card
    longest: int

    def launch(self, lane, function, rows: int, itemsize: int, *given) -> None:
        """Run a kernel on them: function(numbers, stride, width, *given); rows: scores, or also an upstream."""
        threads, stride = tiles.FEW_THREADS, self.longest | 1
        width = min(1 << (self.longest - 1).bit_length(), threads)
        room = 2 + -(-rows * stride * itemsize // 8)  # of float64 for each thread
        lane.launch(function, -(-len(self.numbers) // threads), threads, room, self.numbers, stride, width, *given)


def classes(layout, itemsize: int) -> list[Class]:
    """Short rankings by length; none without scores."""
    found, above, lengths = [], 0, layout.lengths
    for most in tiles.own_lengths(itemsize):
        chosen, above = np.flatnonzero((lengths > above) & (lengths <= most)), most
        if len(chosen):
            found.append(Class(layout.put(chosen), int(lengths[chosen].max())))
    return found


@kernel
def _topk(
    numbers, stride, width, offsets, x, sign, ks, alphas, rates, log, cuts, out, v, slope, gradient, to_k, to_alpha
):
    """Cuts; memberships, unless out is empty; and unless v is, the gradients of the scores, of k and of alpha."""
    s, places, mine = cuda.shared.array(0, x.dtype), cuda.shared.array(0, offsets.dtype), cuda.grid(1)
    n, first = _take_places(numbers, offsets, places), _first_row(x)
    second, row = first + cuda.blockDim.x * stride, first + cuda.threadIdx.x * stride
    _copy_in(x, sign, places, s, first, stride, width)
    if v.size > 0:
        _copy_in(v, x.dtype.type(1), places, s, second, stride, width)
    cuda.syncthreads()
    if n > 0:
        r, one, shares, scores = numbers[mine], x.dtype.type(1), cuda.local.array(6, float64), s[row : row + n]
        k, alpha, rate = one_of(ks, r), one_of(alphas, r), one_of(rates, r)
        guess = _guess(scores, k)
        found = find_whole_cut(alone_for(r), scores, 0, n, one, guess, k, alpha, rate)
        put_found(found, cuts[r], shares)
        b = beside(x, rate, cuts[r], shares)
        if v.size > 0:
            pulls = s[row + second - first : row + second - first + n]
            found = _settle(scores, pulls, b, cuts[r], shares[4], sign, slope, out.size > 0, log)
            to_k[r], to_alpha[r] = found
        elif out.size > 0:
            for i in range(n):
                z, e, up = seen_from(b, scores[i])
                scores[i] = result_of(b, scores[i], z, e, up, log)
    cuda.syncthreads()
    if out.size > 0:
        _copy_out(s, first, stride, width, places, out)
    if v.size > 0:
        _copy_out(s, second, stride, width, places, gradient)


@kernel
def _gradient(numbers, stride, width, offsets, x, sign, rates, cuts, v, slope, gradient, to_k, to_alpha):
    """The gradients of the scores, of k and of alpha, given the cuts."""
    s, places, mine = cuda.shared.array(0, x.dtype), cuda.shared.array(0, offsets.dtype), cuda.grid(1)
    n, first = _take_places(numbers, offsets, places), _first_row(x)
    second, row = first + cuda.blockDim.x * stride, first + cuda.threadIdx.x * stride
    _copy_in(x, sign, places, s, first, stride, width)
    _copy_in(v, x.dtype.type(1), places, s, second, stride, width)
    cuda.syncthreads()
    if n > 0:
        r, shares = numbers[mine], cuda.local.array(6, float64)
        put_shares(cuts[r], shares)
        b, pulls = beside(x, one_of(rates, r), cuts[r], shares), s[row + second - first : row + second - first + n]
        found = _settle(s[row : row + n], pulls, b, cuts[r], shares[4], sign, slope, False, False)
        to_k[r], to_alpha[r] = found
    cuda.syncthreads()
    _copy_out(s, second, stride, width, places, gradient)


@device
def _first_row(x):
    """Where rows begin in shared memory: after the places."""
    return 16 * cuda.blockDim.x // x.itemsize


@device
def _take_places(numbers, offsets, places):
    """Where the rankings of all threads start, and their lengths; returns this thread's, 0 where it has none."""
    t, threads, mine, start, n = cuda.threadIdx.x, cuda.blockDim.x, cuda.grid(1), 0, 0
    if mine < numbers.size:
        r = numbers[mine]
        start = offsets[r]
        n = offsets[r + 1] - start
    places[t], places[threads + t] = start, n
    cuda.syncthreads()
    return n


@device
def _copy_in(x, sign, places, s, first, stride, width):
    """Rows sign x from `first` on: `width` threads take a ranking, the others the next ones, four rankings at once."""
    threads, together, column = cuda.blockDim.x, cuda.blockDim.x // width, cuda.threadIdx.x % width
    got, starts = cuda.local.array(AT_ONCE, x.dtype), cuda.local.array(AT_ONCE, int64)
    sizes = cuda.local.array(AT_ONCE, int64)
    for top in range(cuda.threadIdx.x // width, threads, AT_ONCE * together):
        for j in range(AT_ONCE):
            row = min(top + j * together, threads - 1)
            starts[j], sizes[j] = places[row], places[threads + row]
        for i in range(column, stride, width):
            for j in range(AT_ONCE):
                if i < sizes[j]:
                    got[j] = x[starts[j] + i]
            for j in range(AT_ONCE):
                if i < sizes[j]:
                    s[first + min(top + j * together, threads - 1) * stride + i] = sign * got[j]


@device
def _copy_out(s, first, stride, width, places, out):
    """Rows back to where their rankings are."""
    threads, together = cuda.blockDim.x, cuda.blockDim.x // width
    for row in range(cuda.threadIdx.x // width, threads, together):
        n, here = places[threads + row], first + row * stride
        scores, to = s[here : here + n], out[places[row] : places[row] + n]
        for i in range(cuda.threadIdx.x % width, n, width):
            to[i] = scores[i]


@device
def _guess(s, k):
    """About which score k of them are above: false position by counts between the finite extremes."""
    infinity, top, masked = type(s[0])(np.inf), 0, 0
    lowest, highest = infinity, -infinity
    for i in range(s.size):
        top += s[i] == infinity
        masked += s[i] == -infinity
        if abs(s[i]) < infinity:
            lowest, highest = min(lowest, s[i]), max(highest, s[i])
    low, high, at_low, at_high = np.float64(lowest), np.float64(highest), np.float64(s.size - masked), np.float64(top)
    guess = on_a_line(low, at_low, high, at_high, k)
    for _ in range(LOOKS):
        count, at = 0, type(s[0])(guess)
        for i in range(s.size):
            count += s[i] > at
        if count >= k:
            low, at_low = guess, np.float64(count)
        else:
            high, at_high = guess, np.float64(count)
        guess = on_a_line(low, at_low, high, at_high, k)
        if not low < guess < high:
            break
    return guess


@device
def _mean_pull(s, pulls, b, slope):
    """The mean pull on the threshold, and what is taken off pulls before."""
    nearest, i, kind = nearest_to(b), 0, type(b.rate)
    while s[i] != nearest and i < s.size - 1:
        i += 1
    off, pulled, total = off_by(b, pulls[i], slope), 0.0, 0.0
    for block in range(0, s.size, KEPT):
        part, part_total = kind(0), kind(0)
        for i in range(block, min(block + KEPT, s.size)):
            z, e, up = seen_from(b, s[i])
            e = scaled(b, e, up)
            part, part_total = part + pull_of(b, pulls[i], z, e, up, slope, off), part_total + e
        pulled, total = pulled + part, total + part_total
    return pulled / total, off


@device
def _settle(s, pulls, b, cut, scale, sign, slope, results, log):
    """The gradients of scores, in place of their upstream, and results in place of the scores; those of k and alpha."""
    kind = type(b.rate)
    mean, off, from_neighbours, above_b, below_b = 0.0, (kind(0), kind(0)), 0.0, 0.0, 0.0
    if not b.is_hard:
        mean, off = _mean_pull(s, pulls, b, slope)
    mean_here, factor = kind(mean), factor_of(b, sign, slope)
    for block in range(0, s.size, KEPT):
        part, part_above, part_below = kind(0), kind(0), kind(0)
        for i in range(block, min(block + KEPT, s.size)):
            z, e, up = seen_from(b, s[i])
            if results:
                s[i] = result_of(b, s[i], z, e, up, log)
            g = kind(0)
            if not b.is_hard:
                g = settled_one(b, pulls[i], z, scaled(b, e, up), up, slope, off, mean_here)
                part += moment_of(z, g)
                part_above, part_below = part_above + (g if up else kind(0)), part_below + (kind(0) if up else g)
            pulls[i] = factor * g
        from_neighbours, above_b, below_b = from_neighbours + part, above_b + part_above, below_b + part_below
    if b.is_hard:
        return 0.0, 0.0
    return ends_of(b, cut, scale, mean, off, (from_neighbours, above_b, below_b), slope)
