"""Any Gymnasium environment as a batch, one ``gymnasium.Env`` each: slower, but it serves what a user brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from demo_control.configuration import ConfigurationError
from demo_control.learning.environments import Indices, Problem, Step
from demo_control.tasks import Array

_LARGEST_SEED = 2**31
_ENDLESS = 1000
"""Time limit of an environment that has none."""


class AdaptedEnvironments:
    """A batch of ``gymnasium.Env``; see :class:`demo_control.learning.environments.Environments`.

    Gymnasium has no way to read or set an environment's state. A row of the states is therefore how it came about: the
    seed of the reset and the actions since. Setting it plays them again, which gives the same state if nothing in the
    environment is random but what that seed decides.

    Args:
        name: For ``gymnasium.make``.
        time_limit: Steps of an episode.
        num_environments: How many.

    Attributes:
        action_dim: Length of an action.
    """

    def __init__(self, name: str, time_limit: int, num_environments: int) -> None:
        self._time_limit = time_limit
        self._environments = [_made(name, time_limit) for _ in range(num_environments)]
        shape = _box(self._environments[0].observation_space).shape
        self._observations: Array = np.zeros((num_environments, *shape))
        self._action_type = _box(self._environments[0].action_space).dtype
        self.action_dim = _box(self._environments[0].action_space).shape[0]
        self._seeds = np.zeros(num_environments, dtype=int)
        self._counts = np.zeros(num_environments, dtype=int)
        self._actions = np.zeros((num_environments, time_limit, self.action_dim))
        self._all = np.arange(num_environments)

    @property
    def num_environments(self) -> int:
        """How many there are."""
        return len(self._environments)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """See the protocol."""
        return self.reset_some(self._all, generators)

    def reset_some(self, indices: Indices, generators: Sequence[np.random.Generator]) -> Array:
        """See the protocol; a generator decides the environment's seed."""
        for index, generator in zip(indices, generators, strict=True):
            self._start(index, int(generator.integers(_LARGEST_SEED)))
        return np.asarray(self._observations[indices])

    def step(self, actions: Array) -> Step:
        """See the protocol."""
        return self.step_some(self._all, actions)

    def step_some(self, indices: Indices, actions: Array) -> Step:
        """See the protocol."""
        results = [self._advance(index, action) for index, action in zip(indices, actions, strict=True)]
        rewards, terminated, truncated = zip(*results, strict=True)
        flags = (np.array(values, dtype=bool) for values in (terminated, truncated))
        return Step(self._observations[indices], np.array(rewards, dtype=float), *flags)

    def observations(self) -> Array:
        """See the protocol."""
        return np.array(self._observations)

    def states(self) -> Array:
        """See the protocol and the class."""
        return np.column_stack([self._seeds, self._counts, self._actions.reshape(len(self._counts), -1)])

    def set_states(self, states: Array) -> None:
        """See the protocol and the class; takes as long as the steps that are played again."""
        for index, row in enumerate(states):
            self._start(index, int(row[0]))
            for action in row[2:].reshape(self._actions[index].shape)[: int(row[1])]:
                self._advance(index, action)

    def began(self, index: int) -> tuple[int, int]:
        """The seed of an environment's episode, and the steps since."""
        return int(self._seeds[index]), int(self._counts[index])

    def close(self) -> None:
        """Close the environments."""
        for environment in self._environments:
            environment.close()

    def _start(self, index: int, seed: int) -> None:
        self._seeds[index], self._counts[index], self._actions[index] = seed, 0, 0.0
        self._observations[index], _ = self._environments[index].reset(seed=seed)

    def _advance(self, index: int, action: Array) -> tuple[float, bool, bool]:
        self._actions[index, self._counts[index]] = action
        self._counts[index] += 1
        result = self._environments[index].step(action.astype(self._action_type))
        self._observations[index], reward, terminated, truncated, _ = result
        return float(cast(float, reward)), terminated, truncated


class ReplayedStates:
    """A :class:`demo_control.learning.environments.History` of an adapted environment.

    A state there is all actions since the reset. The steps that are remembered follow one another, so these actions are
    those of the steps before: a step costs its seed, its number in the episode and its action.

    Args:
        environments: One environment.
    """

    def __init__(self, environments: AdaptedEnvironments) -> None:
        self._environments = environments
        self._steps: list[Array] = []

    def __len__(self) -> int:
        """See the protocol."""
        return len(self._steps)

    def add(self, action: Array) -> None:
        """See the protocol."""
        self._steps.append(np.array([*self._environments.began(0), *action], dtype=float))

    def states(self, indices: Indices) -> Array:
        """See the protocol."""
        states = np.zeros((len(indices), self._environments.states().shape[1]))
        for state, index in zip(states, indices, strict=True):
            state[:2] = self._steps[index][:2]
            actions = [step[2:] for step in self._steps[index - int(state[1]) : index]]
            state[2 : 2 + sum(map(len, actions))] = np.ravel(actions)
        return states

    def rows(self) -> Array:
        """See the protocol."""
        return np.array(self._steps)

    def restore(self, rows: Array) -> None:
        """See the protocol."""
        width = 2 + self._environments.action_dim
        if len(rows) and rows.shape[1:] != (width,):
            raise ValueError(f"steps of shape {rows.shape[1:]} where {(width,)} is expected")
        self._steps = list(rows)


def adapted_problem(name: str) -> Problem:
    """Any environment that ``gymnasium.make`` knows; rewards are learned, and models never terminate.

    Who knows more of an environment replaces fields of the result: ``replace(adapted_problem(name), terminated=...)``.

    Raises:
        ConfigurationError: There is none, or its observations or actions are no vectors of numbers.
    """
    environment = _made(name, None)
    try:
        observation, action = _box(environment.observation_space), _box(environment.action_space)
        time_limit = (environment.spec and environment.spec.max_episode_steps) or _ENDLESS
    finally:
        environment.close()
    if not np.isfinite([action.low, action.high]).all():
        raise ConfigurationError(f"environment '{name}': its actions have no limits")
    return Problem(
        name=name,
        observation_names=tuple(f"observation_{i}" for i in range(observation.shape[0])),
        action_minimum=action.low.astype(float),
        action_maximum=action.high.astype(float),
        time_limit=time_limit,
        make=lambda num_environments: AdaptedEnvironments(name, time_limit, num_environments),
        model_inputs=np.ones(observation.shape[0], dtype=bool),
        history=ReplayedStates,
    )


def _made(name: str, time_limit: int | None) -> gymnasium.Env[Any, Any]:
    try:
        return gymnasium.make(name, max_episode_steps=time_limit)
    except (gymnasium.error.Error, ImportError) as error:
        raise ConfigurationError(f"environment '{name}': {error}") from error


def _box(space: object) -> spaces.Box:
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ConfigurationError(f"a space {space} is no vector of numbers, which is all that is supported")
    return space
