"""Where a plan's predicted states take the trunk."""

from __future__ import annotations

import numpy as np

from stoch2_sim.robots.stoch2.planning import DECISION_S, OBSERVATION
from stoch2_sim.simulators.protocol import Array

_FORWARD, _LATERAL, _TURN = (OBSERVATION.index(n) for n in ("forward_velocity", "lateral_velocity", "yaw_rate"))

# In the trunk it would not be seen.
_SHOWN_ABOVE_M = 0.12


def planned_path(states: Array) -> Array:
    """The predicted speeds added up, from the trunk in its heading; see :attr:`demo_control.tasks.Task.planned_path`.

    Args:
        states: Of the planning problem, 50 ms apart. Shape=(num_plans, num_states, planning_dim).

    Returns:
        Metres. Shape=(num_plans, num_states, 3).
    """
    means = (states[:, 1:] + states[:, :-1]) / 2.0
    turns = np.cumsum(means[..., _TURN], axis=1) * DECISION_S
    headings = turns - means[..., _TURN] * DECISION_S / 2.0
    forward, left = means[..., _FORWARD] * DECISION_S, means[..., _LATERAL] * DECISION_S
    steps = np.stack(
        [
            forward * np.cos(headings) - left * np.sin(headings),
            forward * np.sin(headings) + left * np.cos(headings),
            np.zeros_like(forward),
        ],
        axis=-1,
    )
    points = np.concatenate([np.zeros((len(states), 1, 3)), np.cumsum(steps, axis=1)], axis=1)
    return np.asarray(points + np.array([0.0, 0.0, _SHOWN_ABOVE_M]))
