"""Figures from samples. A figure that its samples cannot carry is None, never a guess."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

MEANINGFUL_P99 = 100
"""How many samples a 99th percentile needs."""


def median(samples: Sequence[float]) -> float | None:
    """The middle value; None of nothing."""
    return statistics.median(samples) if samples else None


def percentile(samples: Sequence[float], share: float) -> float | None:
    """The smallest sample that at least `share` (0 to 1) of them do not exceed; None of nothing."""
    if not samples:
        return None
    ordered = sorted(samples)
    index = math.ceil(share * len(ordered)) - 1
    return ordered[min(max(index, 0), len(ordered) - 1)]


def p99(samples: Sequence[float]) -> float | None:
    """The 99th percentile; None of fewer than 100 samples."""
    return percentile(samples, 0.99) if len(samples) >= MEANINGFUL_P99 else None


def ratio(value: float | None, base: float | None) -> float | None:
    """`value` as a multiple of `base`; None where either is missing or the base is zero."""
    return value / base if value is not None and base else None


def median_of(figures: Iterable[float | None]) -> float | None:
    """The median of the figures that several runs gave; runs without one do not count."""
    return median([figure for figure in figures if figure is not None])


def smallest(figures: Iterable[float | None]) -> float | None:
    """The smallest figure that there is."""
    return min((figure for figure in figures if figure is not None), default=None)
