"""Statistics of few training runs: interquartile means, steps to a threshold, comparisons (Agarwal et al. 2021).

The interquartile mean leaves out the lowest and the highest quarter of the runs (of n runs, the whole part of n / 4 at
each end) and averages the rest: it is less at the mercy of one lucky run than the mean, and wastes less than the
median.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo_control.statistics import Array, bootstrap_interval, interval_ends

RESAMPLES = 2000
"""Resamples of a bootstrap interval."""

Indices = npt.NDArray[np.int64]

_TRIMMED = 0.25


def interquartile_mean(values: Array, axis: int = -1) -> Array:
    """Mean of the middle half along an axis; NaN where a value is NaN."""
    count = values.shape[axis]
    cut = int(_TRIMMED * count)
    # NaN are sorted to the end and would be cut off there: a run that failed would count as one that was left out.
    with np.errstate(over="ignore", invalid="ignore"):  # returns of runs that diverged may be infinite
        middle = np.take(np.sort(values, axis=axis), range(cut, count - cut), axis=axis).mean(axis=axis)
    return np.asarray(np.where(np.isnan(values).any(axis=axis), np.nan, middle))


KNOWN, AT_LEAST, AT_MOST, UNKNOWN = "", "≥ ", "≤ ", "?"
"""How well a figure is known where some runs never reached what was asked of them."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: The figure.
        low: Lower end; NaN where nothing is known.
        high: Upper end.
        marks: How well each of the three is known.
    """

    value: float
    low: float
    high: float
    marks: tuple[str, str, str] = (KNOWN, KNOWN, KNOWN)


def estimate(values: Array) -> Estimate:
    """Interquartile mean of runs, with a bootstrap interval; a single run has no interval."""
    value = float(interquartile_mean(values))
    if len(values) == 1:
        return Estimate(value, math.nan, math.nan)
    low, high = bootstrap_interval(values, interquartile_mean, resamples=RESAMPLES)
    return Estimate(value, low, high)


def stratified_estimate(strata: Sequence[Array]) -> Estimate:
    """Interquartile mean over the runs of all strata (environments), runs being drawn anew within each stratum.

    Args:
        strata: Values of the runs in each environment, on a common scale.
    """
    generator = np.random.default_rng(0)
    samples = np.concatenate(
        [values[generator.integers(len(values), size=(RESAMPLES, len(values)))] for values in strata], axis=-1
    )
    low, high = interval_ends(interquartile_mean(samples))
    return Estimate(float(interquartile_mean(np.concatenate(strata))), float(low), float(high))


@dataclass(frozen=True)
class Reached:
    """When a run reached a threshold.

    Attributes:
        steps: Environment steps until then, or until its last evaluation if it did not.
        reached: Whether it did; if not, it would have needed more than ``steps``.
    """

    steps: int
    reached: bool


def steps_to_threshold(steps: Sequence[int], returns: Sequence[float], threshold: float, in_a_row: int = 1) -> Reached:
    """When a run has been at a threshold for some evaluations in a row.

    Args:
        steps: Environment steps of the evaluations, rising; at least one.
        returns: Mean return of each.
        threshold: Return to reach.
        in_a_row: Evaluations in a row that count.

    Returns:
        The step of the last of the first ``in_a_row`` evaluations in a row at or above the threshold: when it was seen.
    """
    row = 0
    for step, value in zip(steps, returns, strict=True):
        row = row + 1 if value >= threshold else 0
        if row == in_a_row:
            return Reached(step, True)
    return Reached(steps[-1], False)


def estimate_steps(runs: Sequence[Reached]) -> Estimate:
    """Interquartile mean of the steps to a threshold.

    Runs that never reached it count with the steps they had. A figure that depends on them is marked as a lower bound.
    """

    def figures(runs: Array, _: Array, chosen: Indices) -> Array:
        return interquartile_mean(runs[chosen])

    return _marked(runs, runs, figures, scenarios=(AT_LEAST,))


def estimate_ratio(runs: Sequence[Reached], references: Sequence[Reached]) -> Estimate:
    """Ratio of the interquartile means of the steps of two methods, over the same seeds.

    Args:
        runs: Of the method.
        references: Of the reference; the same seeds in the same order.

    Returns:
        The ratio with its interval, for which pairs are drawn anew. A figure that depends on runs of the method that
        never reached the threshold is a lower bound, one that depends on such runs of the reference an upper bound,
        one that depends on both is unknown.
    """

    def figures(runs: Array, references: Array, chosen: Indices) -> Array:
        return interquartile_mean(runs[chosen]) / interquartile_mean(references[chosen])

    return _marked(runs, references, figures, scenarios=(AT_LEAST, AT_MOST))


def _marked(
    runs: Sequence[Reached],
    references: Sequence[Reached],
    figures: Callable[[Array, Array, Indices], Array],
    scenarios: Sequence[str],
) -> Estimate:
    """An estimate, and which of its figures change if runs that did not get there would have taken twice as long."""
    count = len(runs)
    chosen = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))

    def three(late: str) -> Array:
        steps = _steps(runs, late == AT_LEAST), _steps(references, late == AT_MOST)
        value = float(figures(*steps, np.arange(count)))
        if count == 1:
            return np.array([value, math.nan, math.nan])
        return np.array([value, *np.percentile(figures(*steps, chosen), [2.5, 97.5])])

    known = three(KNOWN)
    changed = {late: three(late) != known for late in scenarios}
    marks = []
    for place in range(3):
        found = [late for late in scenarios if changed[late][place] and not math.isnan(known[place])]
        marks.append(UNKNOWN if len(found) > 1 else found[0] if found else KNOWN)
    return Estimate(float(known[0]), float(known[1]), float(known[2]), (marks[0], marks[1], marks[2]))


def _steps(runs: Sequence[Reached], late: bool) -> Array:
    """Steps of the runs; with ``late`` twice as many where a run did not get there."""
    return np.array([run.steps * (2.0 if late and not run.reached else 1.0) for run in runs])


@dataclass(frozen=True)
class Curve:
    """A figure against environment steps, over the runs of a method.

    Attributes:
        steps: Where it is known. Shape=(num_steps,).
        value: Interquartile mean. Shape=(num_steps,).
        low: Lower end of the 95 % interval at each step; equal to ``value`` with a single run. Shape=(num_steps,).
        high: Upper end. Shape=(num_steps,).
    """

    steps: Array
    value: Array
    low: Array
    high: Array


def curve(runs: Sequence[tuple[Sequence[int], Sequence[float]]]) -> Curve:
    """Interquartile mean over runs at each step at which one of them was judged.

    Between its evaluations a run has the value of the last one; and so it has behind its end, where it stopped early
    because it was good enough.

    Args:
        runs: Steps and values of each run; rising steps, at least one.
    """
    first = max(steps[0] for steps, _ in runs)
    grid = np.array(sorted({step for steps, _ in runs for step in steps if step >= first}), dtype=float)
    held = np.array(
        [np.asarray(values)[np.searchsorted(np.asarray(steps), grid, side="right") - 1] for steps, values in runs]
    )
    value = interquartile_mean(held, axis=0)
    if len(runs) == 1:
        return Curve(grid, value, value, value)
    chosen = np.random.default_rng(0).integers(len(runs), size=(RESAMPLES // 4, len(runs)))
    resampled = interquartile_mean(held[chosen], axis=1)
    low, high = interval_ends(resampled, axis=0)
    return Curve(grid, value, low, high)
