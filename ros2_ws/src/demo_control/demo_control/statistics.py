"""Intervals and tests for reported figures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Statistic = Callable[[Array, int], Array]
Interval = tuple[float, float]

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


def root_mean_square(values: Array, axis: int | None = None) -> Array:
    """Root of the mean of the squares, over all values or along an axis."""
    return np.asarray(np.sqrt(np.mean(np.square(values), axis=axis)))


def bootstrap_interval(
    values: Array, statistic: Statistic | None = None, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a statistic of independent values (Efron 1979).

    Args:
        values: Shape=(num_values,), at least one.
        statistic: Maps resampled values, Shape=(resamples, num_values), and the axis -1 to Shape=(resamples,);
            the mean by default.
        resamples: How often to draw with replacement.
        seed: Of the draws: the same values always give the same interval.
    """
    chosen = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    samples = values[chosen]
    statistics = samples.mean(axis=-1) if statistic is None else statistic(samples, -1)
    low, high = interval_ends(statistics)
    return float(low), float(high)


def interval_ends(statistics: Array, axis: int | None = None) -> Array:
    """2.5th and 97.5th percentile along an axis; NaN only where a value is.

    Args:
        statistics: Of the resamples, perhaps infinite.
        axis: Of the resamples; None for all values.

    Returns:
        Shape=(2,), or (2, …) with the other axes.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        ends, nearest = (
            np.percentile(statistics, [2.5, 97.5], axis=axis, method=method) for method in ("linear", "nearest")
        )
    # Between two infinite values there is nothing to interpolate.
    is_between = np.isnan(ends) & ~np.isnan(statistics).any(axis=axis)
    return np.asarray(np.where(is_between, nearest, ends))


def sign_test(first_only: int, second_only: int) -> float:
    """Two-sided exact sign test of paired verdicts (McNemar's test with the binomial distribution).

    Args:
        first_only: Pairs in which only the first one succeeded.
        second_only: Pairs in which only the second one did.

    Returns:
        Probability of a split at least this uneven if both were equally good.
    """
    pairs, fewer = first_only + second_only, min(first_only, second_only)
    tail: float = sum(math.comb(pairs, count) for count in range(fewer + 1)) / 2**pairs
    return min(1.0, 2.0 * tail)


def ratio_interval(numerators: Array, denominators: Array, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """95 % percentile bootstrap interval of the ratio of two means of paired values.

    Args:
        numerators: Shape=(num_pairs,).
        denominators: Shape=(num_pairs,), positive.
        resamples: How often to draw pairs with replacement.
        seed: Of the draws.
    """
    chosen = np.random.default_rng(seed).integers(len(numerators), size=(resamples, len(numerators)))
    ratios = numerators[chosen].mean(axis=-1) / denominators[chosen].mean(axis=-1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)
