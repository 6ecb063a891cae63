"""How a policy search tries its policies: on plants of its own, or on a task's curriculum in many processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.learning.episodes import run_episodes
from demo_control.learning.linear_policy import LinearPolicies
from demo_control.learning.seeding import Purpose, stream, streams
from demo_control.learning.workers import Workers
from demo_control.tasks import Array, Plants, Task
from demo_control.training_spec import PolicyTraining

DIRECTIONS_PER_BATCH = 10
"""Directions that one process tries at once."""


@dataclass(frozen=True)
class Tried:
    """What came of policies that were tried.

    Attributes:
        returns: Of each episode. Shape=(num_plants,).
        observations: Every observation that was acted upon. Shape=(num_transitions, observation_dim).
    """

    returns: Array
    observations: Array


class Trials(Protocol):
    """Tries policies; the same numbers for the same arguments, whatever was tried before."""

    def search(self, iteration: int, policies: LinearPolicies) -> Tried:
        """One policy per plant; the first half and the second meet the same plants and starts."""
        ...

    def evaluate(self, policies: LinearPolicies) -> Array:
        """Returns of one policy on the plants that decide which is kept."""
        ...


class PlantTrials:
    """All directions on plants that are alike.

    Args:
        task: Gives reward, action range and control period.
        plants: 2 x ``num_directions`` plants: both signs of every direction at once.
        num_directions: Of an iteration.
        seed: Decides the starts.
        episode_s: Length of the episodes of the search; an evaluation takes the task's.

    Raises:
        ConfigurationError: Wrong number of plants.
    """

    def __init__(self, task: Task, plants: Plants, num_directions: int, seed: int, episode_s: float) -> None:
        if plants.num_plants != 2 * num_directions:
            raise ConfigurationError(
                f"augmented random search: got {plants.num_plants} plants, "
                f"needs 2 x num_directions = {2 * num_directions}"
            )
        self._task, self._plants, self._seed, self._episode_s = task, plants, seed, episode_s

    def search(self, iteration: int, policies: LinearPolicies) -> Tried:
        """See :class:`Trials`; both signs of a direction start alike, for less noise."""
        half = self._plants.num_plants // 2
        starts = [
            generator for _ in range(2) for generator in streams(self._seed, Purpose.SEARCH_STARTS, half, iteration)
        ]
        num_steps = round(self._episode_s / self._task.control_period_s)
        recording = run_episodes(self._task, self._plants, policies.law(self._task), starts, num_steps)
        return Tried(recording.returns, recording.alive_observations())

    def evaluate(self, policies: LinearPolicies) -> Array:
        """See :class:`Trials`: full episodes from fixed starts."""
        starts = streams(self._seed, Purpose.SEARCH_EVALUATION, self._plants.num_plants)
        num_steps = round(self._task.episode_s / self._task.control_period_s)
        return run_episodes(self._task, self._plants, policies.law(self._task), starts, num_steps).returns


class CurriculumTrials:
    """Every direction on a plant of its own from the task's curriculum, shared out over processes.

    Args:
        workers: Do the work.
        task: Has ``policy_training``.
        simulator: Name of the simulator.
        seed: Decides plants and starts.
        episode_s: Length of all episodes.
        normalises: Whether the search wants the observations.
    """

    def __init__(
        self, workers: Workers, task: Task, *, simulator: str, seed: int, episode_s: float, normalises: bool
    ) -> None:
        self._workers, self._simulator, self._seed, self._normalises = workers, simulator, seed, normalises
        self._num_steps = round(episode_s / task.control_period_s)

    def search(self, iteration: int, policies: LinearPolicies) -> Tried:
        """See :class:`Trials`."""
        half = len(policies.parameters) // 2
        batches = []
        for first in range(0, half, DIRECTIONS_PER_BATCH):
            both = [first + sign * half + i for sign in (0, 1) for i in range(min(DIRECTIONS_PER_BATCH, half - first))]
            chosen = LinearPolicies(policies.parameters[both], policies.mean, policies.scale)
            batches.append((self._simulator, self._seed, iteration, first, chosen, self._num_steps, self._normalises))
        tried = list(self._workers.map(try_directions, batches))
        halves = [np.split(batch.returns, 2) for batch in tried]
        returns = np.concatenate([half[sign] for sign in (0, 1) for half in halves])
        return Tried(returns, np.concatenate([batch.observations for batch in tried]))

    def evaluate(self, policies: LinearPolicies) -> Array:
        """See :class:`Trials`."""
        (returns,) = self._workers.map(evaluate_policy, [(self._simulator, self._seed, policies, self._num_steps)])
        return returns


def try_directions(
    task: Task,
    simulator: str,
    seed: int,
    iteration: int,
    first: int,
    policies: LinearPolicies,
    num_steps: int,
    with_observations: bool,
) -> Tried:
    """Try both signs of some directions, the one numbered ``first`` and those after it, each pair on equal plants."""
    count = len(policies.parameters) // 2

    def generators(purpose: Purpose) -> list[np.random.Generator]:
        return [stream(seed, purpose, iteration, first + i) for _ in range(2) for i in range(count)]

    common = stream(seed, Purpose.CURRICULUM, iteration)
    plants = _spec(task).plants(simulator, iteration, common, generators(Purpose.CURRICULUM_PLANTS))
    try:
        recording = run_episodes(task, plants, policies.law(task), generators(Purpose.SEARCH_STARTS), num_steps)
    finally:
        plants.close()
    observations = recording.alive_observations() if with_observations else np.zeros((0, task.observation_dim))
    return Tried(recording.returns, observations)


def evaluate_policy(task: Task, simulator: str, seed: int, policies: LinearPolicies, num_steps: int) -> Array:
    """Returns on the task's evaluation plants. Shape=(num_plants,)."""
    plants = _spec(task).evaluation_plants(simulator)
    try:
        starts = streams(seed, Purpose.SEARCH_EVALUATION, plants.num_plants)
        return run_episodes(task, plants, policies.law(task), starts, num_steps).returns
    finally:
        plants.close()


def _spec(task: Task) -> PolicyTraining:
    assert task.policy_training is not None
    return task.policy_training
