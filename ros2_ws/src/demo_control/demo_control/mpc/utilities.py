"""Utilities J: how the costs of sampled control sequences become weights of the mirror step.

The gradient of each utility under an exponential-family control distribution is a weighted mean of the samples'
sufficient statistics (Wagener et al. 2019, section IV); the weights are computed here. They sum to one and do
not change when a constant is added to all costs. A sample whose cost is not finite gets no weight; where no cost
is finite all weights are zero, which callers must take as 'no plan'.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from demo_control.tasks import Array

ELITE_WEIGHTINGS = ("uniform", "return")
TEMPERATURE_SCALES = ("standard_deviation", "cost")
UTILITIES = ("elite_fraction", "exponential")

Utility = Callable[[Array], Array]
"""Maps costs, Shape=(..., num_samples), to weights of the same shape."""


def elite_fraction(costs: Array, fraction: float, weighting: str = "uniform") -> Array:
    """Weights for J = −log P(C ≤ C_max), C_max the ``fraction``-quantile of the samples (CEM).

    Args:
        costs: Shape=(..., num_samples).
        fraction: p; the ⌈pM⌉ cheapest samples are elites, at least one.
        weighting: 'uniform': every elite counts the same. 'return': w ∝ C_worst elite − C, the thesis's weighting
            by return made independent of an arbitrary constant and of the returns' sign; uniform where all
            elites cost the same.

    Returns:
        Shape=(..., num_samples).
    """
    costs = _infinite_where_not_finite(costs)
    num_elites = int(np.ceil(round(fraction * costs.shape[-1], 9)))
    elites = np.argpartition(costs, max(num_elites, 1) - 1, axis=-1)[..., : max(num_elites, 1)]
    elite_costs = np.take_along_axis(costs, elites, axis=-1)
    finite = np.isfinite(elite_costs)
    elite_weights = finite.astype(float)
    if weighting == "return":
        worst = np.max(elite_costs, axis=-1, where=finite, initial=-np.inf, keepdims=True)
        # Halved and divided by the largest: neither differences nor sums of huge costs may overflow.
        gaps = np.subtract(worst / 2.0, elite_costs / 2.0, where=finite, out=np.zeros_like(elite_costs))
        largest = gaps.max(axis=-1, keepdims=True)
        unequal = largest > 0.0
        elite_weights = np.divide(gaps, largest, where=unequal, out=elite_weights)
    weights = np.zeros(costs.shape)
    np.put_along_axis(weights, elites, elite_weights, axis=-1)
    return _normalised(weights)


def exponential(costs: Array, temperature: float, scale: str = "cost") -> Array:
    """Weights for J = −log E[exp(−C/λ)] (MPPI): the softmax of −C/λ.

    Args:
        costs: Shape=(..., num_samples).
        temperature: λ.
        scale: Unit of λ: 'cost', or 'standard_deviation' of the finite costs.

    Returns:
        Shape=(..., num_samples).
    """
    costs = _infinite_where_not_finite(costs)
    finite = np.isfinite(costs)
    lowest = np.min(costs, axis=-1, where=finite, initial=np.inf, keepdims=True)
    gaps = np.subtract(costs, lowest, where=finite, out=np.zeros_like(costs))
    # Costs of a diverging model may overflow when squared or divided; they get no weight either way.
    with np.errstate(over="ignore"):
        unit = _spread(gaps, finite) if scale == "standard_deviation" else np.ones_like(lowest)
        scaled = np.maximum(temperature * unit, np.finfo(float).tiny)
        return _normalised(np.where(finite, np.exp(-gaps / scaled), 0.0))


def effective_sample_size(weights: Array) -> Array:
    """1 / Σ w²: how many samples the mirror step really rests on; 0 where all weights are 0. Shape=(...)."""
    squares: Array = np.square(weights).sum(axis=-1)
    return np.divide(1.0, squares, where=squares > 0.0, out=np.zeros_like(squares))


def _infinite_where_not_finite(costs: Array) -> Array:
    """Costs as float64 with NaN and ±∞ as +∞."""
    costs = np.asarray(costs, np.float64)
    finite_or_infinite: Array = np.where(np.isfinite(costs), costs, np.inf)
    return finite_or_infinite


def _spread(gaps: Array, finite: npt.NDArray[np.bool_]) -> Array:
    """Standard deviation over the finite entries; 0 where there are none. Shape=(..., 1)."""
    count = np.maximum(finite.sum(axis=-1, keepdims=True), 1)
    mean = gaps.sum(axis=-1, keepdims=True, where=finite) / count
    variance = np.square(gaps - mean).sum(axis=-1, keepdims=True, where=finite) / count
    spread: Array = np.sqrt(variance)
    return spread


def _normalised(weights: Array) -> Array:
    """Weights divided by their sum; zeros stay zeros."""
    total = weights.sum(axis=-1, keepdims=True)
    normalised: Array = np.divide(weights, total, where=total > 0.0, out=np.zeros_like(weights))
    return normalised
