"""The control distribution: independent Gaussians over the entries of a control sequence, kept within the limits.

Three parts are chosen by name: how sequences stay within the limits (:data:`BOUNDS`), how the spread changes over the
horizon (a setting), and how it learns from the samples (:data:`COVARIANCES`). A part of your own is one class or
function and one entry there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from demo_control.rollout.engine import Floats
from demo_control.tasks import Array

if TYPE_CHECKING:
    from demo_control.mpc.settings import PlannerSettings

Float32s = npt.NDArray[np.float32]

_NEAREST_TO_LIMIT = 0.999

_FARTHEST_VARIABLE = 9.0
"""tanh is 1 there, to float32's accuracy: what lies further out is the same control, and only its sums overflow."""


class Bounds(Protocol):
    """How the Gaussian's variables become controls within the limits."""

    def __init__(self, minimum: Array, maximum: Array) -> None:
        """Limits. Shape=(action_dim,)."""
        ...

    @property
    def unit(self) -> Array:
        """Half the action range, in the Gaussian's variables. Shape=(action_dim,)."""
        ...

    def variables(self, controls: Array) -> Array:
        """The variables that stand for controls within the limits. Shape=(..., action_dim)."""
        ...

    @property
    def limits(self) -> tuple[Float32s, Float32s] | None:
        """Of the variables, where they have any. Shape=(action_dim,) each."""
        ...

    def limited(self, variables: Floats) -> Floats:
        """Variables of controls within the limits: what is weighed and averaged. Shape=(..., action_dim)."""
        ...

    def controls(self, variables: Floats) -> Floats:
        """The controls that limited variables stand for. Shape=(..., action_dim)."""
        ...


class Clipped:
    """The variables are the controls, cut off at the limits: samples outside lie on them."""

    def __init__(self, minimum: Array, maximum: Array) -> None:
        self._limits = minimum, maximum
        self._float32_limits = minimum.astype(np.float32), maximum.astype(np.float32)

    @property
    def unit(self) -> Array:
        """See :class:`Bounds`."""
        minimum, maximum = self._limits
        return np.asarray((maximum - minimum) / 2.0, np.float64)

    def variables(self, controls: Array) -> Array:
        """See :class:`Bounds`."""
        return controls

    @property
    def limits(self) -> tuple[Float32s, Float32s] | None:
        """See :class:`Bounds`."""
        return self._float32_limits

    def limited(self, variables: Floats) -> Floats:
        """See :class:`Bounds`."""
        minimum, maximum = self._limits
        limited: Floats = np.maximum(variables, minimum)
        np.minimum(limited, maximum, out=limited)
        return limited

    def controls(self, variables: Floats) -> Floats:
        """See :class:`Bounds`."""
        return variables


class Squashed:
    """u = middle + half range · tanh(z): samples crowd near a limit instead of lying on it.

    The mean never quite reaches a limit: a proposal there is taken as 0.999 of the way, since z would be infinite.
    """

    def __init__(self, minimum: Array, maximum: Array) -> None:
        self._middle, self._half = (minimum + maximum) / 2.0, (maximum - minimum) / 2.0
        farthest = np.full(self._half.shape, _FARTHEST_VARIABLE, np.float32)
        self._limits = -farthest, farthest

    @property
    def unit(self) -> Array:
        """See :class:`Bounds`."""
        return np.ones_like(self._half)

    def variables(self, controls: Array) -> Array:
        """See :class:`Bounds`."""
        share = (controls - self._middle) / self._half
        variables: Array = np.arctanh(np.clip(share, -_NEAREST_TO_LIMIT, _NEAREST_TO_LIMIT))
        return variables

    @property
    def limits(self) -> tuple[Float32s, Float32s] | None:
        """See :class:`Bounds`."""
        return self._limits

    def limited(self, variables: Floats) -> Floats:
        """See :class:`Bounds`."""
        limited: Floats = np.clip(variables, *self._limits)
        return limited

    def controls(self, variables: Floats) -> Floats:
        """See :class:`Bounds`."""
        middle, half = (part.astype(variables.dtype) for part in (self._middle, self._half))
        controls: Floats = middle + half * np.tanh(variables)
        return controls


BOUNDS: dict[str, type[Bounds]] = {"clip": Clipped, "squash": Squashed}
"""By name; ``PlannerSettings.bounds`` is one of these."""

Covariance = Callable[[Array, Array, "PlannerSettings"], Array]
"""Maps variances, those seen in the weighted samples (NaN where no sample has weight), both
Shape=(horizon, num_robots, action_dim), and the planner's settings to new variances."""


def fixed(variance: Array, _seen: Array, _settings: PlannerSettings) -> Array:
    """The spread stays as it was set."""
    return variance


def adapted(variance: Array, seen: Array, settings: PlannerSettings) -> Array:
    """(1 − β) σ² + β Σ w (u − μ)²: the mirror step of the variance, as in CEM; β = ``covariance_step_size``."""
    moved: Array = variance + settings.covariance_step_size * (seen - variance)
    return np.where(np.isfinite(seen), moved, variance)


COVARIANCES: dict[str, Covariance] = {"fixed": fixed, "adapted": adapted}
"""By name; ``PlannerSettings.covariance`` is one of these."""


def initial_deviation(settings: PlannerSettings, unit: Array) -> Array:
    """σ before any adaptation; from the first step to the last it changes by ``noise_last_share``, geometrically.

    Args:
        settings: The planner's.
        unit: Half the action range. Shape=(action_dim,).

    Returns:
        Shape=(horizon, action_dim).
    """
    shares = np.power(settings.noise_last_share, np.linspace(0.0, 1.0, settings.horizon))
    deviation: Array = settings.noise_standard_deviation * shares[:, None] * unit
    return deviation


def learned_deviation(
    deviation: Array, samples: Floats, mean: Array, weights: Array, initial: Array, settings: PlannerSettings
) -> Array:
    """σ after a mirror step, never below ``covariance_floor`` times the initial one.

    Args:
        deviation: Before. Shape=(horizon, num_robots, action_dim).
        samples: Shape=(horizon, num_robots, num_samples, action_dim).
        mean: μ after the mirror step. Shape=(horizon, num_robots, action_dim).
        weights: Shape=(num_robots, num_samples).
        initial: Shape=(horizon, action_dim).
        settings: The planner's.

    Returns:
        Shape=(horizon, num_robots, action_dim).
    """
    if settings.covariance == "fixed":
        return deviation
    # The samples that are worth something, also under a utility whose weights may be negative.
    worth = np.maximum(weights, 0.0)
    total = worth.sum(axis=-1)[:, None]
    seen = np.matmul(worth[:, None, :], np.square(samples - mean[:, :, None]))[..., 0, :]
    seen = np.divide(seen, total, where=total > 0.0, out=np.full_like(seen, np.nan))
    variance = COVARIANCES[settings.covariance](np.square(deviation), seen, settings)
    return np.maximum(np.sqrt(np.maximum(variance, 0.0)), settings.covariance_floor * initial[:, None])
