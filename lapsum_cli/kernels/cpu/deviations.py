"""The spread of every ranking, the unit of an `--alpha` such as 0.1std, 0.1iqr or 0.1mad."""

import numpy as np

from ..jit import block_sum, inner, kernel
from ..scalars.spread import OF_NORMAL, spread_of_sorted
from . import parallel
from .order import Order
from .vectors import BLOCK


def spreads(cores, rankings, unit):
    """Of the finite scores of each ranking (m,), float64: the standard deviation ("std"), the interquartile range
    ("iqr") or the median distance from the median ("mad"); 0 for a constant or empty one.

    Where most scores of a ranking are equal the last two are 0, and what a normal distribution of the same standard
    deviation has takes their place.
    """
    found = standard_deviations(cores, rankings)
    if unit == "std":
        return found
    order, of_normal, is_mad = Order(cores, rankings, descending=False), OF_NORMAL[unit], unit == "mad"

    def work(first, last, threads=1):
        scores = order.sorted_scores(first, last, threads)
        _spreads(scores, rankings.offsets, first, last, is_mad, of_normal, found)

    def of_long(r):
        work(r, r + 1, cores.threads)

    parallel.each_ranking(order.blocks, rankings.offsets, cores, work, of_long)
    return found


@kernel
def _spreads(scores, offsets, first, last, is_mad, of_normal, found):
    """Deviations found (m,) turned into another spread, for rankings first .. last, whose scores are given sorted."""
    for r in range(first, last):
        spread = spread_of_sorted(scores, offsets[r] - offsets[first], offsets[r + 1] - offsets[first], is_mad)
        found[r] = spread if spread > 0.0 else of_normal * found[r]


def standard_deviations(cores, rankings):
    """Population standard deviation (ddof 0) of the finite scores of each ranking, float64; 0 for a constant or empty
    one.

    (m,). Three passes: farthest score, mean, squares. Scaled by the farthest, so that neither scores of 1e200 overflow
    nor those of 1e-200 vanish; about the mean, so that an outlier costs no digit.
    """
    values, offsets = rankings.values, rankings.offsets
    out = np.empty(len(offsets) - 1)

    def work(first, last):
        _standard_deviations(values, offsets, first, last, out)

    parallel.for_each(work, parallel.slices(offsets), cores.threads)
    return out


def in_units(cores, spreads, value, of_constant):
    """Alphas (m,) that are so many spreads, of_constant or 1 where there is none; and which rankings that are (m,),
    None where no ranking is. Either end of the floats is left to who asks: an alpha may be 0 or infinite.
    """
    with np.errstate(over="ignore"):
        alphas = value * spreads
    constant = spreads == 0
    alphas[constant] = 1.0 if of_constant is None else of_constant
    return alphas, constant if constant.any() else None


@kernel
def _standard_deviations(values, offsets, first, last, out):
    for r in range(first, last):
        out[r] = _standard_deviation(values[offsets[r] : offsets[r + 1]])


def deviation_of_parts(found):
    """The population standard deviation of a ranking, from the `moments` of its parts (p, 3): their squares about the
    mean of all, scaled so that none overflows.
    """
    counts, means, deviations = np.array(found, np.float64).T
    if not counts.sum():
        return 0.0
    middle = means[counts > 0][0]
    off = means - middle
    off -= (counts * off).sum() / counts.sum()
    farthest = max(np.abs(off[counts > 0]).max(), deviations.max())
    if not farthest > 0.0:
        return 0.0
    squares = (deviations / farthest) ** 2 + (np.where(counts > 0, off, 0.0) / farthest) ** 2
    return float(2.0 * farthest * np.sqrt((counts * squares).sum() / counts.sum()))


@inner
def _standard_deviation(x):
    """Of one ranking: (n,) scores -> float64, in the unit of the scores."""
    _, _, half = moments(x)
    return 2.0 * half


@kernel
def moments(x):
    """How many scores (n,) are finite, half of their mean, and half of their population standard deviation; three
    passes, in blocks.
    """
    anchor = np.inf
    for i in range(x.size):
        if np.isfinite(x[i]):
            anchor = 0.5 * np.float64(x[i])
            break
    farthest = 0.0
    for start in range(0, x.size, BLOCK):
        farthest = max(farthest, _block_farthest(x[start : start + BLOCK], anchor))
    if not farthest > 0.0:
        return _count_finite(x), anchor if anchor < np.inf else 0.0, 0.0
    scale = 1.0 / farthest if farthest > 1e-300 else 1e300
    total, count, squares = 0.0, 0, 0.0
    for start in range(0, x.size, BLOCK):
        part, finite = _block_total(x[start : start + BLOCK], anchor, scale)
        total += part
        count += finite
    mean = total / count
    for start in range(0, x.size, BLOCK):
        squares += _block_squares(x[start : start + BLOCK], anchor, scale, mean)
    return count, anchor + mean / scale, np.sqrt(squares / count) / scale


@block_sum
def _count_finite(x):
    count = 0
    for i in range(x.size):
        count += np.isfinite(x[i])
    return count


# Halves, because the difference of two finite scores may overflow. An infinite score is no part of the spread.


@block_sum
def _block_farthest(x, anchor):
    farthest = 0.0
    for i in range(x.size):
        distance = abs(0.5 * np.float64(x[i]) - anchor)
        farthest = max(farthest, distance if distance < np.inf else 0.0)
    return farthest


@block_sum
def _block_total(x, anchor, scale):
    total, count = 0.0, 0
    for i in range(x.size):
        distance = 0.5 * np.float64(x[i]) - anchor
        finite = abs(distance) < np.inf
        total += distance * scale if finite else 0.0
        count += finite
    return total, count


@block_sum
def _block_squares(x, anchor, scale, mean):
    total = 0.0
    for i in range(x.size):
        distance = 0.5 * np.float64(x[i]) - anchor
        deviation = distance * scale - mean if abs(distance) < np.inf else 0.0
        total += deviation * deviation
    return total
