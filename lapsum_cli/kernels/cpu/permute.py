"""Soft permutations: P[i, j], how likely item i is at position j (from 0, best first); rows and columns sum to 1.

P[i, j] = F((x_i - b_j+1) / alpha) - F((x_i - b_j) / alpha), where the soft count of scores above b_j is j (LapSum, ICML
2025, section 4): a row is the mass that a Laplace distribution about the score puts between neighbouring boundaries.

Boundaries are found in one sweep (inversion.py) and kept as a score and a step from it, so that no offset of the scores
costs a digit. The n^2 matrix is made only where asked for; the sparse form looks at a window of positions about each
item, beyond which no position can be among those kept.
"""

import math
from typing import NamedTuple

import numpy as np

from ..jit import inner, inner_counted, kernel, uncounted
from ..scalars.places import Boundaries, distance, probability, shared_places
from . import parallel
from .inversion import invert_each
from .order import Order
from .sweeps import finite_span


def boundaries(order: Order, alphas: np.ndarray) -> Boundaries:
    """Boundaries between the positions of every ranking; order and alphas as for rank.soft_rank."""
    return Boundaries(order.values, order.offsets, alphas, order.descending, *_found(order, alphas))


def edges(order: Order, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the positions of every ranking meet, on the order's device: found of Boundaries in two, and its spans."""
    (anchors, steps), spans = _found(order, alphas)
    return anchors, steps, spans


def _found(order: Order, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, spans = np.empty((2, len(order.values))), np.zeros((len(alphas), 2), np.int64)

    def work(first, last):
        scores = order.sorted_scores(first, last)
        here = found[:, order.offsets[first] : order.offsets[last]]
        invert_each(order, scores, first, last, alphas, (1.0, 1), None, here, scores[:0])
        _spans(scores, order.offsets, first, last, order.descending, spans)

    parallel.for_each(work, order.blocks, order.cores.threads)
    return found, spans


def edges_gradient(
    order: Order, alphas: np.ndarray, places: np.ndarray, upstream: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients for scores (N,) and alpha (m,) of what depends on how far every item is from the edges of one position.

    places    (N,) int64, which position that is: no two items of a ranking have the same
    upstream  (2, N) float64, by position: along the distance of its item to the edge above it, and to that below
    """
    gradient, to_alpha, workspace = np.empty(len(places)), np.zeros(len(alphas)), parallel.Scratch()

    def work(first, last):
        scores, origins = order.sorted(first, last)
        pull = workspace.array("pull", scores.shape, np.float64)
        given = (order.offsets, first, last)
        _pulls(*given, upstream, pull)
        moves = invert_each(order, scores, first, last, alphas, (1.0, 1), pull, np.empty((2, 0)), scores[:0])
        _gradients(scores, origins, *given, alphas, order.descending, places, upstream, moves, gradient, to_alpha)

    parallel.for_each(work, order.blocks, order.cores.threads)
    return gradient, to_alpha


def matrix_gradient(
    order: Order, at: Boundaries, upstream: np.ndarray, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients for scores (N,) and alpha (m,) of matrices, one after the other, of which upstream has that of each
    entry; in O(n^2), or of so many first columns at most in O(n) for each.
    """
    size, alphas = len(order.values), at.alphas
    gradient, to_alpha, workspace = np.empty(size), np.zeros(len(alphas)), parallel.Scratch()
    lengths = np.diff(order.offsets).astype(np.int64)
    columns = lengths if most is None else np.minimum(lengths, most)
    begins = np.concatenate([[0], np.cumsum(lengths * columns)])
    places, direct = np.arange(size) - np.repeat(order.offsets[:-1], lengths), np.zeros((2, size))

    def work(first, last):
        scores, origins = order.sorted(first, last)
        pull = workspace.array("pull", scores.shape, np.float64)
        _matrix_pulls(*at, begins, columns, first, last, upstream, pull, direct)
        moves = invert_each(order, scores, first, last, alphas, (1.0, 1), pull, np.empty((2, 0)), scores[:0])
        given = (order.offsets, first, last, alphas, order.descending, places, direct, moves)
        _gradients(scores, origins, *given, gradient, to_alpha)

    parallel.for_each(work, order.blocks, order.cores.threads)
    return gradient, to_alpha


class Matrices(NamedTuple):
    """The matrices that boundaries make: what a permutation gives, whichever method it is by."""

    at: Boundaries

    def dense(self, ranking: int, first: int, last: int, most: int | None = None):
        """Rows first .. last (items in the order of the input) of the matrix of one ranking: (last - first, n), or of
        so many first columns at most.
        """
        n = int(self.at.offsets[ranking + 1] - self.at.offsets[ranking])
        out = np.empty((last - first, n if most is None else min(n, most)), self.at.values.dtype)
        _dense_rows(*self.at, ranking, first, out)
        return out

    def widths(self, tolerance: float, threads=1):
        """At most how many positions each item keeps: (N,) int64."""
        out = np.empty(len(self.at.values), np.int64)
        parallel.for_each(
            lambda first, last: _widths(*self.at, tolerance, first, last, out),
            parallel.slices(self.at.offsets),
            threads,
        )
        return out

    def sparse(self, tolerance: float, first: int, last: int, width):
        """The most probable positions of items first .. last of all rankings, until what each drops is at most
        tolerance.

        Returns items (in all rankings), positions in the ranking (from 0, ascending for each item) and probabilities.
        width: what `widths` gave for these items.
        """
        room, widest = int(width.sum()), int(width.max(initial=0))
        items, positions = np.empty(room, np.int64), np.empty(room, np.int64)
        probabilities = np.empty(room, self.at.values.dtype)
        buffers = np.empty((2, widest))
        size = _sparse_rows(*self.at, tolerance, first, last, buffers, items, positions, probabilities)
        return items[:size], positions[:size], probabilities[:size]


def most_probable(rows, tolerance: float):
    """Of whole rows (items, n) what Matrices.sparse gives: items from 0, positions, and probabilities."""
    keeps = np.empty(rows.shape, np.bool_)
    _most_probable(rows, tolerance, keeps)
    items, positions = np.nonzero(keeps)
    return items, positions, rows[keeps]


@uncounted
def _spans(scores, offsets, begin, end, descending, spans):
    for r in range(begin, end):
        at, start, stop, _ = finite_span(scores, offsets, begin, r, descending)
        spans[r, 0], spans[r, 1] = start - at, stop - at


@uncounted
def _pulls(offsets, begin, end, upstream, pull):
    """The gradient with respect to the boundaries."""
    base = offsets[begin]
    for j in range(base, offsets[end] - 1):
        pull[j - base] = upstream[0, j + 1] - upstream[1, j]


@uncounted
def _matrix_pulls(
    values, offsets, alphas, descending, found, spans, begins, columns, begin, end, upstream, pull, direct
):
    """The gradient with respect to the boundaries, and (direct[1]) that for the scores where these stay."""
    up = 1.0 if descending else -1.0
    for r in range(begin, end):
        base, n, (start, stop) = offsets[r], offsets[r + 1] - offsets[r], spans[r]
        pull[base - offsets[begin] : base - offsets[begin] + n] = 0.0
        for i in range(n):
            x, line = values[base + i], upstream[begins[r] + i * columns[r] : begins[r] + (i + 1) * columns[r]]
            if not abs(x) < np.inf:
                continue
            for j in range(start, min(stop - 1, line.size)):
                z = distance(x, found[0, base + j], found[1, base + j], alphas[r], up)
                after = line[j + 1] if j + 1 < line.size else 0.0
                slope = 0.5 * math.exp(-abs(z)) / alphas[r] * up * (line[j] - after)
                direct[1, base + i] += slope
                pull[base - offsets[begin] + j] -= slope


@uncounted
def _gradients(scores, origins, offsets, begin, end, alphas, descending, places, upstream, moved, gradient, to_alpha):
    """A score moves its own distances, and by the boundaries, as inversion.py has it, those of others."""
    base = offsets[begin]
    for r in range(begin, end):
        first, length = offsets[r], offsets[r + 1] - offsets[r]
        _, start, stop, _ = finite_span(scores, offsets, begin, r, descending)
        y, origin, moves = scores[start:stop], origins[start:stop], moved[start:]
        middle, moment = 0.5 * np.float64(y[y.size // 2]) if y.size > 0 else 0.0, 0.0
        gradient[first : first + length] = 0.0
        for i in range(y.size):
            item = base + np.int64(origin[i])
            place = first + places[item]
            g = upstream[1, place] - upstream[0, place] + moves[i]
            gradient[item] = g
            moment += g * (0.5 * np.float64(y[i]) - middle)
        if not abs(moment) < np.inf:
            moment = _beyond_floats(y, origin, gradient[base:], middle)
        to_alpha[r] = -moment / (0.5 * alphas[r])


@inner
def _beyond_floats(y, origin, gradient, middle):
    """An infinity for a sum of gradients times half distances whose terms exceed floats, with the sign of them all."""
    total = 0.0
    for i in range(y.size):
        total += (gradient[np.int64(origin[i])] * 2.0**-600) * ((0.5 * np.float64(y[i]) - middle) * 2.0**-600)
    return total * np.inf if total != 0.0 else 0.0


@inner_counted
def _ranking_of(offsets, item):
    return np.searchsorted(offsets, item, side="right") - 1


@kernel
def _dense_rows(values, offsets, alphas, descending, found, spans, ranking, first, out):
    base, length, (start, stop) = offsets[ranking], offsets[ranking + 1] - offsets[ranking], spans[ranking]
    up = 1.0 if descending else -1.0
    for row in range(out.shape[0]):
        x, line = values[base + first + row], out[row]
        line[:] = 0
        from_place, to_place = shared_places(x, up, start, stop, length)
        for j in range(from_place, min(to_place, line.size)):
            line[j] = 1.0 / (to_place - from_place)
        if to_place > 0:
            continue
        low = -np.inf
        for j in range(start, min(stop, line.size)):
            high = np.inf
            if j < stop - 1:
                high = distance(x, found[0, base + j], found[1, base + j], alphas[ranking], up)
            line[j] = probability(low, high)
            low = high


@inner
def _window(x, anchors, steps, alpha, up, tail):
    """First and last of the positions but for those at the ends with less than e^tail / 2 of mass on either side."""
    low, high = 0, anchors.size
    while low < high:  # the first boundary that leaves more than the tail above it
        middle = (low + high) // 2
        if distance(x, anchors[middle], steps[middle], alpha, up) > tail:
            high = middle
        else:
            low = middle + 1
    first, high = low, anchors.size
    while low < high:  # the first boundary that leaves no more than the tail below it
        middle = (low + high) // 2
        if -distance(x, anchors[middle], steps[middle], alpha, up) > tail:
            low = middle + 1
        else:
            high = middle
    return first, low


@inner
def _tail(tolerance, length):
    """Log of twice the mass that may be left aside unseen on either side.

    Of n probabilities the smallest that is kept exceeds tolerance / n: the others have no more than the tolerance
    together with it. So a position beyond a mass of tolerance / 2n on either side is never kept.
    """
    return math.log(tolerance / length) if tolerance > 0.0 else -np.inf


@kernel
def _widths(values, offsets, alphas, descending, found, spans, tolerance, first, last, out):
    up = 1.0 if descending else -1.0
    for r in range(first, last):
        base, length, (start, stop) = offsets[r], offsets[r + 1] - offsets[r], spans[r]
        inner = slice(base + start, base + max(stop - 1, start))
        for i in range(base, base + length):
            from_place, to_place = shared_places(values[i], up, start, stop, length)
            if to_place == 0:
                from_place, to_place = _window(
                    values[i], found[0, inner], found[1, inner], alphas[r], up, _tail(tolerance, length)
                )
                to_place += 1
            out[i] = to_place - from_place


@kernel
def _sparse_rows(
    values, offsets, alphas, descending, found, spans, tolerance, first, last, buffers, items, positions, probabilities
):
    """Write the positions that items first .. last keep, with their probabilities; returns how many entries that are.

    buffers: two rows as long as the widest item. Of equal probabilities at the end of what is kept the first stand.
    """
    up = 1.0 if descending else -1.0
    size = 0
    for i in range(first, last):
        r = _ranking_of(offsets, i)
        base, length, (start, stop) = offsets[r], offsets[r + 1] - offsets[r], spans[r]
        from_place, to_place = shared_places(values[i], up, start, stop, length)
        unseen, shift = 0.0, 0
        if to_place > 0:
            buffers[0, : to_place - from_place] = 1.0 / (to_place - from_place)
        else:
            inner = slice(base + start, base + max(stop - 1, start))
            anchors, steps, shift = found[0, inner], found[1, inner], start
            from_place, to_place = _window(values[i], anchors, steps, alphas[r], up, _tail(tolerance, length))
            to_place += 1
            unseen = _masses(values[i], anchors, steps, alphas[r], up, from_place, to_place, buffers[0])
        count = to_place - from_place
        cut, ties = _smallest_kept(buffers[0, :count], buffers[1, :count], unseen, tolerance)
        for j in range(count):
            p = buffers[0, j]
            if p > cut or (p == cut and ties > 0):
                ties -= p == cut
                items[size], positions[size], probabilities[size] = i, shift + from_place + j, p
                size += 1
    return size


@inner
def _masses(x, anchors, steps, alpha, up, from_place, to_place, out):
    """The probabilities of positions from_place .. to_place; returns the mass of all others."""
    low = distance(x, anchors[from_place - 1], steps[from_place - 1], alpha, up) if from_place > 0 else -np.inf
    unseen = probability(-np.inf, low)
    for j in range(from_place, to_place):
        high = distance(x, anchors[j], steps[j], alpha, up) if j < anchors.size else np.inf
        out[j - from_place] = probability(low, high)
        low = high
    return unseen + probability(low, np.inf)


@kernel
def _most_probable(rows, tolerance, keeps):
    ordered = np.empty(rows.shape[1])
    for i in range(rows.shape[0]):
        cut, ties = _smallest_kept(rows[i], ordered, 0.0, tolerance)
        for j in range(rows.shape[1]):
            p = rows[i, j]
            keeps[i, j] = p > cut or (p == cut and ties > 0)
            ties -= p == cut


@inner_counted
def _smallest_kept(p, ordered, unseen, tolerance):
    """The smallest probability that is kept, and how many equal to it."""
    ordered[:] = p
    ordered.sort()
    dropped, mass = 0, unseen
    # Rounding must not keep what a tolerance of 1/n of a tie allows to drop.
    while dropped < p.size - 1 and mass + ordered[dropped] <= tolerance * (1.0 + 1e-12):
        mass += ordered[dropped]
        dropped += 1
    ties = 0
    while dropped + ties < p.size and ordered[dropped + ties] == ordered[dropped]:
        ties += 1
    return ordered[dropped], ties
