"""Recordings shared out for a refit: what is fitted to, what says when to stop, and what says whether it is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from demo_control.bags.motion import Motion
from demo_control.bags.stretches import Stretch, windows
from demo_control.learning.episodes import Episode
from demo_control.tasks import Task

_BLOCKS_PER_RECORDING = 20
_LONGEST_BLOCK_S = 5.0
_HORIZONS_PER_BLOCK = 3.0

_TRAIN, _STOP, _JUDGE = range(3)

_ONE_BAG = (_TRAIN, _TRAIN, _TRAIN, _JUDGE, _TRAIN, _STOP, _TRAIN, _JUDGE)
"""Roles of the blocks of time of a single recording, again from the first after the last."""
_BESIDE_HELD_OUT_BAGS = (_TRAIN, _TRAIN, _TRAIN, _TRAIN, _STOP, _TRAIN)

JUDGED_SHARE = 0.25
"""Of the recordings, where there are several, that only judge."""


@dataclass
class Shares:
    """The parts.

    Attributes:
        training: Fitted to.
        stopping: Say when to stop, and which weights are the best.
        judging: Decide whether the result is better; neither of the other two has seen anything of them.
        judging_bags: Names of the recordings that are held out whole; empty where blocks of time are.
        block_s: Length of the blocks of time.
    """

    training: list[Stretch] = field(default_factory=list)
    stopping: list[Stretch] = field(default_factory=list)
    judging: list[Stretch] = field(default_factory=list)
    judging_bags: list[str] = field(default_factory=list)
    block_s: float = 0.0


def shared_out(task: Task, motions: Sequence[Motion], horizon: int, generator: np.random.Generator) -> Shares:
    """Hold out whole recordings, or blocks of time where there is one.

    A block that is held out begins a horizon later than it might: nothing that is predicted in it was fitted to.

    Args:
        task: The robot's.
        motions: At least one.
        horizon: Steps of the longest prediction.
        generator: Chooses the recordings.
    """
    horizon_s = horizon * task.planning_problem.control_period_s
    total_s = sum(motion.seconds for motion in motions)
    block_s = max(min(total_s / _BLOCKS_PER_RECORDING, _LONGEST_BLOCK_S), _HORIZONS_PER_BLOCK * horizon_s)
    shares = Shares(block_s=block_s)
    held_out: set[int] = set()
    if len(motions) > 1:
        count = max(1, round(JUDGED_SHARE * len(motions)))
        held_out = set(generator.permutation(len(motions))[:count].tolist())
    parts = (shares.training, shares.stopping, shares.judging)
    pattern = _BESIDE_HELD_OUT_BAGS if held_out else _ONE_BAG
    number = 0
    for index, motion in enumerate(motions):
        if index in held_out:
            shares.judging += motion.stretches
            shares.judging_bags.append(motion.name)
            continue
        for stretch in motion.stretches:
            for block in _blocks(task, stretch, block_s):
                role = pattern[number % len(pattern)]
                number += 1
                gap = 0 if role == _TRAIN else round(horizon_s / task.control_period_s)
                parts[role].append(_part(task, block, gap))
    return shares


def _blocks(task: Task, stretch: Stretch, block_s: float) -> list[Stretch]:
    ticks = max(round(block_s / task.control_period_s), 1)
    count = max(round(len(stretch) / ticks), 1)
    edges = np.linspace(0, len(stretch), count + 1).round().astype(int)
    return [_part(task, stretch, start, end) for start, end in pairwise(edges.tolist())]


def _part(task: Task, stretch: Stretch, start: int, end: int | None = None) -> Stretch:
    rows = slice(start, end)
    first_ns = stretch.first_ns + round(start * task.control_period_s * 1e9)
    return replace(
        stretch, first_ns=first_ns, observations=stretch.observations[rows], controls=stretch.controls[rows],
        first_sequence=stretch.first_sequence + start,
    )  # fmt: skip


def recorded_episodes(task: Task, stretches: Sequence[Stretch]) -> tuple[Episode, ...]:
    """Transitions of the planning problem that follow one another.

    Args:
        task: The robot's.
        stretches: NaN where something is not known.
    """
    step_ns = round(task.planning_problem.control_period_s * 1e9)
    episodes: list[Episode] = []
    for stretch in stretches:
        asked = windows(task, [stretch], 1)
        good = np.isfinite(asked.observations).all(axis=(1, 2)) & np.isfinite(asked.controls).all(axis=(1, 2))
        rows = np.flatnonzero(good)
        if not len(rows):
            continue
        apart = np.abs(np.diff(asked.starts_ns[rows]) - step_ns) > step_ns // 2
        for run in np.split(rows, np.flatnonzero(apart) + 1):
            observations = np.concatenate([asked.observations[run, 0], asked.observations[run[-1:], 1]])
            episodes.append(Episode(observations, asked.controls[run, 0]))
    return tuple(episodes)
