"""What the problems with known equations of motion share: integration, and plants that are stepped by their model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from demo_control.rollout.numpy_engine import Dynamics
from demo_control.tasks import Array

Mask = npt.NDArray[np.bool_]


def runge_kutta(rates: Callable[[Array], Array], state: Array, step_s: float) -> Array:
    """One step of the classical Runge-Kutta method of fourth order. Shape=(...) → Shape=(...)."""
    first = rates(state)
    second = rates(state + 0.5 * step_s * first)
    third = rates(state + 0.5 * step_s * second)
    fourth = rates(state + step_s * third)
    return np.asarray(state + step_s / 6.0 * (first + 2.0 * (second + third) + fourth))


def never(before: Array, _after: Array) -> Mask:
    """No step is a failure. Shape=(num_plants,)."""
    return np.zeros(len(before), bool)


class ModelPlants:
    """Plants whose state is observed and follows a function; implements :class:`demo_control.tasks.Plants`.

    A plant fails when ``fails`` says so, or when its action is not finite. Failed plants stay where they are.

    Args:
        num_plants: Number of plants.
        dynamics: One control period; clips the actions itself.
        start: Draws a start. Shape=(observation_dim,).
        fails: Whether a step from one state to the next is a failure. Shape=(num_plants, observation_dim) each.
    """

    def __init__(
        self,
        num_plants: int,
        dynamics: Dynamics,
        start: Callable[[np.random.Generator], Array],
        fails: Callable[[Array, Array], Mask] = never,
    ) -> None:
        self.num_plants = num_plants
        self._dynamics = dynamics
        self._start = start
        self._fails = fails
        self._state: Array = np.zeros((num_plants, 0))
        self._failed: Mask = np.zeros(num_plants, bool)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """See :class:`demo_control.tasks.Plants`."""
        self._state = np.array([self._start(generator) for generator in generators])
        self._failed = np.zeros(self.num_plants, bool)
        return self.true_observations()

    def step(self, actions: Array) -> tuple[Array, Mask]:
        """See :class:`demo_control.tasks.Plants`."""
        self._failed = self._failed | ~np.isfinite(actions).all(axis=1)
        following = self._dynamics(self._state, np.nan_to_num(actions))
        moved = np.where(self._failed[:, None], self._state, following)
        self._failed = self._failed | self._fails(self._state, moved)
        self._state = moved
        return self.true_observations(), self._failed.copy()

    def true_observations(self) -> Array:
        """See :class:`demo_control.tasks.Plants`."""
        return np.array(self._state)

    def close(self) -> None:
        """Nothing is held."""
