"""Rollouts of a model given as a Python function: ground truth for tests, and planning on the true dynamics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demo_control.rollout.engine import Floats, Rollouts, RolloutShape
from demo_control.tasks import Array, Task

Dynamics = Callable[[Array, Array], Array]
"""Maps (observations (batch, n), actions (batch, m)) to the next observations (batch, n)."""

Policy = Callable[[Array], Array]
"""Maps observations (batch, n) to actions (batch, m)."""


class NumpyEngine:
    """A :class:`RolloutEngine` with a single member, in float64.

    Args:
        task: Gives limits and cost terms.
        dynamics: One step of the model.
        policy: π_θ.
        shape: What kind of rollouts to make.
    """

    def __init__(self, task: Task, dynamics: Dynamics, policy: Policy, shape: RolloutShape) -> None:
        self._task = task
        self._dynamics = dynamics
        self._policy = policy
        self._shape = shape

    @property
    def shape(self) -> RolloutShape:
        """What kind of rollouts this engine makes."""
        return self._shape

    @property
    def num_members(self) -> int:
        """Always one."""
        return 1

    @property
    def num_terms(self) -> int:
        """Number of cost terms of the task."""
        return len(self._task.cost_terms)

    def roll_out(
        self,
        observations: Floats,
        controls: Floats,
        feedback: Floats | None,
        step_weights: Floats,
        change_scale: Floats,
        change_offset: Floats,
    ) -> Rollouts:
        """See :class:`RolloutEngine`."""
        state = np.broadcast_to(np.asarray(observations[0], np.float64), (controls.shape[2], observations.shape[2]))
        states, applied, policy_actions = [state], [], []
        for step in range(self._shape.horizon):
            control = np.asarray(controls[step, 0], np.float64)
            if feedback is not None:
                policy_actions.append(self._policy(state))
                control = control + feedback[step, 0] * policy_actions[-1]
            control = np.clip(control, self._task.action_minimum, self._task.action_maximum)
            state = state + change_scale * (self._dynamics(state, control) - state) + change_offset
            applied.append(control)
            states.append(state)
        costs = self._task.stage_costs(np.array(states), np.array([*applied, np.zeros_like(applied[-1])]))
        costs = costs * self._task.cost_counts(len(states))[:, None]
        return Rollouts(
            term_costs=np.einsum("h,hrt->rt", step_weights, costs)[None],
            controls=np.array(applied)[:, None] if self._shape.with_controls else None,
            policy_actions=np.array(policy_actions)[:, None] if policy_actions else None,
            observations=np.array(states)[:, None],
            predictions=np.array(states[1:])[:, None],
        )
