"""A problem of reinforcement learning as the planner sees it.

Two entries follow those of the observation: the *reward* of the step that led to a state, and whether the episode is
still going on, *alive*. So rewards and terminations, learned or known, are part of the model's state like all else, and
the cost of a plan is simply minus the sum of that entry: Σ_{h=1…H} γ^h r_{h−1} + γ^{H+1} V(x_H), the return up to the
constant factor γ. Behind a termination the state stays, rewards are 0, and so is the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.learning.environments import Problem
from demo_control.quantities import Array, Quantity
from demo_control.tasks import CostTerm, Task, Transition

REWARD = "reward"
ALIVE = "alive"

_STEEP = 1e6
"""Makes a step of a slope: the namespace of costs and transitions knows no comparison."""


def planning_task(problem: Problem) -> Task:
    """The problem as a task whose model and costs the planner's engines can compose.

    Raises:
        ConfigurationError: An entry of the observation has the name of one that is added.
    """
    names = problem.observation_names
    taken = [name for name in names if name in (REWARD, ALIVE)]
    if taken:
        raise ConfigurationError(
            f"problem '{problem.name}': observation_names = {', '.join(names)}: must not have {' or '.join(taken)}, "
            "which is an entry that planning adds; give the observation's own another name"
        )
    visible = [name for name, seen in zip(names, problem.model_inputs, strict=True) if seen]
    outputs = (*visible, *(() if problem.column_reward else (REWARD,)))

    def targets(x: Array, x_next: Array, _: Array) -> Array:
        changes = (x_next - x)[:, np.flatnonzero(problem.model_inputs)]
        return changes if problem.column_reward else np.hstack([changes, x_next[:, len(names), None]])

    def apply(x: Mapping[str, Any], y: Mapping[str, Any], u: Mapping[str, Any], xp: Any) -> dict[str, Any]:  # noqa: ANN401
        alive = x[ALIVE]
        # What the model does not see is 0 in what it predicts.
        following = {name: x[name] + alive * y[name] if name in visible else 0.0 * x[name] for name in names}
        columns = [following[name] for name in names]
        if problem.column_reward is None:
            reward = y[REWARD]
        else:
            reward = problem.column_reward([x[name] for name in names], list(u.values()), columns, xp)
        goes_on = alive
        if problem.column_margin is not None:
            goes_on = alive * xp.minimum(xp.maximum(problem.column_margin(columns, xp) * _STEEP, 0.0), 1.0)
        return {**following, REWARD: alive * reward, ALIVE: goes_on}

    cost = CostTerm("minus_reward", 1.0, lambda x, _u, _xp: -x[REWARD], "Minus the reward.")
    return Task(
        name=problem.name,
        # Ranges are not known: the unit of the members' disagreement is the observation's own.
        observation=(
            *(Quantity(name, "1", -1.0, 1.0) for name in (*names, REWARD)),
            # Models are probed in the middle of the ranges: there the episode is going on.
            Quantity(ALIVE, "1", 0.0, 2.0),
        ),
        action=tuple(
            Quantity(f"action_{i}", "1", float(low), float(high))
            for i, (low, high) in enumerate(zip(problem.action_minimum, problem.action_maximum, strict=True))
        ),
        control_period_s=1.0,
        episode_s=float(problem.time_limit),
        cost_terms=(cost,),
        model_inputs=tuple(visible),
        simulators=(),
        make_plants=_no_plants,
        make_score=_no_plants,
        transition=Transition(outputs=outputs, targets=targets, apply=apply),
        unmodelled_ticks=0,
    )


def planning_observations(observations: Array) -> Array:
    """Observations of running episodes with the entries that planning adds. Shape=(..., observation_dim + 2)."""
    added = np.zeros((*observations.shape[:-1], 2))
    added[..., 1] = 1.0
    return np.concatenate([observations, added], axis=-1)


def _no_plants(*_: object) -> Any:  # noqa: ANN401 - never returns
    raise NotImplementedError("a learning problem's plants are its environments")
