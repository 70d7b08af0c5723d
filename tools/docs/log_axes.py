"""Logarithmic axes of plots."""

from __future__ import annotations

import math


def fraction(value: float, bounds: tuple[float, float]) -> float:
    """The position of a value between the bounds, 0..1."""
    low, high = (math.log(b) for b in bounds)
    return (math.log(value) - low) / (high - low)


def ticks(bounds: tuple[float, float]) -> list[float]:
    """1, 2 and 5 times powers of ten within `bounds`."""
    decades = range(math.floor(math.log10(bounds[0])), math.ceil(math.log10(bounds[1])) + 1)
    return [t for d in decades for m in (1, 2, 5) if bounds[0] <= (t := round(m * 10.0**d, 10)) <= bounds[1]]
