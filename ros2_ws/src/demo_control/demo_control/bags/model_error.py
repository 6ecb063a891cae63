"""How far a bundle's model is from what a robot did: one step ahead, and along the recorded controls to the horizon.

Per dimension: the error of the members' mean, what it is of the error of predicting no change, and whether the ensemble
knows when it is wrong. PETS (K. Chua et al., *Deep Reinforcement Learning in a Handful of Trials using Probabilistic
Dynamics Models*, NeurIPS 2018) calls the members' spread epistemic and what each of them learned of the noise
aleatoric; the predicted deviation here holds both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from demo_control.bags.predicted import Column, Predicted, predict_all
from demo_control.bags.prediction import Model
from demo_control.bags.stretches import Integers, Stretch, Windows, windows
from demo_control.bundle import Bundle
from demo_control.tasks import Array, Task

MOST_STARTS = 2000
"""Starts that are asked at most, spread over the recording: more say the same."""

_QUANTILES = 5
_WORST_CELLS = 5
_LEAST_IN_CELL = 20
_LEAST_FOR_RANKS = 10
_COVERED_DEVIATIONS = 2.0
_TINY = 1e-12


@dataclass(frozen=True)
class PredictionError:
    """Errors of one dimension at one number of steps; None where it cannot be said.

    Attributes:
        rms: Root mean square, in the dimension's unit.
        relative: Of that of predicting no change: 1 is worth nothing.
        spread: Root mean square of the members' standard deviation, in the dimension's unit.
        rank_correlation: Of spread and absolute error over the starts (Spearman).
        coverage: Share of errors within two predicted deviations; of a Gaussian .954.
        z: Root mean square of error over predicted deviation; above 1 the model is surer than it is right.
    """

    rms: float | None = None
    relative: float | None = None
    spread: float | None = None
    rank_correlation: float | None = None
    coverage: float | None = None
    z: float | None = None


@dataclass(frozen=True)
class DimensionError:
    """Errors of one entry of the planning problem's observation."""

    name: str
    unit: str
    one_step: PredictionError
    horizon: PredictionError


@dataclass(frozen=True)
class Cell:
    """Where the one-step error is large.

    Attributes:
        dimension: Name of an observation entry.
        minimum: Between this and ``maximum`` it was at the start: two of its quintiles.
        maximum: See ``minimum``.
        factor: Root mean square error there, relative to that of all starts.
        count: Starts there.
    """

    dimension: str
    minimum: float
    maximum: float
    factor: float
    count: int


@dataclass(frozen=True)
class ModelError:
    """A model's errors on recordings.

    Attributes:
        step_s: Time that one step spans.
        horizon_steps: Steps H of the longest prediction.
        count: Starts of one-step predictions.
        horizon_count: Starts of predictions along the recorded controls over H steps.
        diverged: Of these, how many ended in no number, or farther off than 1000 half ranges (and count as that far).
        relative_one_step: Error over all dimensions, each in half ranges, relative to predicting no change.
        relative_horizon: The same after H steps.
        dimensions: What the model has learned; known entries (clocks, commands, corrections in force) are left out.
        by_step: As ``relative_horizon``, after 1 … H steps.
        worst: The worst cells of different dimensions, the worst first.
        starts_ns: Stamps of the starts over H steps. Shape=(horizon_count,).
        squared_errors: After H steps, summed over the dimensions in half ranges; what intervals are made from.
            Shape=(horizon_count,).
        squared_changes: The same of predicting no change. Shape=(horizon_count,).
    """

    step_s: float
    horizon_steps: int
    count: int
    horizon_count: int
    diverged: int
    relative_one_step: float | None
    relative_horizon: float | None
    dimensions: tuple[DimensionError, ...]
    by_step: tuple[float | None, ...]
    worst: tuple[Cell, ...]
    starts_ns: Integers
    squared_errors: Array
    squared_changes: Array

    def to_json(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "step_s": self.step_s,
            "horizon_steps": self.horizon_steps,
            "count": self.count,
            "horizon_count": self.horizon_count,
            "diverged": self.diverged,
            "relative": {"one_step": self.relative_one_step, "horizon": self.relative_horizon},
            "dimensions": [
                {"name": d.name, "unit": d.unit, "one_step": vars(d.one_step), "horizon": vars(d.horizon)}
                for d in self.dimensions
            ],
            "by_step": list(self.by_step),
            "worst": [
                {"dimension": c.dimension, "from": c.minimum, "to": c.maximum, "factor": c.factor, "count": c.count}
                for c in self.worst
            ],
        }


def model_error(
    task: Task,
    bundle: Bundle,
    stretches: Iterable[Stretch],
    horizon: int,
    *,
    most_starts: int = MOST_STARTS,
    seed: int = 0,
) -> ModelError:
    """Compare a model with recordings.

    Args:
        task: The robot's.
        bundle: Must fit the task.
        stretches: What was observed and carried out, of one recording or of many; gone through several times.
        horizon: Steps H, as the layer plans.
        most_starts: Of one-step predictions, and of those over the horizon; chosen evenly where there are more.
        seed: Of the noise in the predicted deviations at the horizon: the same seed gives the same figures.
    """
    problem = task.planning_problem
    model = Model(problem, bundle)
    entries = model.learned_entries()
    scale = np.array([(problem.observation[i].maximum - problem.observation[i].minimum) / 2.0 for i in entries])
    turns = np.array([problem.observation[i].unit == "rad" for i in entries])
    short, long = (windows(task, stretches, steps, most_starts) for steps in (1, horizon))
    first = predict_all(model, short, entries, turns, scale, None)
    last = predict_all(model, long, entries, turns, scale, np.random.default_rng(seed))
    spreads = model.members > 1
    dimensions = tuple(
        DimensionError(
            problem.observation[entry].name,
            problem.observation[entry].unit,
            _prediction_error(first.last(place), spreads),
            _prediction_error(last.last(place), spreads),
        )
        for place, entry in enumerate(entries)
    )
    by_step = _by_step(last, scale)
    return ModelError(
        step_s=problem.control_period_s,
        horizon_steps=horizon,
        count=len(short),
        horizon_count=len(long),
        diverged=last.diverged,
        relative_one_step=_ratio(first.errors[:, -1] / scale, first.changes[:, -1] / scale),
        relative_horizon=by_step[-1] if by_step else None,
        dimensions=dimensions,
        by_step=by_step,
        worst=_worst(problem, short, first.errors[:, -1] / scale),
        starts_ns=long.starts_ns,
        squared_errors=np.square(last.errors[:, -1] / scale).sum(axis=1),
        squared_changes=np.square(last.changes[:, -1] / scale).sum(axis=1),
    )


def _prediction_error(column: Column, spreads: bool) -> PredictionError:
    """Figures of one dimension."""
    if not len(column.errors):
        return PredictionError()
    size = np.abs(column.errors)
    known = np.isfinite(column.deviations)
    certain = not (known & (column.deviations > 0.0)).any()
    ratios = size[known] / np.maximum(column.deviations[known], _TINY)
    return PredictionError(
        rms=_finite(_root_mean_square(size)),
        relative=_ratio(column.errors, column.changes),
        spread=_finite(_root_mean_square(column.spreads)) if spreads else None,
        rank_correlation=rank_correlation(column.spreads, size) if spreads else None,
        coverage=None if certain else float((ratios <= _COVERED_DEVIATIONS).mean()),
        z=None if certain else _finite(_root_mean_square(ratios)),
    )


def rank_correlation(one: Array, other: Array) -> float | None:
    """Spearman's, None for fewer than ten pairs, or where one of them does not vary. Shape=(count,) each."""
    good = np.isfinite(one) & np.isfinite(other)
    one, other = one[good], other[good]
    if len(one) < _LEAST_FOR_RANKS or np.ptp(one) == 0.0 or np.ptp(other) == 0.0:
        return None
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Array) -> Array:
    """Ranks from 0 on; equal values have their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2.0)[places.ravel()])


def _by_step(predicted: Predicted, scale: Array) -> tuple[float | None, ...]:
    if not len(predicted.errors):
        return ()
    steps = predicted.errors.shape[1]
    return tuple(_ratio(predicted.errors[:, h] / scale, predicted.changes[:, h] / scale) for h in range(steps))


def _worst(problem: Task, asked: Windows, errors: Array) -> tuple[Cell, ...]:
    """The worst quintile of each dimension, the worst of these first."""
    if len(errors) < _LEAST_IN_CELL * 2:
        return ()
    # Each dimension counts the same: else the one that is hardest to predict says where all are.
    squares = np.square(errors)
    sizes = (squares / np.maximum(squares.mean(axis=0), _TINY)).mean(axis=1)
    if not sizes.mean() > 0.0:
        return ()
    cells = []
    for entry, quantity in enumerate(problem.observation):
        values = asked.observations[:, 0, entry]
        edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, _QUANTILES + 1)))
        places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
        counts = np.bincount(places, minlength=max(len(edges) - 1, 1))
        means = np.bincount(places, sizes) / np.maximum(counts, 1)
        means[counts < _LEAST_IN_CELL] = 0.0
        if len(edges) > 2:  # noqa: PLR2004 - with one cell there is nothing to compare
            place = int(np.argmax(means))
            factor = float(np.sqrt(means[place] / sizes.mean()))
            cells.append(Cell(quantity.name, float(edges[place]), float(edges[place + 1]), factor, int(counts[place])))
    return tuple(sorted(cells, key=lambda cell: -cell.factor)[:_WORST_CELLS])


def _ratio(errors: Array, changes: Array) -> float | None:
    """Root of the summed squares of errors over that of changes, where both are known."""
    good = np.isfinite(errors) & np.isfinite(changes)
    above, below = float(np.square(errors[good]).sum()), float(np.square(changes[good]).sum())
    return float(np.sqrt(above / below)) if below > _TINY and np.isfinite([above, below]).all() else None


def _root_mean_square(values: Array) -> float | None:
    return float(np.sqrt(np.square(values).mean())) if len(values) else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
