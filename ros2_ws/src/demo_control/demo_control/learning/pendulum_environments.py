"""Gymnasium's Pendulum-v1, for any number of pendulums at once; needs no simulator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from demo_control.learning.environments import Indices, Problem, Step
from demo_control.tasks import Array

_TIME_LIMIT = 200
_PERIOD_S = 0.05
_GRAVITY = 10.0
_MAXIMUM_SPEED = 8.0
_MAXIMUM_TORQUE = 2.0


class PendulumEnvironments:
    """A batch of pendulums; see :class:`demo_control.learning.environments.Environments`.

    A row of the states is (angle from upright, angular velocity, steps taken).

    Args:
        num_environments: How many.
    """

    def __init__(self, num_environments: int) -> None:
        self._rows: Array = np.zeros((num_environments, 3))
        self._all = np.arange(num_environments)

    @property
    def num_environments(self) -> int:
        """How many there are."""
        return len(self._rows)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """See the protocol."""
        return self.reset_some(self._all, generators)

    def reset_some(self, indices: Indices, generators: Sequence[np.random.Generator]) -> Array:
        """See the protocol."""
        largest = np.array([np.pi, 1.0])
        for index, generator in zip(indices, generators, strict=True):
            self._rows[index] = *generator.uniform(-largest, largest), 0.0
        return _observed(self._rows[indices])

    def step(self, actions: Array) -> Step:
        """See the protocol."""
        return self.step_some(self._all, actions)

    def step_some(self, indices: Indices, actions: Array) -> Step:
        """See the protocol; the equations in Gymnasium's order of operations."""
        angle, speed, count = self._rows[indices].T
        torque = np.clip(actions[:, 0], -_MAXIMUM_TORQUE, _MAXIMUM_TORQUE)
        rewards = _reward(angle, speed, torque)
        speed = speed + (3 * _GRAVITY / 2 * np.sin(angle) + 3.0 * torque) * _PERIOD_S
        speed = np.clip(speed, -_MAXIMUM_SPEED, _MAXIMUM_SPEED)
        rows = np.column_stack([angle + speed * _PERIOD_S, speed, count + 1])
        self._rows[indices] = rows
        return Step(_observed(rows), rewards, np.zeros(len(rows), dtype=bool), rows[:, 2] >= _TIME_LIMIT)

    def observations(self) -> Array:
        """See the protocol."""
        return _observed(self._rows)

    def states(self) -> Array:
        """See the protocol."""
        return np.array(self._rows)

    def set_states(self, states: Array) -> None:
        """See the protocol."""
        self._rows[:] = states

    def close(self) -> None:
        """Nothing is held."""


def _observed(rows: Array) -> Array:
    """In single precision, as Gymnasium has it, but as doubles."""
    angle, speed = rows[:, 0], rows[:, 1]
    observations = np.column_stack([np.cos(angle), np.sin(angle), speed])
    return observations.astype(np.float32).astype(float)


def _reward(angle: Array, speed: Array, torque: Array) -> Array:
    wrapped = (angle + np.pi) % (2 * np.pi) - np.pi
    return np.asarray(-(wrapped**2 + 0.1 * speed**2 + 0.001 * torque**2))


def _observed_reward(observations: Array, actions: Array, _: Array) -> Array:
    """Exact but for the single precision of the observations."""
    cosine, sine, speed = np.moveaxis(observations, -1, 0)
    torque = np.clip(actions[..., 0], -_MAXIMUM_TORQUE, _MAXIMUM_TORQUE)
    return _reward(np.arctan2(sine, cosine), speed, torque)


PENDULUM = Problem(
    name="Pendulum-v1",
    observation_names=("cosine", "sine", "angular_velocity"),
    action_minimum=np.array([-_MAXIMUM_TORQUE]),
    action_maximum=np.array([_MAXIMUM_TORQUE]),
    time_limit=_TIME_LIMIT,
    make=PendulumEnvironments,
    model_inputs=np.ones(3, dtype=bool),
    reward=_observed_reward,
)
"""Swing-up of a pendulum; never terminates."""
