"""Intervals for reported shares."""

from __future__ import annotations

import math

_NORMAL_97_5 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: for two-sided 95 % intervals."""


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a success probability (Wilson 1927); sensible at 0 and at 100 %.

    Raises:
        ValueError: No trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"successes = {successes} of trials = {trials}: expected 0 <= successes <= trials > 0")
    z2 = _NORMAL_97_5**2
    share = successes / trials
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _NORMAL_97_5 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)
