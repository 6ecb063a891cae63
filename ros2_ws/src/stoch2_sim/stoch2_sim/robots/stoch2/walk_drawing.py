"""From recorded trials to a video of walks side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from demo_control.scenarios import ShownRun
from stoch2_sim.robots.stoch2.episode import Push
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.video import WalkRun, render_video
from stoch2_sim.simulators.protocol import Array


def write_walk_video(
    path: Path,
    runs: Sequence[ShownRun],
    pushes: Sequence[Push],
    robot: RobotParameters,
    progress: Callable[[float], None],
) -> str:
    """Draw walks side by side into an mp4; returns what drew the pictures.

    Args:
        path: The file to make (written beside and renamed).
        runs: Trials with configurations; all robots started along the world's x axis.
        pushes: That all runs got.
        robot: Robot and ground of all runs.
        progress: Told the finished share.
    """
    return render_video(path, [_drawn(run, pushes, robot) for run in runs], progress=progress)


def _drawn(run: ShownRun, pushes: Sequence[Push], robot: RobotParameters) -> WalkRun:
    """A run as the video wants it."""
    records, fall = run.trial.records, run.trial.failed_step
    count = len(records["qpos"])
    return WalkRun(
        label=run.label,
        times_s=CONTROL_PERIOD_S * np.arange(count, dtype=np.float64),
        qpos=records["qpos"],
        commands=records["commands"],
        forces=pushes_by_tick(pushes, count),
        robot=robot,
        fall_s=math.inf if fall is None else CONTROL_PERIOD_S * fall,
    )


def pushes_by_tick(pushes: Sequence[Push], count: int) -> Array:
    """Forces that led to each recorded state, N. Shape=(count, 3)."""
    forces = np.zeros((count, 3))
    for push in pushes:
        first = push.start_tick + 1
        forces[first : first + push.duration_ticks] += push.force_n
    return forces
