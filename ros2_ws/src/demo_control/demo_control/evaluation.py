"""Closed-loop evaluation: many episodes in lockstep, judged from the true states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from demo_control.controllers import Controller
from demo_control.tasks import Array, Plants, Score, Task

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True)
class Episodes:
    """What happened in a set of episodes.

    Attributes:
        results: Each episode's verdict, as the task's score gives it.
        returns: Sum of rewards until failure or the end. Shape=(num_episodes,).
        true_observations: Shape=(num_steps + 1, num_episodes, observation_dim).
        actions: Shape=(num_steps, num_episodes, action_dim).
    """

    results: tuple[Mapping[str, float | bool], ...]
    returns: Array
    true_observations: Array
    actions: Array

    def action_changes(self, task: Task) -> Array:
        """How rough the commands are: root mean square change from one period to the next, as a share of the range.

        Of those that are numbers; 0 where there is only one. Shape=(num_episodes,).
        """
        if len(self.actions) < 2:  # noqa: PLR2004 - a change is between two
            return np.zeros(self.actions.shape[1])
        changes = np.diff(self.actions, axis=0) / (task.action_maximum - task.action_minimum)
        known = np.isfinite(changes)
        squares = np.where(known, np.square(changes), 0.0).sum(axis=(0, 2))
        return np.asarray(np.sqrt(squares / np.maximum(known.sum(axis=(0, 2)), 1)))

    @property
    def successes(self) -> int:
        """Number of successful episodes."""
        return sum(bool(result["success"]) for result in self.results)


def episode_generators(seed: int, num_episodes: int, first: int = 0) -> list[np.random.Generator]:
    """One independent generator per episode: episode i is the same whatever else is run beside it."""
    return [np.random.default_rng([seed, first + index]) for index in range(num_episodes)]


def run_episodes(
    task: Task,
    plants: Plants,
    controller: Controller,
    seed: int,
    *,
    first_episode: int = 0,
    num_steps: int | None = None,
    progress: Progress | None = None,
) -> Episodes:
    """Run one episode on each plant.

    Args:
        task: The task.
        plants: Where to act.
        controller: What acts.
        seed: Of starts, sensor noise, disturbances and plans.
        first_episode: Number of the first plant's episode, for seeding.
        num_steps: Control periods; the task's episode length by default.
        progress: Told after every control period.
    """
    steps = num_steps or round(task.episode_s / task.control_period_s)
    num_plants = plants.num_plants
    generators = episode_generators(seed, num_plants, first_episode)
    observations = plants.reset(generators)
    # The controller's own noise must not depend on how much the plant drew.
    controller.reset([np.random.default_rng([seed, first_episode + i, 1]) for i in range(num_plants)])
    scores: list[Score] = [task.make_score() for _ in range(num_plants)]
    states = [plants.true_observations().copy()]
    failed = np.zeros(num_plants, bool)
    actions, returns = [], np.zeros(num_plants)
    for step in range(steps):
        action = controller.act(observations)
        # What is no number is no command: the plant fails by it, and nothing is earned.
        ended = failed | ~np.isfinite(action).all(axis=1)
        returns += np.where(ended, 0.0, task.reward(states[-1], action))
        observations, failed = plants.step(action)
        states.append(plants.true_observations().copy())
        actions.append(action)
        time_s = (step + 1) * task.control_period_s
        for index, score in enumerate(scores):
            score.update(time_s, states[-1][index], bool(failed[index]))
        if progress is not None:
            progress(step + 1, steps)
    return Episodes(
        results=tuple(score.result() for score in scores),
        returns=returns,
        true_observations=np.array(states),
        actions=np.array(actions),
    )
