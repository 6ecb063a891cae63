"""What a model predicts from many starts at once, beside what was recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo_control.bags.prediction import Model
from demo_control.bags.stretches import Windows
from demo_control.tasks import Array

_ROLLOUTS = 32
"""Rollouts with noise per start, over all members: what the predicted deviation at the horizon is taken from."""
_MOST_NOISY = 400
"""Starts over the horizon that such rollouts are made for, chosen evenly: they cost most of the time."""
_CHUNK = 256
_LARGEST_ERROR = 1e3
"""In units of half an entry's range: what a prediction counts that is farther off, or no number."""
_LARGE_VARIANCE = 1e12


@dataclass(frozen=True)
class Column:
    """One dimension after some steps; Shape=(count,) each."""

    errors: Array
    changes: Array
    spreads: Array
    deviations: Array


@dataclass(frozen=True)
class Predicted:
    """Predictions beside what was recorded, NaN where that is missing.

    Attributes:
        errors: Of the members' mean. Shape=(count, steps, dimensions).
        changes: What was recorded less the start. Shape=(count, steps, dimensions).
        spreads: The members' standard deviation after the last step. Shape=(count, dimensions).
        deviations: The predicted standard deviation after the last step, NaN where it was not asked for.
            Shape=(count, dimensions).
        diverged: Predictions that were bounded.
    """

    errors: Array
    changes: Array
    spreads: Array
    deviations: Array
    diverged: int

    def last(self, place: int) -> Column:
        """One dimension after the last step."""
        return Column(
            self.errors[:, -1, place], self.changes[:, -1, place], self.spreads[:, place], self.deviations[:, place]
        )


def predict_all(
    model: Model, asked: Windows, entries: list[int], turns: npt.NDArray[np.bool_], scale: Array,
    generator: np.random.Generator | None,
) -> Predicted:  # fmt: skip
    """Ask a model, some starts at a time.

    Args:
        model: The model.
        asked: Where it starts, and along which controls.
        entries: Of the observation that are looked at.
        turns: Which of these are angles.
        scale: Half their ranges.
        generator: Draws noise for the predicted deviations after several steps; None for a single step, after which
            they follow from the model's variances.
    """
    count, steps = asked.controls.shape[:2]
    predicted = np.zeros((count, steps, len(entries)))
    spreads, deviations = np.zeros((count, len(entries))), np.full((count, len(entries)), np.nan)
    noisy = np.unique(np.linspace(0, count - 1, min(count, _MOST_NOISY)).round().astype(np.int64))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, count, _CHUNK):
            rows = slice(start, start + _CHUNK)
            observations, controls = asked.observations[rows, 0], asked.controls[rows]
            mean, members, variance = _roll_out(model, observations, controls)
            predicted[rows] = mean[..., entries]
            spreads[rows] = members[..., entries].std(axis=0)
            if generator is None:
                deviations[rows] = np.sqrt(members.var(axis=0) + variance)[:, entries]
            else:
                few = noisy[(noisy >= start) & (noisy < start + _CHUNK)]
                ends = _noisy_deviation(model, asked.observations[few, 0], asked.controls[few], generator)
                deviations[few] = ends[:, entries]
        start_values = asked.observations[:, :1, entries]
        recorded = asked.observations[:, 1:, entries]
        errors = _wrapped(predicted - recorded, turns)
        changes = _wrapped(recorded - start_values, turns)
    bound = _LARGEST_ERROR * scale
    missing = np.isnan(recorded)
    wild = ~missing & ~(np.abs(errors) <= bound)
    errors = np.where(missing, np.nan, np.where(wild, bound, errors))
    return Predicted(errors, changes, spreads, deviations, int(wild[:, -1].any(axis=-1).sum()) if steps else 0)


def _roll_out(model: Model, observations: Array, controls: Array) -> tuple[Array, Array, Array]:
    """Each member goes its own way along the controls.

    Returns:
        The members' mean after each step, Shape=(rows, steps, n), where the members ended, Shape=(members, rows, n),
        and the mean of the variances that they learned, of the last step, Shape=(rows, n).
    """
    states = np.broadcast_to(observations, (model.members, *observations.shape))
    means, variance = [], np.zeros(observations.shape)
    for step in range(controls.shape[1]):
        control = np.broadcast_to(controls[:, step], (model.members, *controls[:, step].shape))
        following, variances = model.predict(states, control)
        if step == controls.shape[1] - 1:
            variance = model.variance(states, variances, control).mean(axis=0)
        states = following
        means.append(states.mean(axis=0))
    return np.stack(means, axis=1), states, variance


def _noisy_deviation(model: Model, observations: Array, controls: Array, generator: np.random.Generator) -> Array:
    """Standard deviation of where rollouts end that draw from the noise that the members learned. Shape=(rows, n)."""
    each = -(-_ROLLOUTS // model.members)
    rows = len(observations)
    states = np.broadcast_to(np.repeat(observations, each, axis=0), (model.members, each * rows, observations.shape[1]))
    for step in range(controls.shape[1]):
        repeated = np.repeat(controls[:, step], each, axis=0)
        control = np.broadcast_to(repeated, (model.members, *repeated.shape))
        following, variances = model.predict(states, control)
        noise = np.sqrt(np.minimum(variances, _LARGE_VARIANCE)) * generator.standard_normal(variances.shape)
        states = model.effect(states, following, noise, control)
    ends = states.reshape(model.members, rows, each, -1)
    return np.asarray(ends.std(axis=(0, 2)))


def _wrapped(differences: Array, turns: npt.NDArray[np.bool_]) -> Array:
    """Differences of angles to the nearest turn."""
    whole = np.round(differences / (2.0 * np.pi))
    return np.asarray(np.where(turns & np.isfinite(whole), differences - 2.0 * np.pi * whole, differences))
