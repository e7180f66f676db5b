"""What the threads of a block find out together: sums, maxima, and scans of affine maps, through shared memory.

s is float64 shared memory, one row of it for each thread and each value at hand. The number of threads is a power of
two, and on a card whole warps. The same pairs are always added, so a sum has the same bits every time. A warp adds up
by exchanging registers, which the simulator cannot: there a tree through shared memory does.
"""

import numpy as np

from .adapter import IS_SIMULATED, cuda, device

# Of a place in shared memory, or among what a team has. Numba adds two as 64 bits, for which a card takes twice as
# long, and asks of a signed one whether it counts from the end: so a sum is cut down to this.
uint32 = np.uint32


@device
def block_sums(s, values):
    """The sum of each of a tuple of values over all threads: s[row * threads], until the next call."""
    _fold(s, values, False)


@device
def block_maxima(s, values):
    """The largest of each of a tuple of values over all threads: s[row * threads], until the next call."""
    _fold(s, values, True)


if IS_SIMULATED:

    def _fold(s, values, largest):
        t, threads = cuda.threadIdx.x, cuda.blockDim.x
        cuda.syncthreads()
        for row in range(len(values)):
            s[row * threads + t] = values[row]
        cuda.syncthreads()
        width = threads // 2
        while width > 0:
            if t < width:
                for row in range(len(values)):
                    mine, other = row * threads + t, row * threads + t + width
                    s[mine] = max(s[mine], s[other]) if largest else s[mine] + s[other]
            cuda.syncthreads()
            width //= 2

else:

    @device
    def over_lanes(value, mask, width, largest):
        """The sum, or the largest, of the values of so many neighbours in a warp; mask: which those are."""
        step = width >> 1
        while step > 0:
            other = cuda.shfl_xor_sync(mask, value, step)
            value = max(value, other) if largest else value + other
            step >>= 1
        return value

    @device
    def _fold(s, values, largest):
        t, threads = cuda.threadIdx.x, cuda.blockDim.x
        lane, warp, warps = t & 31, t >> 5, threads >> 5
        cuda.syncthreads()
        for row in range(len(values)):
            mine = over_lanes(values[row], ALL_LANES, 32, largest)
            if lane == 0:
                s[row * threads + warp] = mine
        cuda.syncthreads()
        if warps > 1:
            for row in range(warp, len(values), warps):
                mine = s[row * threads + lane] if lane < warps else (-np.inf if largest else 0.0)
                mine = over_lanes(mine, ALL_LANES, 32, largest)
                if lane == 0:
                    s[row * threads] = mine
            cuda.syncthreads()


ALL_LANES = 0xFFFFFFFF


@device
def put_results(s, rows, out, column):
    """Write what a block found to rows of a column."""
    for row in range(cuda.threadIdx.x, rows, cuda.blockDim.x):
        out[row, column] = s[row * cuda.blockDim.x]


@device
def scan_both_ways(s, factor, term, back_term):
    """Each thread brings maps carry -> factor carry + term, one way and, with back_term, the other way.

    It gets the map of all threads before it, one after another, and that of all behind it: two factors and terms each,
    (before factor, before term, behind factor, behind term). Factors are in [0, 1], so nothing overflows. s: four rows.
    """
    t, threads = cuda.threadIdx.x, cuda.blockDim.x
    u, terms, back, back_terms = threads - 1 - t, threads, 2 * threads, 3 * threads
    back_factor = factor
    cuda.syncthreads()
    s[t], s[terms + t], s[back + u], s[back_terms + u] = factor, term, factor, back_term
    cuda.syncthreads()
    step = 1
    while step < threads:
        other_factor, other, other_back_factor, other_back = 1.0, 0.0, 1.0, 0.0
        if t >= step:
            other_factor, other = s[t - step], s[terms + t - step]
        if u >= step:
            other_back_factor, other_back = s[back + u - step], s[back_terms + u - step]
        cuda.syncthreads()
        factor, term = factor * other_factor, factor * other + term
        back_factor, back_term = back_factor * other_back_factor, back_factor * other_back + back_term
        s[t], s[terms + t], s[back + u], s[back_terms + u] = factor, term, back_factor, back_term
        cuda.syncthreads()
        step *= 2
    before_factor, before, behind_factor, behind = 1.0, 0.0, 1.0, 0.0
    if t > 0:
        before_factor, before = s[t - 1], s[terms + t - 1]
    if u > 0:
        behind_factor, behind = s[back + u - 1], s[back_terms + u - 1]
    return before_factor, before, behind_factor, behind
