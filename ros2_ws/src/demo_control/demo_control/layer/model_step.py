"""One step of a bundle's model."""

from __future__ import annotations

import numpy as np

from demo_control.bundle import Bundle
from demo_control.mpc import PlannerSettings
from demo_control.rollout import RolloutShape, choose_engine
from demo_control.tasks import Array, Task


class ModelStep:
    """Predicts one step of one robot, on the ensemble's mean, as plans do; warmed up.

    Args:
        problem: The planning problem.
        bundle: Holds the model.
        settings: Say which engine.
    """

    def __init__(self, problem: Task, bundle: Bundle, settings: PlannerSettings) -> None:
        shape = RolloutShape(1, average_members=True, with_policy=False, with_trajectory=True)
        self._engine = choose_engine(problem, bundle, settings.engine, 1).make(shape)
        self._weights = np.zeros(2)
        self._ones = np.ones((1, problem.observation_dim))
        middle = np.array([(q.minimum + q.maximum) / 2.0 for q in problem.observation])
        self.change(middle, (problem.action_minimum + problem.action_maximum) / 2.0)

    def change(self, observation: Array, control: Array) -> Array:
        """The predicted change of an observation under a control. Shape=(observation_dim,)."""
        start, controls = observation[None, None], control[None, None, None]
        rollouts = self._engine.roll_out(start, controls, None, self._weights, self._ones, 0.0 * self._ones)
        assert rollouts.observations is not None
        return np.asarray(rollouts.observations[1, 0, 0] - observation, np.float64)
