"""Is a plan really better? Tried in the true environment, from states that were met there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.learning.environments import Environments, Problem
from demo_control.learning.sac import SoftActorCritic
from demo_control.tasks import Array


@dataclass(frozen=True)
class Trust:
    """What plans promised, and what they gave.

    Attributes:
        truly_better: Share of the plans whose return was higher than that of the policy alone.
        realised_gain: Mean difference of these returns.
        predicted_gain: Mean of what the model said of the difference.
    """

    truly_better: float
    realised_gain: float
    predicted_gain: float


def measure_trust(
    problem: Problem, learner: SoftActorCritic, states: Array, controls: Array, gains: Array, num_steps: int
) -> Trust:
    """Play plans in the true environment and go on with the policy, beside the policy from the start.

    This looks at the learner, it does not teach it: nothing that is seen here is learned from.

    Args:
        problem: The learning problem.
        learner: Its policy acts without exploration.
        states: Of the environment; see :meth:`Environments.states`. Shape=(N, ·).
        controls: The plans. Shape=(N, horizon, action_dim).
        gains: What the model promised. Shape=(N,).
        num_steps: Length of a trial.

    Returns:
        Figures; a plan is better where its return without discount exceeds the policy's.
    """
    environments = problem.make(2 * len(states))
    try:
        returns = _returns(problem, learner, environments, np.concatenate([states, states]), controls, num_steps)
    finally:
        environments.close()
    planned, alone = np.split(returns, 2)
    difference = planned - alone
    return Trust(float((difference > 0.0).mean()), float(difference.mean()), float(gains.mean()))


def _returns(
    problem: Problem, learner: SoftActorCritic, environments: Environments, states: Array, controls: Array, steps: int
) -> Array:
    """Of the plans in the first half of the environments, of the policy in all others. Shape=(2 N,)."""
    count, horizon = controls.shape[:2]
    environments.set_states(states)
    x, returns, running = environments.observations(), np.zeros(2 * count), np.arange(2 * count)
    for step in range(steps):
        actions = problem.actions(learner.act(x[running]))
        if step < horizon:
            planned = running[running < count]
            actions[: len(planned)] = controls[planned, step]
        result = environments.step_some(running, actions)
        returns[running] += result.rewards
        x[running] = result.observations
        running = running[~result.ended]
        if not len(running):
            break
    return returns
