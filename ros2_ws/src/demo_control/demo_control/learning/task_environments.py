"""A task as a problem of reinforcement learning: its own plants, rewards and failures, whatever robot it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from demo_control.learning.environments import Booleans, EpisodicProblem, Indices, Step
from demo_control.learning.episodes import check_length
from demo_control.tasks import Array, Plants, Task

PlantMaker = Callable[[Sequence[np.random.Generator]], Plants]
"""Builds one plant for each generator; it does not draw from them, as they decide how the plants start."""


class TaskEnvironments:
    """A batch of plants; see :class:`demo_control.learning.environments.SteppedEnvironments`.

    An episode terminates when its plant fails. Observations are those of the sensors; rewards are the task's, of the
    true state before the step and of the action.

    Args:
        task: Gives the reward.
        num_environments: How many.
        time_limit: Control periods of an episode.
        make_plants: Called at every reset.
    """

    def __init__(self, task: Task, num_environments: int, time_limit: int, make_plants: PlantMaker) -> None:
        self._task, self._num_environments, self._time_limit = task, num_environments, time_limit
        self._make_plants = make_plants
        self._plants: Plants | None = None
        self._failed: Booleans = np.zeros(num_environments, dtype=bool)
        self._count = 0

    @property
    def num_environments(self) -> int:
        """How many there are."""
        return self._num_environments

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """See the protocol; equal generators give equal plants."""
        self.close()
        self._plants = self._make_plants(generators)
        self._failed, self._count = np.zeros(self._num_environments, dtype=bool), 0
        return self._plants.reset(generators)

    def step(self, actions: Array) -> Step:
        """See the protocol."""
        plants, task = self._running(), self._task
        rewards = np.where(self._failed, 0.0, task.reward(plants.true_observations(), actions))
        observations, failed = plants.step(actions)
        self._failed = np.array(failed, dtype=bool)
        self._count += 1
        truncated = np.full(len(actions), self._count >= self._time_limit)
        return Step(observations, rewards, self._failed.copy(), truncated & ~self._failed)

    def step_some(self, indices: Indices, actions: Array) -> Step:
        """See the protocol; plants are stepped together, so the others must have failed.

        Raises:
            ValueError: One of the others is still running.
        """
        others = np.ones(self._num_environments, dtype=bool)
        others[indices] = False
        if (others & ~self._failed).any():
            raise ValueError(f"environments {np.flatnonzero(others & ~self._failed)} are running and must be stepped")
        every = np.tile((self._task.action_minimum + self._task.action_maximum) / 2.0, (self._num_environments, 1))
        every[indices] = actions
        step = self.step(every)
        return Step(
            step.observations[indices], step.rewards[indices], step.terminated[indices], step.truncated[indices]
        )

    def close(self) -> None:
        """Release the simulator."""
        if self._plants is not None:
            self._plants.close()
            self._plants = None

    def _running(self) -> Plants:
        if self._plants is None:
            raise RuntimeError("no plants yet: reset() has not been called")
        return self._plants


def training_problem(task: Task, simulator: str, iteration: int = 0, episode_s: float = 0.0) -> EpisodicProblem:
    """What a policy is trained on: the task's curriculum where it has one, else nominal plants.

    Args:
        task: The task.
        simulator: Name of the simulator.
        iteration: Of the curriculum; see :class:`demo_control.training_spec.PolicyTraining`.
        episode_s: Length of the episodes; 0: the task's.

    Raises:
        ConfigurationError: Episodes without a step.
    """
    spec = task.policy_training
    if spec is None:
        return _problem(task, _nominal(task, simulator), episode_s)

    def curriculum(generators: Sequence[np.random.Generator]) -> Plants:
        # Children: drawing from the generators themselves would change the starts.
        plants = [generator.spawn(1)[0] for generator in generators]
        return spec.plants(simulator, iteration, generators[0].spawn(1)[0], plants)

    return _problem(task, curriculum, episode_s)


def evaluation_problem(task: Task, simulator: str) -> EpisodicProblem:
    """What decides which policy is kept, as in a search: the task's evaluation plants, else nominal ones.

    Where the task has evaluation plants, there are as many environments as it has names for them.
    """
    spec = task.policy_training
    return _problem(
        task, _nominal(task, simulator) if spec is None else lambda _: spec.evaluation_plants(simulator), 0.0
    )


def _nominal(task: Task, simulator: str) -> PlantMaker:
    return lambda generators: task.make_plants(simulator, len(generators), {})


def num_evaluation_episodes(task: Task, wanted: int) -> int:
    """How many environments of :func:`evaluation_problem` there are: ``wanted``, unless the task says it."""
    return wanted if task.policy_training is None else len(task.policy_training.evaluation_names)


def _problem(task: Task, make_plants: PlantMaker, episode_s: float) -> EpisodicProblem:
    time_limit = round((episode_s or task.episode_s) / task.control_period_s)
    check_length(task, time_limit)
    return EpisodicProblem(
        name=task.name,
        observation_names=tuple(quantity.name for quantity in task.observation),
        action_minimum=task.action_minimum,
        action_maximum=task.action_maximum,
        time_limit=time_limit,
        make=lambda count: TaskEnvironments(task, count, time_limit, make_plants),
    )
