"""How good the policy is now."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from demo_control.learning.environments import EpisodicProblem
from demo_control.learning.seeding import Purpose, streams
from demo_control.tasks import Array


class Actor(Protocol):
    """Has a policy."""

    def act(self, observations: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Deterministic actions between -1 and 1. Shape=(batch, n) → Shape=(batch, m)."""
        ...


def evaluate(problem: EpisodicProblem, learner: Actor, episodes: int, seed: int) -> Array:
    """Returns of whole episodes without exploration, from the same starts for the same seed. Shape=(episodes,)."""
    environments = problem.make(episodes)
    try:
        x = environments.reset(streams(seed, Purpose.EVALUATION_STARTS, episodes))
        returns, running = np.zeros(episodes), np.arange(episodes)
        while len(running):
            result = environments.step_some(running, problem.actions(learner.act(x[running])))
            returns[running] += result.rewards
            x[running] = result.observations
            running = running[~result.ended]
    finally:
        environments.close()
    return returns
