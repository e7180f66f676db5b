"""Measured numbers as text, with the digits that mean something."""

from __future__ import annotations

import math


def round_to(value: float, digits: int) -> str:
    """So many digits, zeros among them, and all those that stand before the point."""
    before = math.floor(math.log10(value)) + 1 if value > 0 else 1
    return f"{value:.{max(0, digits - before)}f}"


def ratio(value: float) -> str:
    """A ratio of times: 0.045, 0.18, 1.04, 20.7."""
    return round_to(value, 2 if value < 1 else 3)
