"""A target prepared once, for the many steps of a training."""

from __future__ import annotations

from typing import Any

from ..core.errors import DataError
from ..core.rankings import Rankings
from ..core.targets import prepared
from .forms import rankings_of, refuse_nan


class Target:
    """A target of losses and metrics whose places, order and cuts are computed once, and not at every call.

    y      what a target may be, in the form of the scores that it will go with: an array, a list of rankings, Rankings
    sizes  of flat y, how many scores each ranking has

    Any loss takes it as its `target`, with the same numbers to the bit. What is sorted is kept from the first call that
    needs it, while the same scores are masked. It is copied: y may be changed afterwards, to no effect. Beside groups=,
    for a cascade and on a GPU it is a target like any other.

    >>> from lapsum_cli import Target, spearman_loss
    >>> y = Target([[2.0, 0.0, 1.0], [0.0, 1.0, 5.0]])
    >>> bool(spearman_loss([[1.0, 3.0, 2.0], [1.0, 2.0, 3.0]], y) > 0)
    True
    """

    def __init__(self, y: Any, sizes: Any = None):
        form = rankings_of(y if sizes is None else Rankings.from_sizes(y, sizes), "target")
        if form.rankings.is_on_card:
            raise DataError("the target is on a GPU; pass it as it is, nothing would be kept of it")
        refuse_nan(form.rankings, "target")
        self.form, self.values = form, prepared(form.rankings.values)

    def __len__(self) -> int:
        """How many rankings it is of."""
        return len(self.form.rankings)
