"""A small problem with known equations: a mass on a line, pushed towards its middle, that may run away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from demo_control.learning.environments import Booleans, Indices, Problem, Step
from demo_control.tasks import Array

PERIOD_S = 0.2
EDGE = 2.0
TIME_LIMIT = 30


def following(x: Array, u: Array) -> Array:
    return np.stack([x[..., 0] + PERIOD_S * x[..., 1], x[..., 1] + PERIOD_S * u[..., 0]], axis=-1)


def reward(x: Array, u: Array, x_next: Array) -> Array:
    return np.asarray(1.0 - x_next[..., 0] ** 2 - 0.1 * u[..., 0] ** 2)


def terminated(x: Array) -> Booleans:
    return np.asarray(np.abs(x[..., 0]) >= EDGE)


class MassEnvironments:
    """See :class:`demo_control.learning.environments.Environments`."""

    def __init__(self, num_environments: int) -> None:
        self._rows: Array = np.zeros((num_environments, 3))

    @property
    def num_environments(self) -> int:
        return len(self._rows)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        return self.reset_some(np.arange(len(self._rows)), generators)

    def reset_some(self, indices: Indices, generators: Sequence[np.random.Generator]) -> Array:
        for index, generator in zip(indices, generators, strict=True):
            self._rows[index] = [*generator.uniform(-1.0, 1.0, 2), 0.0]
        return np.array(self._rows[indices][:, :2])

    def step(self, actions: Array) -> Step:
        return self.step_some(np.arange(len(self._rows)), actions)

    def step_some(self, indices: Indices, actions: Array) -> Step:
        x = self._rows[indices][:, :2]
        x_next = following(x, actions)
        self._rows[indices, :2] = x_next
        self._rows[indices, 2] += 1.0
        late = self._rows[indices][:, 2] >= TIME_LIMIT
        return Step(x_next, reward(x, actions, x_next), terminated(x_next), late)

    def observations(self) -> Array:
        return np.array(self._rows[:, :2])

    def states(self) -> Array:
        return np.array(self._rows)

    def set_states(self, states: Array) -> None:
        self._rows[:] = states

    def close(self) -> None:
        pass


def column_reward(_: Sequence[Any], u: Sequence[Any], x_next: Sequence[Any], __: object) -> Any:  # noqa: ANN401
    return 1.0 - x_next[0] ** 2 - 0.1 * u[0] ** 2


def column_margin(x: Sequence[Any], xp: Any) -> Any:  # noqa: ANN401
    return EDGE - xp.abs(x[0])


def mass_problem(*, reward_known: bool = True) -> Problem:
    return Problem(
        name="mass",
        observation_names=("place", "speed"),
        action_minimum=np.array([-1.5]),
        action_maximum=np.array([1.5]),
        time_limit=TIME_LIMIT,
        make=MassEnvironments,
        model_inputs=np.array([True, True]),
        reward=reward if reward_known else None,
        terminated=terminated,
        column_reward=column_reward if reward_known else None,
        column_margin=column_margin,
    )
