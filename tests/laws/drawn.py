"""What the laws are tried on: rankings, dtypes and alphas, drawn by hypothesis; and a batch that is long."""

import numpy as np
from hypothesis import strategies as st

from lapsum_cli import Rankings

# Scores on a grid of 1/64, with many ties: sums and shifts of them are exact in both dtypes. Beside each a grade.
GRIDS, WILD = st.integers(-500, 500).map(lambda v: v / 64), st.floats(-1e6, 1e6, width=32)
GRADES = st.integers(0, 4)
dtypes = st.sampled_from([np.float32, np.float64])
alphas = st.floats(1e-6, 1e4)
softness = st.floats(0.05, 100)
shares = st.floats(0, 1)


def rankings(scores, most=60):
    """(n,) scores and (n,) grades."""
    made = st.lists(st.tuples(scores, GRADES), min_size=1, max_size=most)
    return made.map(lambda pairs: tuple(np.array(side, float) for side in zip(*pairs, strict=True)))


grids, wild, short = rankings(GRIDS), rankings(WILD), rankings(GRIDS, 40)


def long_batch(count, most=3000):
    """Enough rankings for many blocks, of lengths from 0 to 3000 or so many, with a grade and an upstream value for
    each score.
    """
    rng = np.random.default_rng(5)
    lengths = np.minimum(rng.zipf(1.3, count) - 1, most)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    x, grades, v = rng.standard_normal(offsets[-1]), rng.integers(0, 4, offsets[-1]), rng.standard_normal(offsets[-1])
    return [Rankings(values.astype(np.float32), offsets) for values in (x, grades, v)]
