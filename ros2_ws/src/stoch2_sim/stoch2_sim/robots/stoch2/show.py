"""The walk of the demonstration: changing commands and two pushes, 20 s, drawn as plot and video."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from demo_control.configuration import Scalar
from demo_control.scenarios import ShownRun
from stoch2_sim.robots.stoch2.episode import CommandChange, Episode, Push
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.recorded_plants import RecordedPlants
from stoch2_sim.robots.stoch2.scenario_settings import ShowSettings
from stoch2_sim.robots.stoch2.scenarios import WalkingScenario, common_figures
from stoch2_sim.robots.stoch2.walk_metrics import (
    COST_WINDOW_TICKS,
    Walk,
    is_recovery_recorded,
    recovery_cost,
    settle_time_s,
)

DURATION_S = 20.0
COMMANDS = (
    (0.0, 0.30, 0.0),
    (5.0, 0.50, 0.0),
    (8.5, 0.30, 0.3),
    (12.0, 0.15, 0.0),
    (14.0, 0.30, -0.3),
    (18.0, 0.0, 0.0),
)
"""From when in s, forward speed in m/s, yaw rate in rad/s."""
PUSHES_S = (3.0, 15.5)
"""Where about the policy's own speed is asked for: both controllers are pushed at the same speed."""
PUSH_TICKS = 6
_WORDS = {
    "success": "on its feet at the end",
    "speed_error_rms": "speed error, rms, m/s",
    "yaw_rate_error_rms": "yaw rate error, rms, rad/s",
    "distance_m": "distance, m (asked: {distance:.2f})",
    "path_error_rms": "off the line, rms, m",
    "first_recovery_cost": "cost after push 1",
    "second_recovery_cost": "cost after push 2",
    "first_settle_time_s": "settled after push 1, s",
    "second_settle_time_s": "settled after push 2, s",
}


class ShowWalk(WalkingScenario[ShowSettings]):
    """Changing commands and two pushes from the side; implements :class:`demo_control.scenarios.ShowScenario`."""

    def __init__(self, values: Mapping[str, Scalar], steps: int | None) -> None:
        steps = steps or round(DURATION_S / CONTROL_PERIOD_S)
        super().__init__(ShowSettings.from_mapping(values, source="show"), steps, 1)
        commanded_m = sum(speed * duration_s for duration_s, speed, _ in _sections(steps * CONTROL_PERIOD_S))
        self.words = {name: text.format(distance=commanded_m) for name, text in _WORDS.items()}

    @property
    def pushes(self) -> tuple[Push, ...]:
        """The pushes: sideways to the commanded heading."""
        pushes = []
        for time_s, force_n in zip(PUSHES_S, (self.settings.first_push_n, -self.settings.second_push_n), strict=True):
            heading = sum(rate * duration_s for duration_s, _, rate in _sections(time_s))
            force = (-force_n * math.sin(heading), force_n * math.cos(heading), 0.0)
            pushes.append(Push(round(time_s / CONTROL_PERIOD_S), PUSH_TICKS, force))
        return tuple(pushes)

    def episode(self, _number: int, _generator: np.random.Generator) -> Episode:
        """See :class:`WalkingScenario`."""
        commands = tuple(
            CommandChange(round(time_s / CONTROL_PERIOD_S), forward_m_s=speed, yaw_rate_rad_s=rate)
            for time_s, speed, rate in COMMANDS
        )
        return Episode(self.settings.robot, self.settings.sensing, commands, self.pushes)

    def make_plants(self, simulator: str, seed: int, numbers: Sequence[int]) -> RecordedPlants:
        """See :class:`WalkingScenario`; configurations are kept for the video."""
        episodes = [self.episode(number, np.random.default_rng([seed, number])) for number in numbers]
        return RecordedPlants(simulator, episodes, configurations=True)

    def figures(self, walk: Walk, _number: int) -> dict[str, float]:
        """See :class:`WalkingScenario`."""
        figures = common_figures(walk)
        figures["path_error_rms"] = float(np.sqrt(np.mean(np.square(walk.lateral_error[: walk.end + 1]))))
        for name, push in zip(("first", "second"), self.pushes, strict=True):
            if walk.end <= push.start_tick or not is_recovery_recorded(walk, push.start_tick):
                continue
            figures[f"{name}_recovery_cost"] = recovery_cost(walk, push.start_tick)
            if walk.end >= push.start_tick + COST_WINDOW_TICKS:
                figures[f"{name}_settle_time_s"] = settle_time_s(walk, push.start_tick)
        return figures

    def show(
        self, runs: Sequence[ShownRun], folder: Path, *, video: bool, progress: Callable[[str, float], None]
    ) -> Mapping[str, Path]:
        """See :class:`demo_control.scenarios.ShowScenario`."""
        # Only here: it needs graphics libraries that a robot does not have.
        from stoch2_sim.robots.stoch2.walk_drawing import write_walk_video  # noqa: PLC0415
        from stoch2_sim.robots.stoch2.walk_plot import write_walk_plot  # noqa: PLC0415

        files = {"plot": folder / "walk.png"}
        progress("plot", 0.0)
        write_walk_plot(files["plot"], runs, self.pushes, self._title())
        progress("plot", 1.0)
        if video:
            files["video"] = folder / "walk.mp4"
            robot = self.settings.robot
            write_walk_video(files["video"], runs, self.pushes, robot, lambda share: progress("video", share))
        return files

    def _title(self) -> str:
        settings = self.settings
        contacts = "" if settings.foot_sensors else ", no foot sensors"
        sensing = "ideal sensing" if settings.ideal_sensing else f"estimated state{contacts}"
        return (
            f"Stoch2: changing commands, pushes of {settings.first_push_n:g} and {settings.second_push_n:g} N for "
            f"{PUSH_TICKS * CONTROL_PERIOD_S:g} s; {sensing}, IMU noise {settings.imu_noise_rad:g} rad, "
            f"latency {settings.latency_ms:g} ms"
        )


def _sections(end_s: float) -> list[tuple[float, float, float]]:
    """Duration, forward speed and yaw rate of each command until a time."""
    starts = [time_s for time_s, _, _ in COMMANDS]
    ends = [*starts[1:], math.inf]
    return [
        (max(0.0, min(end_s, last) - first), speed, rate)
        for first, last, (_, speed, rate) in zip(starts, ends, COMMANDS, strict=True)
    ]
