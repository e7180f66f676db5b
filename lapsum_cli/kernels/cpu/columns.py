"""Thresholds of short rankings, side by side: each is a column of a matrix, and an instruction takes a row.

A ranking of ten scores fills no vector, and where its threshold lies is a branch that no processor foresees. Rankings
of about the same length, side by side, have neither: a network of exchanges sorts all columns at once, two sweeps give
the soft count at every score, and how many of these are less than k is the gap that the threshold is in. What the
closed form needs of it is summed anew from there, so that a sum does not carry the rounding of a chain.

Columns are filled up with scores of -inf, which add nothing: a result depends on its own ranking alone.
"""

import numpy as np

from ..jit import inner, within
from ..scalars.functions import exp_nonpositive, fma, in_order
from ..scalars.summary import step
from .sweeps import finite_part

# Scores up to which a ranking is a column, and the threshold of a longer one is found in a bracket. A network makes
# log^2 n exchanges a score: of 200 scores, 6.5 ns a score in all where NumPy's sort and a search in it take 7.9.
LONGEST = 256
COLUMNS = {4: 64, 8: 32}  # rankings side by side, by itemsize: rows of 256 bytes, as more would leave the L1 cache
_WHOLE = 8  # columns that are filled for fewer: whole vectors
AT_ONCE = 2048  # rankings that are put in the order of their lengths: of fewer, more columns would be filled up


def room_for(workspace, dtype):
    """Three matrices of columns; rows of a number each, as `_neighbours` names them; rankings by their length."""
    columns = COLUMNS[dtype.itemsize]
    return (
        workspace.array("matrices", (3, LONGEST * columns), dtype),
        workspace.array("numbers", (8, columns), dtype),
        workspace.array("begins", (LONGEST + 2,), np.int64),
        workspace.array("which", (AT_ONCE,), np.int64),
    )


@inner
def neighbours_of_columns(values, offsets, first, last, sign, ks, rates, room, roots, cuts):
    """What threshold.neighbours tells of rankings first .. last, at most AT_ONCE, if they are no longer than LONGEST;
    where k takes none or all of a ranking it means nothing.

    Of ranking r the neighbours stand in cuts[r], and in column r - first of roots where the finite scores begin and
    end, the excess of k, and the sums above and below.
    """
    matrices, numbers, begins, which = room
    count = _by_length(offsets, first, last, begins, which)
    for at in range(0, count, numbers.shape[1]):
        mine = which[at : min(at + numbers.shape[1], count)]
        _neighbours(values, offsets, first, mine, sign, ks, rates, matrices, numbers, roots, cuts)


@inner
def _by_length(offsets, first, last, begins, which):
    """Puts into `which` the rankings first .. last, at most AT_ONCE, that are columns, the shortest first; how many."""
    begins[:] = 0
    for r in range(first, last):
        n = offsets[r + 1] - offsets[r]
        if 0 < n <= LONGEST:
            begins[n + 1] += 1
    for n in range(LONGEST):
        begins[n + 1] += begins[n]
    for r in range(first, last):
        n = offsets[r + 1] - offsets[r]
        if 0 < n <= LONGEST:
            which[begins[n]] = r
            begins[n] += 1
    return begins[LONGEST]


@inner
def _neighbours(values, offsets, first, which, sign, ks, rates, matrices, numbers, roots, cuts):
    """`neighbours_of_columns` for rankings `which`, at most COLUMNS, none longer than the last."""
    longest = offsets[which[-1] + 1] - offsets[which[-1]]
    columns = (which.size + _WHOLE - 1) // _WHOLE * _WHOLE
    size, shape = longest * columns, (longest, columns)
    y, e = matrices[0, :size].reshape(shape), matrices[1, :size].reshape(shape)
    behind = matrices[2, :size].reshape(shape)
    k, rate, gap, carry = numbers[0, :columns], numbers[1, :columns], numbers[2, :columns], numbers[3, :columns]
    higher, lower = numbers[4, :columns], numbers[5, :columns]
    sum_above, sum_below = numbers[6, :columns], numbers[7, :columns]
    _fill(values, offsets, which, sign, y)
    for c in range(which.size):
        k[c], rate[c] = ks[which[c]], rates[which[c]]
    _sort(y)
    _gaps(y, k, rate, e, behind, carry, gap)
    for c in range(gap.size):
        above = np.int64(gap[c])
        higher[c] = y[above - 1, c] if above > 0 else np.inf
        lower[c] = y[above, c] if above < longest else -np.inf
    _sums(y, gap, higher, lower, rate, e, sum_above, sum_below)
    for c in range(which.size):
        r = which[c]
        row = r - first
        roots[0, row], roots[1, row] = finite_part(y[: offsets[r + 1] - offsets[r], c], np.inf)
        cuts[r, 0], cuts[r, 1] = lower[c], higher[c]
        roots[2, row], roots[3, row], roots[4, row] = ks[r] - gap[c], sum_above[c], sum_below[c]


@within
def _fill(values, offsets, which, sign, columns):
    """The scores of rankings as columns, times their sign, and -inf beyond them."""
    beyond = columns.dtype.type(-np.inf)
    for c in range(which.size):
        x = values[offsets[which[c]] : offsets[which[c] + 1]]
        for i in range(x.size):
            columns[np.uint64(i), np.uint64(c)] = sign * x[i]
        for i in range(x.size, len(columns)):
            columns[np.uint64(i), np.uint64(c)] = beyond


@inner
def _sort(y):
    """Every column, largest first: Batcher's merge exchange (1968; Knuth, The Art of Computer Programming, 5.2.2,
    algorithm M). Neighbouring exchanges are one loop.
    """
    n, columns, flat = len(y), y.shape[1], y.reshape(-1)
    half = 1
    while half < n:
        apart = half
        while apart > 0:
            for start in range(apart % half, n - apart, 2 * apart):
                if (start ^ (start + apart)) < 2 * half:  # within one of the runs that are merged
                    size = min(apart, n - start - apart) * columns
                    here, there = start * columns, (start + apart) * columns
                    _exchange(flat[here : here + size], flat[there : there + size])
            apart //= 2
        half *= 2


@within
def _exchange(x, y):
    for i in range(x.size):
        x[i], y[i] = in_order(x[i], y[i])


@inner
def _gaps(y, k, rate, factor, behind, carry, gap):
    """How many scores of every column have a soft count below k."""
    factor[0], behind[len(y) - 1], carry[:], gap[:] = 0.0, 0.0, 0.0, 0.0
    for i in range(1, len(y)):
        _factors(y[i - 1], y[i], rate, factor[i])
    for i in range(len(y) - 1, 0, -1):
        _behind(behind[i], factor[i], behind[i - 1])
    for i in range(len(y)):
        _count(y.dtype.type(i + 0.5), factor[i], behind[i], k, carry, gap)


# Of one row each. What is chosen from is read before: a load under a condition is not vectorised.


@within
def _factors(before, y, rate, factor):
    for c in range(factor.size):
        factor[c] = exp_nonpositive(-abs(before[c] - y[c]) * rate[c])


@within
def _behind(carry, factor, behind):
    one = factor.dtype.type(1)
    for c in range(factor.size):
        behind[c] = step(carry[c], one, factor[c])


@within
def _count(number, factor, behind, k, carry, gap):
    zero, half, one = k.dtype.type(0), k.dtype.type(0.5), k.dtype.type(1)
    for c in range(gap.size):
        before = carry[c] * factor[c]
        gap[c] += one if fma(half, behind[c] - before, number) < k[c] else zero  # summary.soft_count, in their dtype
        carry[c] = before + one


@inner
def _sums(y, gap, higher, lower, rate, e, sum_above, sum_below):
    """The sums of e^-distance/alpha to the neighbours of the gap, over the scores above it and below."""
    sum_above[:], sum_below[:] = 0.0, 0.0
    for i in range(len(y)):
        _exponentials(y.dtype.type(i), y[i], gap, higher, lower, rate, e[i])
    for i in range(len(y)):
        _add(y.dtype.type(i), e[i], gap, sum_above, sum_below)


@within
def _exponentials(i, y, gap, higher, lower, rate, e):
    for c in range(e.size):
        above, below, is_above = higher[c], lower[c], i < gap[c]
        e[c] = exp_nonpositive(-abs(y[c] - (above if is_above else below)) * rate[c])


@within
def _add(i, e, gap, sum_above, sum_below):
    zero = e.dtype.type(0)
    for c in range(e.size):
        value = e[c]
        of_above = value if i < gap[c] else zero
        sum_above[c] += of_above
        sum_below[c] += value - of_above
