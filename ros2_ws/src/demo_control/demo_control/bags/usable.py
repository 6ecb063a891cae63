"""What of a recording shows the process that a model is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from demo_control.bags.stretches import Mask, Stretch, planning_observations
from demo_control.tasks import Array, Task
from demo_control.transitions import learned_entries, next_observations, num_outputs

OTHER_PROCESS = "the known part of the motion (a clock, a command) went on otherwise"
"""Why a control period is left out: a legged robot that sits or stands up, say."""
HELD_ENTRY = "an entry was held by whoever measures it (a limit, a leash)"
OUT_OF_RANGE = "an observation was outside the robot's range"

_KNOWN_TOLERANCE = 0.1
"""Of half an entry's range."""
_HELD = 1e-9


def usable(task: Task, stretches: Iterable[Stretch]) -> tuple[list[Stretch], Counter[str]]:
    """Take the controls out of control periods in which the robot did something else than the model is of.

    Args:
        task: The robot's.
        stretches: Of a recording.

    Returns:
        The stretches, NaN in the place of these controls, and why how many control periods were left out.
    """
    left_out: Counter[str] = Counter()
    kept = []
    for stretch in stretches:
        bad = np.zeros(len(stretch), bool)
        for reason, found in (
            (OTHER_PROCESS, _otherwise(task, stretch)),
            (HELD_ENTRY, _held(task, stretch)),
            (OUT_OF_RANGE, _outside(task, stretch)),
        ):
            left_out[reason] += int((found & ~bad).sum())
            bad |= found
        controls = np.where(bad[:, None], np.nan, stretch.controls)
        kept.append(replace(stretch, controls=controls))
    return kept, +left_out


def _otherwise(task: Task, stretch: Stretch) -> Mask:
    """Where a step of the model begins in which entries that it knows went on otherwise. Shape=(ticks,)."""
    problem, ticks = task.planning_problem, task.decision_ticks
    result = np.zeros(len(stretch), bool)
    known = [i for i in range(problem.observation_dim) if i not in learned_entries(problem)]
    # The corrections in force before are known too, but say nothing of the robot.
    known = [i for i in known if task.planning is None or problem.observation[i].name in task.planning.observation]
    if not known or len(stretch) <= ticks:
        return result
    x = planning_observations(task, stretch.observations, np.zeros((len(stretch), problem.action_dim)))
    rest = np.zeros((len(stretch) - ticks, num_outputs(problem)))
    following = next_observations(problem, x[:-ticks], rest, np.zeros((len(rest), problem.action_dim)))
    apart = np.abs(following[:, known] - x[ticks:, known])
    result[:-ticks] = (apart > _KNOWN_TOLERANCE * _half_ranges(problem)[known]).any(axis=1)
    return result


def _held(task: Task, stretch: Stretch) -> Mask:
    """Where an entry did not move that a reference pulls along. Shape=(ticks,)."""
    names = [quantity.name for quantity in task.observation]
    entries = [names.index(name) for name in task.planning_problem.offset_entries if name in names]
    result = np.zeros(len(stretch), bool)
    if entries:
        changes = np.abs(np.diff(stretch.observations[:, entries], axis=0))
        result[:-1] = (changes <= _HELD).any(axis=1)
    return result


def _outside(task: Task, stretch: Stretch) -> Mask:
    """Where something that the model looks at is outside its range. Shape=(ticks,)."""
    seen = [i for i, q in enumerate(task.observation) if q.name in task.planning_problem.model_inputs]
    low = np.array([task.observation[i].minimum for i in seen])
    high = np.array([task.observation[i].maximum for i in seen])
    values = stretch.observations[:, seen]
    return np.asarray(((values < low) | (values > high)).any(axis=1))


def _half_ranges(problem: Task) -> Array:
    return np.array([(q.maximum - q.minimum) / 2.0 for q in problem.observation])
