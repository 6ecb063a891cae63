"""Adapts the model to the robot at hand: a factor on the change that it predicts, entry by entry.

A heavier cart or a longer pole moves, to first order, like the one the model was trained on, only less (or more) per
period. The factor is what a ridge regression of the observed changes on the predicted ones gives, with the past
forgotten exponentially and the model as it was trained as prior:

    s = (ρ + Σ λ^i Δ_i Δ̂_i) / (ρ + Σ λ^i Δ̂_i²)

(recursive least squares with forgetting; K. J. Åström, B. Wittenmark, *Adaptive Control*, 1995, section 2.2).
"""

from __future__ import annotations

import numpy as np

from demo_control.tasks import Array, Task

_TYPICAL_CHANGE = 0.02
"""Change per period, as a share of half an entry's range, that the prior is measured in."""


class ModelAdaptation:
    """The estimate of one robot.

    Entries on a unit circle are left alone: they follow from an angle whose rate is adapted.

    Args:
        task: Gives ranges and unit circles.
        memory_ticks: Control periods after which an observation counts 1/e.
        prior_ticks: Control periods of typical change that outweigh the prior.
        limits: Smallest and largest factor.
    """

    def __init__(self, task: Task, memory_ticks: float, prior_ticks: float, limits: tuple[float, float]) -> None:
        half_ranges = np.array([(q.maximum - q.minimum) / 2.0 for q in task.observation])
        self._prior = prior_ticks * np.square(_TYPICAL_CHANGE * half_ranges)
        self._forgetting = float(np.exp(-1.0 / memory_ticks))
        self._limits = limits
        circles = {name for pair in task.unit_circles for name in pair}
        self._adapted = np.array([quantity.name not in circles for quantity in task.observation])
        self._products = np.zeros(task.observation_dim)
        self._squares = np.zeros(task.observation_dim)
        self._expected: tuple[int, Array, Array] | None = None

    @property
    def change_scale(self) -> Array:
        """The factors. Shape=(observation_dim,)."""
        factors = (self._prior + self._products) / (self._prior + self._squares)
        bounded: Array = np.where(self._adapted, np.clip(factors, *self._limits), 1.0)
        return bounded

    def expect(self, sequence: int, observation: Array, change: Array) -> None:
        """Note what the model, as it was trained, predicts for the next observation.

        Args:
            sequence: Number of the observation that the prediction starts from.
            observation: Shape=(observation_dim,).
            change: Predicted change until the next observation. Shape=(observation_dim,).
        """
        self._expected = (sequence, observation, change) if np.isfinite(change).all() else None

    def observe(self, sequence: int, observation: Array) -> None:
        """Learn from an observation, if it is the one that was predicted.

        Args:
            sequence: Its number.
            observation: Shape=(observation_dim,).
        """
        expected, self._expected = self._expected, None
        if expected is None or expected[0] + 1 != sequence or not np.isfinite(observation).all():
            return
        _, before, predicted = expected
        self._products = self._forgetting * self._products + (observation - before) * predicted
        self._squares = self._forgetting * self._squares + np.square(predicted)
