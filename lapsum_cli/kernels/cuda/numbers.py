"""What a ranking has one of, on the card: its alpha, its rate 1 / alpha, gradients for them.

They come from memory here, or were made on the card: then nothing reads them back. One number for all is an array of
one (adapter.one_of), by a stride of 0 where it is in memory here.
"""

import numpy as np

from ...core.rankings import Array, is_one, one_for_all
from ..scalars.cut import RATES, rates_between
from .adapter import Lane, cuda, kernel, one_of


def _rates_between(lane: Lane, alphas: Array, dtype, least: float, most: float):
    """1 / alpha within bounds, in this dtype, on the card: one for each ranking, or one for all."""
    if isinstance(alphas, np.ndarray):
        if is_one(alphas):
            [rate] = rates_between(alphas[:1], dtype, least, most)
            return lane.put(one_for_all(rate, len(alphas), dtype), f"rates {most}")
        return lane.put(rates_between(alphas, dtype, least, most), f"rates {most}")
    out = lane.room(f"rates {most}", alphas.shape, dtype)
    lane.launch(_rates, -(-out.size // 256), 256, 0, alphas, least, most, out)
    return out


def rates(lane: Lane, alphas: Array, dtype):
    """1 / alpha in the dtype of the scores, within its bounds, as ..scalars.cut.rates_of."""
    return _rates_between(lane, alphas, dtype, *RATES[dtype])


def rates_up_to(lane: Lane, alphas: Array, most: float):
    """1 / alpha in float64, up to a bound."""
    return _rates_between(lane, alphas, np.dtype(np.float64), 0.0, most)


def per_alpha(lane: Lane, totals, alphas: Array, sign: float, like: Array):
    """sign * totals[0] / alpha of each ranking (m,), on the card: the gradient for alpha, from moments."""
    out = lane.result("gradient of alpha", (totals.shape[1],), np.float64, like)
    lane.launch(_per_alpha, -(-out.size // 256), 256, 0, totals, lane.put(alphas, "alphas"), sign, out)
    return out


def clear(lane: Lane, chosen: Array, values) -> None:
    """Set the values (m,) of the chosen rankings to 0."""
    lane.launch(_clear, -(-values.size // 256), 256, 0, lane.put(chosen), values)


@kernel
def _per_alpha(totals, alphas, sign, out):
    r = cuda.grid(1)
    if r < out.size:
        out[r] = sign * totals[0, r] / one_of(alphas, r)


@kernel
def _clear(chosen, values):
    r = cuda.grid(1)
    if r < values.size and chosen[r]:
        values[r] = 0


@kernel
def _rates(alphas, least, most, out):
    r = cuda.grid(1)
    if r < out.size:
        out[r] = min(max(1.0 / alphas[r], least), most)
