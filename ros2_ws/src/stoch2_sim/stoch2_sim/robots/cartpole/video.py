"""A video of recorded cart-pole runs, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo_control.report.video import Frame, caption
from stoch2_sim.pictures.film import AMBER, GREEN, RED, FilmedRun, film
from stoch2_sim.robots.cartpole.parameters import RAIL_LIMIT_M
from stoch2_sim.robots.cartpole.pictures import BACKENDS, Pictures
from stoch2_sim.robots.cartpole.score import is_upright
from stoch2_sim.robots.cartpole.simulation import from_observation
from stoch2_sim.simulators.protocol import Array

WIDTH, HEIGHT = 640, 368


@dataclass(frozen=True)
class Run:
    """One recorded run.

    Attributes:
        label: Who was in control, for the caption.
        times_s: Times since the start, rising. Shape=(num_samples,).
        observations: True observations at those times. Shape=(num_samples, 5).
        pole_length: Length of the pole as a factor on the nominal one.
    """

    label: str
    times_s: Array
    observations: Array
    pole_length: float = 1.0

    def at(self, time_s: float) -> Array:
        """The newest observation at a time, the first one before the start. Shape=(5,)."""
        index = int(np.searchsorted(self.times_s, time_s + 1e-9, side="right")) - 1
        return np.asarray(self.observations[max(0, index)])


def render_video(
    path: Path,
    runs: Sequence[Run],
    fps: float = 25.0,
    progress: Callable[[float], None] | None = None,
) -> str:
    """Draw runs side by side into an mp4, headless; a shorter run keeps its last picture.

    Args:
        path: The file to make (written beside and renamed).
        runs: At least one, each with at least one sample.
        fps: Frames per second of simulated time.
        progress: Told the finished share, 0 to 1.

    Returns:
        What drew the pictures: 'mujoco-egl', 'mujoco-osmesa', 'pybullet-tiny' or 'matplotlib'.

    Raises:
        ValueError: No runs, or an empty one.
        PictureError: Nothing draws here.
        VideoError: The encoder failed.
    """
    if not runs or any(run.times_s.size == 0 for run in runs):
        raise ValueError(f"{path.name}: a video needs at least one run, and samples in each")
    return film(path, [_filmed(run) for run in runs], BACKENDS, fps, progress)


def _filmed(run: Run) -> FilmedRun:
    """What there is to draw of a run."""

    def state_at(time_s: float) -> list[float]:
        position, angle = from_observation(run.at(time_s))[0]
        return [float(position), float(angle)]

    return FilmedRun(
        duration_s=float(run.times_s[-1]),
        start_painter=lambda backends: Pictures(WIDTH, HEIGHT, run.pole_length, backends),
        state_at=state_at,
        captioned=lambda picture, time_s: _captioned(picture, run.label, time_s, run.at(time_s)),
    )


def _captioned(picture: Frame, label: str, time_s: float, observation: Array) -> Frame:
    """A run's picture with its caption: who, when, and how the pole is doing."""
    if abs(float(observation[0])) > RAIL_LIMIT_M:
        chip, colour = "left the rail", RED
    elif is_upright(observation):
        chip, colour = "upright", GREEN
    else:
        chip, colour = "not upright", AMBER
    return caption(picture, label, f"{time_s:5.1f} s", chip, colour)
