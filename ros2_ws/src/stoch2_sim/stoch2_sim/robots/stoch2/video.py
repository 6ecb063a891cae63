"""A video of recorded walks, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demo_control.report.video import Frame, caption, footer
from stoch2_sim.pictures.film import AMBER, GREEN, RED, FilmedRun, film
from stoch2_sim.robots.stoch2.attitude import euler_angles, wrapped
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.pictures import BACKENDS, Pictures
from stoch2_sim.robots.stoch2.rotations import rotation_matrices
from stoch2_sim.simulators.protocol import Array

WIDTH, HEIGHT = 640, 400

# A push lasts a frame or less: its arrow stays for a while.
_PUSH_SHOWN_S = 0.4
# Speeds are means over a gait cycle, the camera's path is smoother still.
_SPEED_WINDOW_S = 0.4
_CAMERA_WINDOW_S = 0.8
_STANDING_M_S = 0.03
_FALLEN_COSINE = math.cos(math.radians(35.0))


@dataclass(frozen=True)
class WalkRun:
    """One recorded walk.

    Attributes:
        label: Who was in control, for the caption.
        times_s: Since the start, rising. Shape=(num_samples,).
        qpos: MuJoCo's coordinates; see :func:`stoch2_sim.robots.stoch2.mjcf.coordinates`. Shape=(num_samples, 27).
        commands: Forward speed, lateral speed and yaw rate that were asked for. Shape=(num_samples, 3).
        forces: Pushes at the trunk, world axes, newtons. Shape=(num_samples, 3).
        robot: Robot and ground.
        fall_s: When the robot fell, where that is known better than the trunk's tilt tells it.
    """

    label: str
    times_s: Array
    qpos: Array
    commands: Array
    forces: Array
    robot: RobotParameters = field(default_factory=RobotParameters)
    fall_s: float = math.inf

    def __post_init__(self) -> None:
        """Check that all have the same length."""
        lengths = {len(self.times_s), len(self.qpos), len(self.commands), len(self.forces)}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"{self.label}: a run needs samples, and times, coordinates, commands and forces for each")

    def index(self, time_s: float) -> int:
        """The newest sample at a time, the first one before the start."""
        return max(0, int(np.searchsorted(self.times_s, time_s + 1e-9, side="right")) - 1)

    def push(self, time_s: float) -> Array:
        """The greatest push of the last moment, newtons. Shape=(3,)."""
        recent = self.forces[self.index(time_s - _PUSH_SHOWN_S) : self.index(time_s) + 1]
        return np.asarray(recent[np.linalg.norm(recent, axis=1).argmax()])

    def camera_point(self, time_s: float) -> Array:
        """What the camera looks at: a little below the trunk, on a smoothed path. Shape=(3,)."""
        first, last = self.index(time_s - 0.5 * _CAMERA_WINDOW_S), self.index(time_s + 0.5 * _CAMERA_WINDOW_S)
        return np.asarray(self.qpos[first : last + 1, :3].mean(axis=0) - [0.0, 0.0, 0.06])

    def speeds(self, time_s: float) -> tuple[float, float]:
        """Forward speed (m/s) and yaw rate (rad/s), means over a gait cycle around a time."""
        first, last = self.index(time_s - 0.5 * _SPEED_WINDOW_S), self.index(time_s + 0.5 * _SPEED_WINDOW_S)
        duration_s = float(self.times_s[last] - self.times_s[first])
        if duration_s <= 0.0:
            return 0.0, 0.0
        yaws = euler_angles(self.qpos[[first, last], 3:7])[:, 2]
        turn = float(wrapped(yaws[1] - yaws[0]))
        middle = float(yaws[0]) + 0.5 * turn
        way = self.qpos[last, :2] - self.qpos[first, :2]
        return float(way @ [math.cos(middle), math.sin(middle)]) / duration_s, turn / duration_s

    def fallen(self, time_s: float) -> bool:
        """Whether the trunk had by then tilted so far that the walk was over."""
        if time_s >= self.fall_s:
            return True
        up = rotation_matrices(self.qpos[: self.index(time_s) + 1, 3:7])[:, 2, 2]
        return bool(up.min() < _FALLEN_COSINE)


def render_video(
    path: Path,
    runs: Sequence[WalkRun],
    fps: float = 25.0,
    progress: Callable[[float], None] | None = None,
) -> str:
    """Draw walks side by side into an mp4, headless; a shorter run keeps its last picture.

    Args:
        path: The file to make (written beside and renamed).
        runs: At least one.
        fps: Frames per second of simulated time.
        progress: Told the finished share, 0 to 1.

    Returns:
        What drew the pictures: 'mujoco-egl', 'mujoco-osmesa' or 'matplotlib'.

    Raises:
        ValueError: No runs.
        PictureError: Nothing draws here.
        VideoError: The encoder failed.
    """
    if not runs:
        raise ValueError(f"{path.name}: a video needs at least one run")
    return film(path, [_filmed(run) for run in runs], BACKENDS, fps, progress)


def _filmed(run: WalkRun) -> FilmedRun:
    """What there is to draw of a walk."""
    return FilmedRun(
        duration_s=float(run.times_s[-1]),
        start_painter=lambda backends: Pictures(WIDTH, HEIGHT, run.robot, backends),
        state_at=lambda time_s: [*run.qpos[run.index(time_s)], *run.camera_point(time_s), *run.push(time_s)],
        captioned=lambda picture, time_s: _captioned(picture, run, time_s),
    )


def _captioned(picture: Frame, run: WalkRun, time_s: float) -> Frame:
    """A run's picture with its captions: who, when, how it goes, and what was asked for."""
    push_n = float(np.linalg.norm(run.push(time_s)))
    asked = run.commands[run.index(time_s)]
    forward, _lateral, turn = asked
    speed, rate = run.speeds(min(time_s, float(run.times_s[-1])))
    if run.fallen(time_s):
        chip, colour = "fell", RED
    elif push_n > 0.0:
        chip, colour = f"pushed with {push_n:.0f} N", AMBER
    elif not asked.any() and abs(speed) < _STANDING_M_S:
        chip, colour = "on the spot", GREEN
    else:
        chip, colour = "walking", GREEN
    told = [
        ("speed", f"{speed:5.2f} m/s", f"asked {forward:5.2f}"),
        ("yaw rate", f"{rate:+5.2f} rad/s", f"asked {turn:+5.2f}"),
    ]
    return footer(caption(picture, run.label, f"{time_s:5.1f} s", chip, colour), told)
