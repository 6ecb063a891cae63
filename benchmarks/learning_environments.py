"""Environment steps of augmented random search on the half-cheetah: linear policies, rewards, observation filter."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from bench_support import DifferentResultsError
from learning_contenders import OURS, Case, Contender

from demo_control.learning.ars_settings import UpdateSettings
from demo_control.learning.environment_trials import DIRECTIONS_PER_BATCH, EnvironmentTrials, try_directions
from demo_control.learning.gymnasium_environments import gymnasium_problem
from demo_control.learning.linear_policy import LinearPolicies
from demo_control.learning.seeding import Purpose, stream
from demo_control.learning.statistics import RunningStatistics
from demo_control.learning.workers import Processes, num_cores

NAME = "HalfCheetah-v5"
PROCESSES = 2
MAXIMUM_DIFFERENCE = 1e-9
"""Between the returns of an episode with ours and with Gymnasium's, relative."""
_EPISODES = 2
_SEED = 0


def environments_case() -> Case:
    """A batch of directions on our environments beside Gymnasium's; all of an update in one and in two processes.

    Raises:
        DifferentResultsError: Returns differ.
    """
    problem = gymnasium_problem(NAME)
    policies = _policies(DIRECTIONS_PER_BATCH)
    environment = gymnasium.make(NAME)
    found = try_directions(NAME, _SEED, 0, 0, policies)
    expected, _ = _gymnasium_episode(environment, policies.parameters[0], 0)
    difference = float(abs(found.returns[0] - expected) / abs(expected))
    if not difference <= MAXIMUM_DIFFERENCE:
        raise DifferentResultsError(f"gymnasium: the return of an episode differs from ours by {difference:.1e}")

    def ours() -> float:
        episodes = try_directions(NAME, _SEED, 0, 0, policies)
        RunningStatistics.empty(problem.observation_dim).merged(episodes.observations)
        return float(episodes.lengths.sum())

    def theirs() -> float:
        statistics, steps = RunningStatistics.empty(problem.observation_dim), 0
        for episode in range(_EPISODES):
            _, observations = _gymnasium_episode(environment, policies.parameters[episode], episode)
            statistics = statistics.merged(observations)
            steps += len(observations)
        return float(steps)

    contenders = [Contender(OURS, ours), Contender("gymnasium", theirs)]
    pools: list[Processes] = []
    if num_cores() >= PROCESSES:
        pools = [Processes(count) for count in (1, PROCESSES)]
        contenders += [
            Contender(name, _update(pool), wall=True)
            for name, pool in zip(("one_process", "two_processes"), pools, strict=True)
        ]

    def close() -> None:
        for pool in pools:
            pool.__exit__(None, None, None)

    return Case(contenders, {}, {"gymnasium": difference}, close)


def _policies(num_directions: int) -> LinearPolicies:
    """As the search tries them at its beginning: both signs of each direction."""
    problem = gymnasium_problem(NAME)
    shape = (num_directions, problem.action_dim, problem.observation_dim + 1)
    directions = UpdateSettings().noise * np.random.default_rng(_SEED).standard_normal(shape)
    directions[..., -1] = 0.0
    parameters = np.concatenate([directions, -directions])
    return LinearPolicies(parameters, np.full(shape[-1] - 1, 0.1), np.full(shape[-1] - 1, 2.0))


def _update(pool: Processes) -> Any:  # noqa: ANN401 - a function
    """All directions of an update by default, and the filter."""
    policies = _policies(UpdateSettings().num_directions)
    trials = EnvironmentTrials(
        pool, NAME, seed=_SEED, survival_bonus=0.0, evaluation_episodes=1, evaluation_seed=0
    )  # fmt: skip

    def run() -> float:
        tried = trials.search(0, policies)
        RunningStatistics.empty(tried.observations.shape[1]).merged(tried.observations)
        return float(len(tried.observations))

    run()  # processes start
    return run


def _gymnasium_episode(environment: Any, parameters: Any, direction: int) -> tuple[float, Any]:  # noqa: ANN401
    """The same in Gymnasium's own environment, as plainly as it can be written; return and observations."""
    policies = _policies(1)
    weights, bias, mean, scale = parameters[:, :-1], parameters[:, -1], policies.mean, policies.scale
    environment.unwrapped.np_random = stream(_SEED, Purpose.SEARCH_STARTS, 0, direction)
    observation, _ = environment.reset()
    total, seen, over = 0.0, [], False
    while not over:
        seen.append(observation)
        action = np.clip(weights @ ((observation - mean) / scale) + bias, -1.0, 1.0)
        observation, reward, terminated, truncated, _ = environment.step(action)
        total += float(reward)
        over = terminated or truncated
    return total, np.array(seen)
