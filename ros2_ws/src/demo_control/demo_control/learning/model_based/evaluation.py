"""How good the policy is now."""

from __future__ import annotations

import numpy as np

from demo_control.learning.environments import Problem
from demo_control.learning.sac import SoftActorCritic
from demo_control.learning.seeding import Purpose, streams
from demo_control.tasks import Array


def evaluate(problem: Problem, learner: SoftActorCritic, episodes: int, seed: int) -> Array:
    """Returns of whole episodes without exploration, from the same starts for the same seed. Shape=(episodes,)."""
    environments = problem.make(episodes)
    half = (problem.action_maximum - problem.action_minimum) / 2.0
    middle = (problem.action_maximum + problem.action_minimum) / 2.0
    try:
        x = environments.reset(streams(seed, Purpose.EVALUATION_STARTS, episodes))
        returns, running = np.zeros(episodes), np.arange(episodes)
        while len(running):
            result = environments.step_some(running, middle + half * learner.act(x[running]))
            returns[running] += result.rewards
            x[running] = result.observations
            running = running[~result.ended]
    finally:
        environments.close()
    return returns
