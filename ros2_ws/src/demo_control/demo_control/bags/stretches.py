"""Stretches of a recording in which the driver's clock ran on, and where in them a model can be asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo_control.tasks import Array, Task

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LONGEST_GAP_TICKS = 200
"""Lost observations beyond that many begin another stretch."""


@dataclass(frozen=True)
class Stretch:
    """What was observed and carried out at consecutive control periods; what is not known is NaN.

    Attributes:
        first_ns: Stamp of the first observation.
        observations: As the robot reported them. Shape=(ticks, observation_dim).
        controls: What was in force after each of them, in the planning problem's terms: the command, or the correction
            where plans decide on corrections. Shape=(ticks, control_dim).
        first_sequence: The driver's number of the first observation.
        delay_ticks: By how many control periods the controls take effect later than they stand there; only where the
            commands themselves are planned.
    """

    first_ns: int
    observations: Array
    controls: Array
    first_sequence: int = 0
    delay_ticks: int = 0

    def __len__(self) -> int:
        """Control periods."""
        return len(self.observations)


@dataclass(frozen=True)
class Windows:
    """What a model is asked, and what came of it.

    Attributes:
        observations: Of the planning problem, where the model starts and after each of its steps; NaN where the
            observation was lost. Shape=(count, steps + 1, planning_dim).
        controls: Shape=(count, steps, control_dim).
        starts_ns: Stamps of the starts. Shape=(count,).
    """

    observations: Array
    controls: Array
    starts_ns: Integers

    def __len__(self) -> int:
        """How often it is asked."""
        return len(self.starts_ns)


def cut(task: Task, sequences: Integers, stamps_ns: Integers, observations: Array, controls: Array) -> list[Stretch]:
    """Cut a recording where the driver began anew, stood still or was not heard for long.

    Args:
        task: The robot's.
        sequences: The driver's numbers, in the order of being heard. Shape=(count,).
        stamps_ns: Shape=(count,).
        observations: Shape=(count, observation_dim).
        controls: See :class:`Stretch`. Shape=(count, control_dim).
    """
    period_ns = task.control_period_s * 1e9
    steps, elapsed = np.diff(sequences), np.diff(stamps_ns)
    # Where time and count disagree by more than a period, they are not of one clock: the driver waited or was held.
    foreign = np.abs(elapsed - steps * period_ns) > period_ns
    ends = np.flatnonzero((steps <= 0) | (steps > LONGEST_GAP_TICKS) | foreign) + 1
    stretches = []
    for start, end in zip([0, *ends], [*ends, len(sequences)], strict=True):
        if end - start > 1:
            rows = sequences[start:end] - sequences[start]
            stretches.append(
                Stretch(
                    int(stamps_ns[start]),
                    _spread_out(observations[start:end], rows),
                    _spread_out(controls[start:end], rows),
                    int(sequences[start]),
                )
            )
    return stretches


def _spread_out(values: Array, rows: Integers) -> Array:
    """Values in their rows, NaN in the others."""
    if len(values) == rows[-1] + 1:
        return values
    spread = np.full((int(rows[-1]) + 1, values.shape[1]), np.nan)
    spread[rows] = values
    return spread


def windows(task: Task, stretches: Iterable[Stretch], steps: int, most: int | None = None) -> Windows:
    """Occasions to ask the model for a number of steps, and what came of it.

    The model's step spans ``decision_ticks`` control periods, and its control is in force from ``planning_ticks`` (or,
    where the commands themselves are planned, the stretch's ``delay_ticks``) on: so it was trained, and so plans use
    it. Where a control changed within the time that it should have been held, there is none, nor where the first or
    the last observation was lost. One occasion begins at the earliest a step after the one before.

    Args:
        task: The robot's.
        stretches: Of one recording or of many; gone through twice.
        steps: At least 1.
        most: At most that many, chosen evenly; None for all.
    """
    starts = [starts_of(task, stretch, steps) for stretch in stretches]
    count = sum(map(len, starts))
    chosen = np.arange(count)
    if most is not None and count > most:
        chosen = np.linspace(0, count - 1, most).round().astype(np.int64)
    problem = task.planning_problem
    observations = np.empty((len(chosen), steps + 1, problem.observation_dim))
    controls, stamps = np.empty((len(chosen), steps, problem.action_dim)), np.empty(len(chosen), np.int64)
    before = done = 0
    for stretch, own in zip(stretches, starts, strict=True):
        here = own[chosen[(chosen >= before) & (chosen < before + len(own))] - before]
        before += len(own)
        rows = slice(done, done + len(here))
        done += len(here)
        if len(here):
            observations[rows], controls[rows] = _asked(task, stretch, here, steps)
            stamps[rows] = stretch.first_ns + np.round(here * task.control_period_s * 1e9).astype(np.int64)
    return Windows(observations, controls, stamps)


def effect_ticks(task: Task, stretch: Stretch) -> int:
    """When the first control of a step takes effect, relative to the observation that the step starts from."""
    return -stretch.delay_ticks if task.planning is None else task.planning.planning_ticks


def starts_of(task: Task, stretch: Stretch, steps: int) -> Integers:
    """Where windows begin in a stretch."""
    ticks, effect = task.decision_ticks, effect_ticks(task, stretch)
    starts = np.arange(max(0, -effect), len(stretch) - steps * ticks - max(0, effect))
    if not len(starts):
        return starts
    held = _held_for(stretch.controls)
    seen: Mask = np.asarray(np.isfinite(stretch.observations).all(axis=1))
    good = seen[starts] & seen[starts + steps * ticks]
    for step in range(steps):
        good &= held[starts + effect + step * ticks] >= ticks
    if effect > 0:
        good &= held[starts] >= effect
    return _apart(starts[good], ticks)


def _asked(task: Task, stretch: Stretch, starts: Integers, steps: int) -> tuple[Array, Array]:
    """Observations and controls of windows; see :class:`Windows`."""
    rows = starts[:, None] + task.decision_ticks * np.arange(steps + 1)
    observations = stretch.observations[rows]
    controls = stretch.controls[rows[:, :-1] + effect_ticks(task, stretch)]
    before = np.concatenate([stretch.controls[starts][:, None], controls], axis=1)
    return planning_observations(task, observations, before), controls


def planning_observations(task: Task, observations: Array, before: Array) -> Array:
    """Observations as the planning problem has them; NaN where one was lost.

    Args:
        task: The robot's.
        observations: Shape=(..., observation_dim).
        before: Controls in force. Shape=(..., control_dim).
    """
    if task.planning is None:
        return observations
    names = [quantity.name for quantity in task.observation]
    selected = observations[..., [names.index(name) for name in task.planning.observation]]
    together = np.concatenate([selected, before], axis=-1)
    together[~np.isfinite(observations).all(axis=-1)] = np.nan
    return together


def _held_for(controls: Array) -> Integers:
    """For how many control periods each control stays as it is; 0 where it is not known. Shape=(ticks,)."""
    known: Mask = np.asarray(np.isfinite(controls).all(axis=1))
    changes = np.flatnonzero((controls[1:] != controls[:-1]).any(axis=1)) + 1
    ends = np.append(changes, len(controls))
    places = np.arange(len(controls))
    held: Integers = np.where(known, ends[np.searchsorted(ends, places, side="right")] - places, 0)
    return held


def _apart(starts: Integers, ticks: int) -> Integers:
    """The first start, the next one at least so many ticks later, and so on."""
    return starts if ticks == 1 else np.fromiter(_each_apart(starts, ticks), np.int64)


def _each_apart(starts: Integers, ticks: int) -> Iterator[int]:
    index = 0
    while index < len(starts):
        yield int(starts[index])
        index = int(np.searchsorted(starts, starts[index] + ticks))
