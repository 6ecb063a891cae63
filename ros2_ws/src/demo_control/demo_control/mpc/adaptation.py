"""Adapts the model to the robot at hand: a factor on the change that it predicts, entry by entry, and an offset.

A heavier cart or a longer pole moves, to first order, like the one the model was trained on, only less (or more) per
period. The factor is what a ridge regression of the observed changes on the predicted ones gives, with the past
forgotten exponentially and the model as it was trained as prior:

    s = (ρ + Σ λ^i Δ_i Δ̂_i) / (ρ + Σ λ^i Δ̂_i²)

(recursive least squares with forgetting; K. J. Åström, B. Wittenmark, *Adaptive Control*, 1995, section 2.2).

What the model misses steadily (a foot that slips, a slope it does not see) is an offset d of the predicted change,
estimated as the low-pass of observed minus predicted, with the factor where predictions are made with it:

    d ← d + g (Δ − s Δ̂ − d)

An error of more than half an entry's range is no model's: a sensor was wrong then, or the robot was set down
elsewhere. Nothing is learned from it, as d would carry it on for seconds. Where observations are counted anew, the
robot may stand anywhere, and d begins at 0.

A planner that predicts with d reaches its target in the mean (offset-free model predictive control; G. Pannocchia,
J. B. Rawlings, *Disturbance models for offset-free model-predictive control*, AIChE Journal 49, 2003).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from demo_control.tasks import Array, Task

_TYPICAL_CHANGE = 0.02
"""Change per period, as a share of half an entry's range, that the prior is measured in."""


_MAXIMUM_EXPECTED = 16
"""Predictions that wait for their observation: plans may be made more often than a step of the model lasts."""

_HELD = 1e-9
"""A change of a measured quantity below this is none."""


class ModelAdaptation:
    """The estimates for one robot.

    Entries on a unit circle are left alone: they follow from an angle whose rate is adapted.

    Args:
        task: The planning problem: ranges, unit circles, entries with an offset.
        memory_ticks: Predictions after which an observation counts 1/e.
        prior_ticks: Predictions of typical change that outweigh the prior.
        limits: Smallest and largest factor.
        offset_gain: g; 0 for no offset.
        interval: Observations from one that is predicted from to the one predicted.
    """

    def __init__(
        self,
        task: Task,
        memory_ticks: float,
        prior_ticks: float,
        limits: tuple[float, float],
        offset_gain: float = 0.0,
        interval: int = 1,
    ) -> None:
        self._half_ranges = np.array([(q.maximum - q.minimum) / 2.0 for q in task.observation])
        self._prior = prior_ticks * np.square(_TYPICAL_CHANGE * self._half_ranges)
        self._forgetting = float(np.exp(-1.0 / memory_ticks))
        self._limits = limits
        circles = {name for pair in task.unit_circles for name in pair}
        self._adapted = np.array([quantity.name not in circles for quantity in task.observation])
        offset_entries = np.array([quantity.name in task.offset_entries for quantity in task.observation])
        self._offset_gain = offset_gain * offset_entries
        self._interval = interval
        self._full_turns = np.array([quantity.unit == "rad" for quantity in task.observation], float)
        self.change_offset: Array = np.zeros(task.observation_dim)
        self._products = np.zeros(task.observation_dim)
        self._squares = np.zeros(task.observation_dim)
        self._expected: deque[tuple[int, Array, Array]] = deque(maxlen=_MAXIMUM_EXPECTED)
        self._newest = 0

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
            change: Predicted change until the observation ``interval`` later. Shape=(observation_dim,).
        """
        if np.isfinite(change).all():
            self._expected.append((sequence, observation, change))

    def observe(self, sequence: int, observation: Array, scaled: bool = False) -> None:
        """Learn from an observation, if it was predicted.

        Args:
            sequence: Its number.
            observation: Shape=(observation_dim,).
            scaled: Whether predictions are made with the factors: what these explain is then not the offset's, too.
        """
        if sequence < self._newest:
            self._expected.clear()
            self.change_offset = np.zeros_like(self.change_offset)
        self._newest = sequence
        origin = sequence - self._interval
        while self._expected and self._expected[0][0] < origin:
            self._expected.popleft()
        if not self._expected or self._expected[0][0] != origin:
            return
        _, before, predicted = self._expected.popleft()
        with np.errstate(over="ignore", invalid="ignore"):
            change = observation - before
            # An angle may have passed its range's end: the turns that leave the smallest error are no motion.
            turns = self._full_turns * np.round((change - predicted) / (2.0 * np.pi))
            change -= turns * 2.0 * np.pi
            missed = change - predicted
        if not (np.abs(missed) <= self._half_ranges).all():
            return
        # An entry that did not change at all is held by whoever measures it (a limit, a leash). What it would have done
        # is known only where the prediction led back inwards: then at least this much was missed.
        held = np.abs(change) <= _HELD
        gain = np.where(held & (missed * before <= 0.0), 0.0, self._offset_gain)
        missed = change - self.change_scale * predicted if scaled else missed
        self.change_offset = self.change_offset + gain * (missed - self.change_offset)
        self._products = self._forgetting * self._products + change * predicted
        self._squares = self._forgetting * self._squares + np.square(predicted)
