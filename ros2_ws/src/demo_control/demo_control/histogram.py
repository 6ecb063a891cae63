"""Counts durations without keeping them: any number of ticks in a fixed piece of memory."""

from __future__ import annotations

import numpy as np


class Histogram:
    """Durations in bins of equal width.

    Args:
        width_s: Of a bin: the percentiles' resolution.
        limit_s: What is longer counts as this long; the longest is kept as it is.
    """

    def __init__(self, width_s: float = 1e-5, limit_s: float = 0.2) -> None:
        self._width_s = width_s
        self._counts = np.zeros(round(limit_s / width_s), np.int64)
        self.count = 0
        self.longest_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one; less than nothing counts as nothing."""
        index = min(max(0, int(duration_s / self._width_s)), self._counts.size - 1)
        self._counts[index] += 1
        self.count += 1
        self.longest_s = max(self.longest_s, duration_s)

    def above(self, duration_s: float) -> int:
        """How many lie in bins that begin at a duration or later."""
        return int(self._counts[min(round(duration_s / self._width_s), self._counts.size) :].sum())

    def percentile_s(self, percent: float) -> float | None:
        """The upper end of the bin that a percentile lies in, but no more than the longest; None without any."""
        if not self.count:
            return None
        rank = max(1, int(np.ceil(percent / 100.0 * self.count)))
        index = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(min((index + 1) * self._width_s, self.longest_s))

    def milliseconds(self) -> dict[str, float | None]:
        """Median, 99th, 99.9th percentile and longest, for JSON."""
        if not self.count:
            return {"p50": None, "p99": None, "p99.9": None, "max": None}
        values = {f"p{percent:g}": self.percentile_s(percent) for percent in (50, 99, 99.9)}
        return {name: round(1e3 * (value or 0.0), 3) for name, value in {**values, "max": self.longest_s}.items()}
