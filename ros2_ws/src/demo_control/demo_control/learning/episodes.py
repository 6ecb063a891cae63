"""Running plants with a control law, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo_control.configuration import ConfigurationError
from demo_control.tasks import Array, Plants, Task

ControlLaw = Callable[[Array], Array]
"""Maps observations (num_plants, observation_dim) to actions (num_plants, action_dim)."""


@dataclass(frozen=True)
class Recording:
    """A batch of episodes run side by side.

    Attributes:
        observations: As the sensors reported them.
            Shape=(num_steps + 1, num_plants, observation_dim).
        true_observations: Of the true states. Shape=(num_steps + 1, num_plants, observation_dim).
        actions: Physical units. Shape=(num_steps, num_plants, action_dim).
        rewards: Of true state and action, 0 once a plant has failed. Shape=(num_steps, num_plants).
        failed: Whether the plant had failed when the observation was made.
            Shape=(num_steps + 1, num_plants).
    """

    observations: Array
    true_observations: Array
    actions: Array
    rewards: Array
    failed: npt.NDArray[np.bool_]

    @property
    def returns(self) -> Array:
        """Sum of rewards per episode. Shape=(num_plants,)."""
        return np.asarray(self.rewards.sum(axis=0))

    def alive_observations(self) -> Array:
        """Every observation that was acted upon. Shape=(num_transitions, observation_dim)."""
        return self.observations[:-1][~self.failed[:-1]]

    def episodes(self) -> list[Episode]:
        """One :class:`Episode` per plant, cut before the step it failed on; no empty ones."""
        lengths = np.argmax(np.vstack([self.failed[1:], np.ones_like(self.failed[:1])]), axis=0)
        return [
            Episode(self.observations[: length + 1, plant].copy(), self.actions[:length, plant].copy())
            for plant, length in enumerate(lengths)
            if length > 0
        ]


@dataclass(frozen=True)
class Episode:
    """Consecutive transitions of one plant.

    Attributes:
        observations: Shape=(num_steps + 1, observation_dim).
        actions: Shape=(num_steps, action_dim).
    """

    observations: Array
    actions: Array

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self.actions)


def check_length(task: Task, num_steps: int) -> None:
    """Refuse episodes without a step.

    Raises:
        ConfigurationError: They have none.
    """
    if num_steps < 1:
        raise ConfigurationError(
            f"an episode (…episode_s) must last at least a control period, which is {task.control_period_s:g} s"
        )


def run_episodes(
    task: Task,
    plants: Plants,
    law: ControlLaw,
    generators: Sequence[np.random.Generator],
    num_steps: int,
) -> Recording:
    """Reset the plants and run them until ``num_steps`` are over or all have failed.

    Rewards use the true states, the control law the reported ones.

    Args:
        task: Gives the reward.
        plants: Reset here; may be used again afterwards.
        law: Called once per control period; its output is clipped to the action limits.
        generators: One per plant, passed to ``plants.reset``.
        num_steps: Longest episode, in control periods.

    Raises:
        ConfigurationError: An episode without a step.
    """
    check_length(task, num_steps)
    observation = plants.reset(generators)
    failed = np.zeros(plants.num_plants, dtype=bool)
    observations, failures = [observation], [failed]
    states = [plants.true_observations().copy()]
    actions: list[Array] = []
    rewards: list[Array] = []
    for _ in range(num_steps):
        action = np.clip(law(observation), task.action_minimum, task.action_maximum)
        rewards.append(np.where(failed, 0.0, task.reward(states[-1], action)))
        observation, failed = plants.step(action)
        observations.append(observation)
        states.append(plants.true_observations().copy())
        failures.append(np.asarray(failed, dtype=bool).copy())
        actions.append(action)
        if failed.all():
            break
    parts = (observations, states, actions, rewards, failures)
    return Recording(*(np.stack(part) for part in parts))
