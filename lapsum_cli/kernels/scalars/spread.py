"""How far the scores of a ranking spread, from the sorted ones: what a few outliers among them do not move.

The interquartile range, and the median of the distances from the median, with quantiles that are interpolated between
neighbours. Of halves, because a difference of scores may overflow.
"""

import numpy as np

from ..jit import inner

OF_NORMAL = {"iqr": 1.3489795003921634, "mad": 0.6744897501960817}  # in standard deviations, of a normal distribution


@inner
def spread_of_sorted(y, begin, end, is_mad):
    """Of the finite scores among y[begin:end], which rise or fall: the interquartile range, or the median distance from
    the median; 0 where there is none.
    """
    start, stop = _finite(y, begin, end)
    count = stop - start
    if count < 2:
        return 0.0
    if not is_mad:
        return 2.0 * abs(_half_quantile(y, start, count, 0.75) - _half_quantile(y, start, count, 0.25))
    middle = _half_quantile(y, start, count, 0.5)
    return _half_distance(y, start, stop, middle, (count - 1) // 2) + _half_distance(y, start, stop, middle, count // 2)


@inner
def _finite(y, begin, end):
    """Where the finite scores begin and end: infinite ones are at the ends."""
    start, stop = begin, end
    if start < stop and abs(y[start]) == np.inf:
        start = _last_like(y, begin, end, y[begin], True)
    if start < stop and abs(y[stop - 1]) == np.inf:
        stop = _last_like(y, start, end, y[end - 1], False)
    return start, stop


@inner
def _last_like(y, low, high, value, is_like):
    """The first place from which scores are no longer (is_like), or are (not is_like), equal to a value."""
    while low < high:
        middle = (low + high) // 2
        if (y[middle] == value) == is_like:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def _half_quantile(y, start, count, share):
    """Half of the score at this share of the way from y[start] to the last of so many."""
    at = share * (count - 1)
    i = int(at)
    low, high = 0.5 * np.float64(y[start + i]), 0.5 * np.float64(y[start + min(i + 1, count - 1)])
    return low + (high - low) * (at - i)


@inner
def _half_distance(y, start, stop, middle, k):
    """The k-th smallest, from 0, of the distances of halves of y[start:stop] from their median.

    Distances grow from the median to either end, so that this is the k-th of two sorted lists: a search for how many of
    the k before it are on the left.
    """
    inner = start + (stop - start + 1) // 2  # the first on the right
    low, high = max(0, k - (stop - inner)), min(k, inner - start)
    while low < high:
        left = (low + high) // 2
        if _half_from(y, inner - 1 - left, middle) < _half_from(y, inner + k - left - 1, middle):
            low = left + 1
        else:
            high = left
    found = np.inf
    if low < inner - start:
        found = _half_from(y, inner - 1 - low, middle)
    if inner + k - low < stop:
        found = min(found, _half_from(y, inner + k - low, middle))
    return found


@inner
def _half_from(y, i, middle):
    return abs(0.5 * np.float64(y[i]) - middle)
