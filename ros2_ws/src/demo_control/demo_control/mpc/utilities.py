"""Utilities J: how the costs of sampled control sequences become weights of the mirror step.

The gradient of each utility under an exponential-family control distribution is a weighted mean of the samples'
sufficient statistics (Wagener et al. 2019, section IV); the weights are computed here. Those of the elite fraction and
of the exponential utility sum to one, those of the expected cost to zero; none change when a constant is added to all
costs. A sample whose cost is not finite gets no weight; where no cost is finite all weights are zero, which callers
must take as 'no plan'.

A utility of your own is one function and one entry of :data:`UTILITIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from demo_control.rollout.native.library import installed_kernel
from demo_control.rollout.native.weighing import elites as elites_natively
from demo_control.rollout.native.weighing import exponential as exponential_natively
from demo_control.tasks import Array

if TYPE_CHECKING:
    from demo_control.mpc.settings import PlannerSettings

ELITE_WEIGHTINGS = ("uniform", "return")
TEMPERATURE_SCALES = ("standard_deviation", "cost", "effective_share")

_BISECTIONS = 40
_SMALLEST_EXPONENT = -60.0

Utility = Callable[[Array, "PlannerSettings"], Array]
"""Maps costs, Shape=(..., num_samples), and the planner's settings to weights of the same shape."""


def expected_cost(costs: Array, temperature: float, scale: str = "cost") -> Array:
    """Weights for J = E[C]: w_i = −(C_i − C̄) / (λ M), so that Σ w_i (u⁽ⁱ⁾ − μ̃) is a step down the gradient.

    It is the first order of :func:`exponential` in 1/λ: λ sets the length of the step, not its direction.

    Args:
        costs: Shape=(..., num_samples).
        temperature: λ.
        scale: Unit of λ, as in :func:`exponential`.

    Returns:
        Shape=(..., num_samples); the sum over the samples is zero.
    """
    shares, finite, unit = _shares(costs)
    count = np.maximum(finite.sum(axis=-1, keepdims=True), 1)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = shares.sum(axis=-1, keepdims=True) / count
        weights: Array = (mean - shares) / (_temperature(shares, finite, unit, temperature, scale) * count)
    return np.where(finite & np.isfinite(weights), weights, 0.0)


def elite_fraction(costs: Array, fraction: float, weighting: str = "uniform") -> Array:
    """Weights for J = −log P(C ≤ C_max), C_max the ``fraction``-quantile of the samples (CEM).

    Args:
        costs: Shape=(..., num_samples).
        fraction: p; the ⌈pM⌉ cheapest samples are elites, at least one. Of those that cost the same the first ones.
        weighting: 'uniform': every elite counts the same. 'return': w ∝ C_worst elite − C, the thesis's weighting
            by return made independent of an arbitrary constant and of the returns' sign; uniform where all
            elites cost the same.

    Returns:
        Shape=(..., num_samples).
    """
    costs, kernel = np.ascontiguousarray(costs, np.float64), installed_kernel()
    num_elites = count_elites(fraction, costs.shape[-1])
    if kernel is None or not costs.size:
        return elites_by_numpy(costs, num_elites, weighting)
    return elites_natively(kernel, costs, num_elites, weighting)


def count_elites(fraction: float, num_samples: int) -> int:
    """⌈pM⌉, at least one."""
    return max(int(np.ceil(round(fraction * num_samples, 9))), 1)


def elites_by_numpy(costs: Array, num_elites: int, weighting: str = "uniform") -> Array:
    """See :func:`elite_fraction`, which has the compiled kernel do this where there is one."""
    costs = comparable(costs)
    elites = np.argsort(costs, axis=-1, kind="stable")[..., :num_elites]
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
        scale: Unit of λ: 'cost', or 'standard_deviation' of the finite costs. With 'effective_share', λ is found so
            that the effective sample size is this share of the samples, however the costs are spread.

    Returns:
        Shape=(..., num_samples).
    """
    costs, kernel = np.ascontiguousarray(costs, np.float64), installed_kernel()
    if kernel is None or not costs.size:
        return exponential_by_numpy(costs, temperature, scale)
    return exponential_natively(kernel, costs, temperature, scale)


def exponential_by_numpy(costs: Array, temperature: float, scale: str = "cost") -> Array:
    """See :func:`exponential`, which has the compiled kernel do this where there is one."""
    shares, finite, unit = _shares(costs)
    return _normalised(_boltzmann(shares, finite, _temperature(shares, finite, unit, temperature, scale)))


def effective_sample_size(weights: Array) -> Array:
    """(Σ|w|)² / Σ w² (Kish): how many samples the mirror step rests on; 0 where all weights are 0. Shape=(...)."""
    squares: Array = np.square(weights).sum(axis=-1)
    total: Array = np.square(np.abs(weights).sum(axis=-1))
    some = squares > 0.0
    size: Array = some * total / np.where(some, squares, 1.0)
    return size


def comparable(costs: Array) -> Array:
    """Costs as float64 with NaN and ±∞ as +∞, so that the cheapest is a real one if there is any."""
    costs = np.asarray(costs, np.float64)
    finite_or_infinite: Array = np.where(np.isfinite(costs), costs, np.inf)
    return finite_or_infinite


def _shares(costs: Array) -> tuple[Array, npt.NDArray[np.bool_], Array]:
    """Where costs lie between the lowest finite one, 0, and the highest, 1.

    Returns:
        The shares, 0 where a cost is not finite, which costs are finite, and half of the range, the unit of shares of
        half costs: neither differences nor sums of huge costs may overflow.
    """
    halves = np.asarray(costs, np.float64) / 2.0
    finite = np.isfinite(halves)
    lowest = np.min(halves, axis=-1, where=finite, initial=np.inf, keepdims=True)
    gaps = np.subtract(halves, lowest, where=finite, out=np.zeros_like(halves))
    largest = gaps.max(axis=-1, keepdims=True)
    unit = np.where(largest > 0.0, largest, 1.0)
    return gaps / unit, finite, unit


def _boltzmann(shares: Array, finite: npt.NDArray[np.bool_], temperature: Array) -> Array:
    """exp(−C/λ), 0 where the cost is not finite, and where the factor is so small that it adds nothing.

    Numbers below float32's normal ones, of which there would be many, take the processor ten times as long to add.
    """
    with np.errstate(over="ignore"):
        exponents = shares / -temperature
    factors: Array = np.exp(exponents) * (finite & (exponents > _SMALLEST_EXPONENT))
    return factors


def _temperature(shares: Array, finite: npt.NDArray[np.bool_], unit: Array, temperature: float, scale: str) -> Array:
    """λ as a share of the range of costs, above 0. Shape=(..., 1)."""
    if scale == "effective_share":
        return _temperature_of_share(shares, finite, temperature)
    found = temperature * _spread(shares, finite) if scale == "standard_deviation" else temperature / 2.0 / unit
    return np.maximum(found, np.finfo(float).tiny)


def _temperature_of_share(shares: Array, finite: npt.NDArray[np.bool_], share: float) -> Array:
    """The λ at which the effective sample size is that share of the finite samples, by bisection of its logarithm.

    The size grows with λ from the number of cheapest samples to that of all.
    """
    wanted = np.maximum(share * finite.sum(axis=-1, keepdims=True), 1.0)
    # From "all but the cheapest vanish" to "all weigh the same", for gaps of any size that matters.
    low, high = np.full(wanted.shape, np.log(1e-9)), np.full(wanted.shape, np.log(1e9))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        size = effective_sample_size(_boltzmann(shares, finite, np.exp(middle)))[..., None]
        low, high = np.where(size < wanted, middle, low), np.where(size < wanted, high, middle)
    found: Array = np.exp(high)
    return found


def _spread(shares: Array, finite: npt.NDArray[np.bool_]) -> Array:
    """Standard deviation over the finite entries; 0 where there are none. Shape=(..., 1)."""
    count = np.maximum(finite.sum(axis=-1, keepdims=True), 1)
    mean = shares.sum(axis=-1, keepdims=True) / count
    variance = np.where(finite, np.square(shares - mean), 0.0).sum(axis=-1, keepdims=True) / count
    spread: Array = np.sqrt(variance)
    return spread


def _normalised(weights: Array) -> Array:
    """Weights divided by their sum; zeros stay zeros."""
    total = weights.sum(axis=-1, keepdims=True)
    some = total > 0.0
    normalised: Array = weights / np.where(some, total, 1.0)
    return normalised


UTILITIES: dict[str, Utility] = {
    "expected_cost": lambda costs, settings: expected_cost(costs, settings.temperature, settings.temperature_scale),
    "elite_fraction": lambda costs, settings: elite_fraction(costs, settings.elite_fraction, settings.elite_weighting),
    "exponential": lambda costs, settings: exponential(costs, settings.temperature, settings.temperature_scale),
}
"""By name; ``PlannerSettings.utility`` is one of these."""
