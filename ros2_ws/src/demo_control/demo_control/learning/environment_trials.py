"""How a policy search tries its policies on the environments of a reinforcement learning problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from demo_control.learning.environments import Environments, Problem
from demo_control.learning.gymnasium_environments import gymnasium_problem
from demo_control.learning.linear_policy import LinearPolicies
from demo_control.learning.seeding import Purpose, stream, streams
from demo_control.learning.trials import Tried
from demo_control.learning.workers import Processes
from demo_control.tasks import Array

DIRECTIONS_PER_BATCH = 8
"""Directions that one process tries at once."""


@dataclass(frozen=True)
class Episodes:
    """Episodes that were run side by side, each to its end.

    Attributes:
        returns: Shape=(num_episodes,).
        lengths: In steps. Shape=(num_episodes,).
        observations: Every observation that was acted upon. Shape=(sum of the lengths, observation_dim).
    """

    returns: Array
    lengths: Array
    observations: Array


def run_policies(
    problem: Problem, environments: Environments, policies: LinearPolicies, generators: Sequence[np.random.Generator]
) -> Episodes:
    """One episode in each environment.

    Args:
        problem: Gives the action range.
        environments: Reset here.
        policies: One for each environment, or one for all.
        generators: One for each environment.
    """
    observations = environments.reset(generators)
    alive = np.arange(environments.num_environments)
    returns, lengths = np.zeros(len(alive)), np.zeros(len(alive))
    law = policies.law(problem)
    seen: list[Array] = []
    while len(alive):
        seen.append(observations)
        step = environments.step_some(alive, law(observations))
        returns[alive] += step.rewards
        observations, ended = step.observations, step.ended
        if ended.any():
            lengths[alive[ended]] = len(seen)
            alive, observations = alive[~ended], observations[~ended]
            law = _chosen(policies, alive).law(problem)
    return Episodes(returns, lengths, np.concatenate(seen))


def _chosen(policies: LinearPolicies, indices: Sequence[int] | np.typing.NDArray[np.intp]) -> LinearPolicies:
    if len(policies.parameters) == 1:
        return policies
    return LinearPolicies(policies.parameters[indices], policies.mean, policies.scale)


class EnvironmentTrials:
    """Every direction on an environment of its own, shared out over processes; see ``trials.Trials``.

    The numbers do not depend on the processes: batches are always of the same size.

    Args:
        processes: Do the work.
        name: Of the problem, for :func:`gymnasium_problem`.
        seed: Decides the starts of the search.
        survival_bonus: Reward per step that the search leaves out.
        evaluation_episodes: Episodes of an evaluation.
        evaluation_seed: Decides their starts.
    """

    def __init__(
        self,
        processes: Processes,
        name: str,
        *,
        seed: int,
        survival_bonus: float,
        evaluation_episodes: int,
        evaluation_seed: int,
    ) -> None:
        self._processes, self._name, self._seed, self._survival_bonus = processes, name, seed, survival_bonus
        self._evaluation_episodes, self._evaluation_seed = evaluation_episodes, evaluation_seed

    def search(self, iteration: int, policies: LinearPolicies) -> Tried:
        """See ``trials.Trials``; all observations are returned, so their number is that of the steps taken."""
        half = len(policies.parameters) // 2
        batches = []
        for first in range(0, half, DIRECTIONS_PER_BATCH):
            chosen = range(first, min(first + DIRECTIONS_PER_BATCH, half))
            both = _chosen(policies, [sign * half + i for sign in (0, 1) for i in chosen])
            batches.append((self._name, self._seed, iteration, first, both))
        tried = list(self._processes.map(try_directions, batches))
        counted = [episodes.returns - self._survival_bonus * episodes.lengths for episodes in tried]
        halves = [np.split(returns, 2) for returns in counted]
        returns = np.concatenate([half[sign] for sign in (0, 1) for half in halves])
        return Tried(returns, np.concatenate([episodes.observations for episodes in tried]))

    def evaluate(self, policies: LinearPolicies) -> Array:
        """See ``trials.Trials``: the environment's own rewards, from the same starts each time."""
        arguments = (self._name, self._evaluation_seed, self._evaluation_episodes, policies)
        (episodes,) = self._processes.map(evaluate_policy, [arguments])
        return episodes.returns


def try_directions(name: str, seed: int, iteration: int, first: int, policies: LinearPolicies) -> Episodes:
    """Try both signs of some directions, the one numbered ``first`` and those after it; each pair starts alike."""
    count = len(policies.parameters) // 2
    generators = [stream(seed, Purpose.SEARCH_STARTS, iteration, first + i) for _ in range(2) for i in range(count)]
    return run_policies(gymnasium_problem(name), _environments(name, 2 * count), policies, generators)


def evaluate_policy(name: str, seed: int, num_episodes: int, policies: LinearPolicies) -> Episodes:
    """Episodes of one policy from the evaluation's starts: those that learners of other trainers are judged by, too."""
    starts = streams(seed, Purpose.EVALUATION_STARTS, num_episodes)
    return run_policies(gymnasium_problem(name), _environments(name, num_episodes), policies, starts)


@lru_cache(maxsize=4)
def _environments(name: str, count: int) -> Environments:
    """Kept from call to call: some take long to build."""
    return gymnasium_problem(name).make(count)
