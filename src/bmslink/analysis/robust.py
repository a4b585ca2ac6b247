"""A little statistics in plain Python: medians, spreads, and lines with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple, TypeVar

__all__ = ["FittedLine", "line", "median", "spread", "thinned", "weighted_mean"]

T = TypeVar("T")
_TO_SIGMA = 1.4826
"""A median absolute deviation as a standard deviation, for values that are normally spread."""


class FittedLine(NamedTuple):
    """A straight line; uncertainties are standard deviations."""

    center: float
    """Where the value is known best, on the x axis."""
    value: float
    """At the center."""
    value_sigma: float
    slope: float
    slope_sigma: float

    def at(self, x: float) -> tuple[float, float]:
        """Value and its standard deviation."""
        away = x - self.center
        return self.value + self.slope * away, math.hypot(self.value_sigma, self.slope_sigma * away)


def spread(values: Sequence[float]) -> float:
    """A standard deviation that single wrong values do not move."""
    middle = median(values)
    return _TO_SIGMA * median(abs(value - middle) for value in values)


def weighted_mean(values: Sequence[float], sigmas: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard deviation; where values differ by more than their own deviations
    explain, the scatter counts."""
    weights = [1 / sigma**2 for sigma in sigmas]
    total = sum(weights)
    mean = sum(w * v for w, v in zip(weights, values, strict=True)) / total
    return mean, _inflated(values, sigmas, [mean] * len(values), 1) / math.sqrt(total)


def line(x: Sequence[float], y: Sequence[float], sigmas: Sequence[float]) -> FittedLine | None:
    """The line of least squares; `None` for fewer than three points or none apart."""
    if len(x) < 3:
        return None
    weights = [1 / sigma**2 for sigma in sigmas]
    total = sum(weights)
    center = sum(w * a for w, a in zip(weights, x, strict=True)) / total
    value = sum(w * b for w, b in zip(weights, y, strict=True)) / total
    across = sum(w * (a - center) ** 2 for w, a in zip(weights, x, strict=True))
    if across <= 0:
        return None
    slope = sum(w * (a - center) * b for w, a, b in zip(weights, x, y, strict=True)) / across
    fitted = [value + slope * (a - center) for a in x]
    factor = _inflated(y, sigmas, fitted, 2)
    return FittedLine(center, value, factor / math.sqrt(total), slope, factor / math.sqrt(across))


def _inflated(
    values: Sequence[float], sigmas: Sequence[float], fitted: Sequence[float], used: int
) -> float:
    """By how much deviations are too small for the scatter that is seen; at least 1."""
    free = len(values) - used
    if free <= 0:
        return 1.0
    found = sum(((v - f) / s) ** 2 for v, f, s in zip(values, fitted, sigmas, strict=True))
    return max(1.0, math.sqrt(found / free))


def thinned(items: list[T], most: int) -> list[T]:
    """At most so many: the first and the newer half stay, of the others every second."""
    if len(items) <= most:
        return items
    half = len(items) // 2
    return [*items[:half:2], *items[half:]]
