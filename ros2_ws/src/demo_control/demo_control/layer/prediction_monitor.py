"""How far the model in use is from what the robot does, and whether one that was swapped in is worse than before.

Each plan says where the robot should be a step of the model later; once it is there, the difference is known. After a
swap both models say so, for the same observations and commands: what then differs is the models and nothing else,
neither what the robot happens to do nor what the sensors add.

The verdict is a bet that can be looked at after every block of predictions (a test martingale: G. Shafer, *Testing by
betting*, Journal of the Royal Statistical Society A, 2021). With a and b the summed squared errors of a block, of the
new model and (times the margin squared) of the one before, the stake becomes

    K ← K (1 + λ (a − b) / (a + b))

If the new model is no worse, K is not expected to rise, and exceeds 1 / p with a probability of at most p, however
often one looks (Ville's inequality).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from demo_control.tasks import Array, Task
from demo_control.transitions import learned_entries

_MEMORY_PREDICTIONS = 250.0
"""Predictions after which one counts 1/e in the running error."""

_FLOOR = 1e-4
"""Of half an entry's range: errors below are as good as none."""

_MOST_WRONG = 2.0
"""Of half an entry's range: a prediction that is further off counts as that far off in the running error."""

_MAXIMUM_EXPECTED = 16
"""Predictions that wait for their observation: plans may be made more often than a step of the model lasts."""

_HELD = 1e-9
"""A change of a measured quantity below this is none."""

_BLOCK = 5
"""Predictions of a block: neighbouring ones are wrong alike."""

_STAKE = 0.9
"""λ: the share of what there is that is staked on each block."""


@dataclass(frozen=True)
class _Expected:
    """What the models predicted from an observation; changes, Shape=(num_models, observation_dim)."""

    sequence: int
    observation: Array
    changes: Array


class PredictionMonitor:
    """Compares predictions with what is observed; for one thread, the planner's.

    Args:
        problem: The planning problem: ranges, and what of an observation is learned.
        interval: Observations from one that is predicted from to the one predicted.
    """

    def __init__(self, problem: Task, interval: int) -> None:
        self._half_range = np.array([(q.maximum - q.minimum) / 2.0 for q in problem.observation])
        self._full_turns = np.array([quantity.unit == "rad" for quantity in problem.observation], float)
        self._may_be_held = np.array([quantity.name in problem.offset_entries for quantity in problem.observation])
        self._entries = learned_entries(problem)
        self._interval = interval
        self._forgetting = float(np.exp(-1.0 / _MEMORY_PREDICTIONS))
        self._expected: deque[_Expected] = deque(maxlen=_MAXIMUM_EXPECTED)
        self.start_anew()

    def start_anew(self) -> None:
        """Forget the running error: another model is in use from now on."""
        self._weight = 0.0
        self._errors = np.zeros(len(self._entries))
        self._changes = np.zeros(len(self._entries))
        self._expected.clear()

    def forget_expected(self) -> None:
        """Expect nothing of what comes: observations are counted anew."""
        self._expected.clear()

    @property
    def relative_error(self) -> float | None:
        """Running root mean square error, of that of predicting no change; each entry in its range. None: not known."""
        scale = self._half_range[self._entries]
        changes = float((self._changes / scale**2).sum())
        return float(np.sqrt((self._errors / scale**2).sum() / changes)) if changes > 0.0 else None

    @property
    def unit(self) -> Array:
        """Running root mean square error of each learned entry, floored: what errors are measured in."""
        floor = _FLOOR * self._half_range[self._entries]
        return np.maximum(np.sqrt(self._errors / max(self._weight, 1.0)), floor)

    def expect(self, sequence: int, observation: Array, changes: Array) -> None:
        """Note what is predicted.

        Args:
            sequence: Number of the observation that the prediction starts from.
            observation: Of the planning problem. Shape=(observation_dim,).
            changes: Until the observation ``interval`` later: of the model in use, and perhaps of another.
                Shape=(num_models, observation_dim).
        """
        self._expected.append(_Expected(sequence, observation, changes))

    def due(self, sequence: int) -> int | None:
        """Number of the next observation that was predicted, where it is no later than ``sequence``; else None."""
        if not self._expected or self._expected[0].sequence + self._interval > sequence:
            return None
        return self._expected[0].sequence + self._interval

    def observe(self, observation: Array | None) -> Array | None:
        """Take in the observation that is :meth:`due`.

        Args:
            observation: None where it was lost or cannot be used. Shape=(observation_dim,).

        Returns:
            Errors of the learned entries, Shape=(num_models, num_entries); None where it was lost.
        """
        expected = self._expected.popleft()
        if observation is None:
            return None
        change = observation - expected.observation
        # The difference of two angles is the smaller one.
        change = change - self._full_turns * np.round(change / (2.0 * np.pi)) * 2.0 * np.pi
        errors = expected.changes - change
        with np.errstate(invalid="ignore"):
            errors = errors - self._full_turns * np.round(errors / (2.0 * np.pi)) * 2.0 * np.pi
        # Held by whoever measures it (a limit, a leash): what it would have done is not known.
        errors[:, self._may_be_held & (np.abs(change) <= _HELD)] = 0.0
        errors, change = errors[:, self._entries], change[self._entries]
        if np.isfinite(errors[0]).all():
            # A model that diverged once would outweigh all else for hours.
            most = _MOST_WRONG * self._half_range[self._entries]
            self._weight = self._forgetting * self._weight + 1.0
            self._errors = self._forgetting * self._errors + np.square(np.clip(errors[0], -most, most))
            self._changes = self._forgetting * self._changes + np.square(change)
        return errors


class SwapTrial:
    """Whether a model is worse than the one before.

    Args:
        unit: What errors are measured in, one for each entry. Shape=(num_entries,).
        margin: The new model's errors may be larger by this factor.
        false_alarm: Largest probability of a verdict against a model that is not worse.
        predictions: Without a verdict after so many, the new model stays.
    """

    def __init__(self, unit: Array, margin: float, false_alarm: float, predictions: int) -> None:
        self._unit, self._margin = unit, margin
        self._threshold = -float(np.log(false_alarm))
        self._predictions = predictions
        self._block = np.zeros(2)
        self._sums = np.zeros(2)
        self._log_capital = 0.0
        self.count = 0
        """Predictions compared."""

    @property
    def worse(self) -> bool:
        """Whether the new model is worse, beyond what chance may do."""
        return self._log_capital >= self._threshold

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.worse or self.count >= self._predictions

    def add(self, errors: Array) -> None:
        """Take in a prediction of both; one that is no number counts as infinitely wrong.

        Args:
            errors: Of the new model and of the one before. Shape=(2, num_entries).
        """
        with np.errstate(over="ignore"):
            squared = np.square(errors / self._unit).mean(axis=1)
        self._block += np.where(np.isfinite(squared), squared, np.inf)
        self.count += 1
        if self.count % _BLOCK:
            return
        new, before = self._block[0], self._margin**2 * self._block[1]
        self._sums += np.where(np.isfinite(self._block), self._block, 0.0)
        self._block = np.zeros(2)
        if np.isinf(new) or np.isinf(before):
            outcome = float(np.isinf(new)) - float(np.isinf(before))
        else:
            outcome = float((new - before) / (new + before)) if new + before > 0.0 else 0.0
        self._log_capital += float(np.log1p(_STAKE * outcome))

    def text(self) -> str:
        """How the two compare, for people."""
        if self._sums[1] <= 0.0:
            return f"{self.count} predictions compared"
        ratio = float(np.sqrt(self._sums[0] / self._sums[1]))
        return f"one-step error {ratio:.3g} times that of the model before, over {self.count} predictions"
