"""Stoch2's scenarios: walking on, following commands, pushes from the side, slopes, and everything at once.

Episode i of a seed is the same for every controller and simulator, and whatever else is run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from demo_control.configuration import Scalar
from demo_control.scenarios import SUCCESS, Figures, Trial
from stoch2_sim.robots.stoch2.episode import CommandChange, Episode, Push
from stoch2_sim.robots.stoch2.gait import ACTION_NAMES
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.recorded_plants import RecordedPlants, walk_of
from stoch2_sim.robots.stoch2.scenario_settings import (
    PushSettings,
    RealisticSensing,
    RobustSettings,
    SlopeSettings,
    TrackSettings,
    WalkSettings,
)
from stoch2_sim.robots.stoch2.walk_metrics import (
    COST_WINDOW_TICKS,
    CYCLE_TICKS,
    SETTLING_IN_TICKS,
    Walk,
    calm_cost,
    gait_cycles,
    is_recovery_recorded,
    recovery_cost,
    settle_time_s,
)
from stoch2_sim.simulators.protocol import Array

SettingsT = TypeVar("SettingsT", bound=RealisticSensing)

SPEEDS_M_S = (0.0, 0.15, 0.3, 0.45, 0.55)
YAW_RATES_RAD_S = (-0.3, 0.0, 0.3)
PUSH_PHASES = 8
REFERENCE_STEPS = (400, 500, 1000)
_FIRST_PUSH_TICK = 3 * CYCLE_TICKS
_EPISODE_STREAM = 2  # run_episodes seeds plants with [seed, number] and controllers with [seed, number, 1]


class WalkingScenario(Generic[SettingsT]):
    """What all of Stoch2's scenarios share; implements :class:`demo_control.scenarios.Scenario`.

    Args:
        settings: The scenario's.
        num_steps: Control periods of an episode.
        num_episodes: How many episodes it has unless told otherwise.
    """

    reported = (
        "distance_m_mean", "speed_error_rms", "yaw_rate_error_rms", "recovery_cost_mean", "lateral_drift_m_mean",
        "settle_time_s_mean",
    )  # fmt: skip
    cell_figures: tuple[str, ...] = ()

    def __init__(self, settings: SettingsT, num_steps: int, num_episodes: int) -> None:
        self.settings: SettingsT = settings
        self.num_steps = num_steps
        self.num_episodes = num_episodes

    @property
    def constant_action(self) -> Array:
        """The neutral gait with the step length of the settings. Shape=(20,)."""
        return np.array([self.settings.step_length if "step_length" in name else 0.0 for name in ACTION_NAMES])

    def make_plants(self, simulator: str, seed: int, numbers: Sequence[int]) -> RecordedPlants:
        """See :class:`demo_control.scenarios.Scenario`."""
        generators = [np.random.default_rng([seed, number, _EPISODE_STREAM]) for number in numbers]
        episodes = [self.episode(number, generator) for number, generator in zip(numbers, generators, strict=True)]
        return RecordedPlants(simulator, episodes)

    def episode(self, number: int, generator: np.random.Generator) -> Episode:
        """What happens in one episode."""
        raise NotImplementedError

    def cell(self, _number: int) -> str:
        """See :class:`demo_control.scenarios.Scenario`."""
        return ""

    def judge(self, trial: Trial) -> Figures:
        """Success (no fall), and the figures of this kind of walking."""
        walk = walk_of(trial)
        return {SUCCESS: walk.fall_tick is None, **self.figures(walk, trial.number)}

    def figures(self, walk: Walk, number: int) -> dict[str, float]:
        """The scenario's own figures of a walk."""
        raise NotImplementedError


def common_figures(walk: Walk) -> dict[str, float]:
    """Way, drift and tracking errors, which make sense in every scenario."""
    return tracking_figures(walk) | (errors_at(walk, walk.end) if walk.fall_tick is None else {})


def tracking_figures(walk: Walk) -> dict[str, float]:
    """Way and tracking errors."""
    figures = {"distance_m": float(walk.path_displacement[walk.end, 0])}
    errors = gait_cycles(walk).errors
    if len(errors):
        speed, side_speed, yaw_rate = np.sqrt(np.square(errors).mean(axis=0))
        figures |= {
            "speed_error_rms": float(speed),
            "side_speed_error_rms": float(side_speed),
            "yaw_rate_error_rms": float(yaw_rate),
        }
    return figures


def errors_at(walk: Walk, tick: int) -> dict[str, float]:
    """How far off the commanded path, and how much turned from it, the robot is at a tick."""
    return {
        "lateral_drift_m": abs(float(walk.lateral_error[tick])),
        "heading_error_rad": abs(float(walk.heading_error[tick])),
    }


def calm_figures(walk: Walk) -> dict[str, float]:
    """The cost of calm walking, where there was enough of it."""
    cost = calm_cost(walk)
    return {} if cost is None else {"recovery_cost": cost}


def reference_distances(walk: Walk) -> dict[str, float]:
    """The distances that the reference results are given for."""
    way = walk.path_displacement[:, 0]
    return {f"distance_{step}_steps_m": float(way[step]) for step in REFERENCE_STEPS if step <= walk.end}


def straight(forward_m_s: float) -> tuple[CommandChange, ...]:
    """The command to walk straight on from the start."""
    return (CommandChange(0, forward_m_s=forward_m_s),)


class WalkScenario(WalkingScenario[WalkSettings]):
    """Straight on at the policy's own speed: how calm, how far, how straight. 5 s; cost is per 1.5 s of walking."""

    def __init__(self, values: Mapping[str, Scalar], steps: int | None) -> None:
        super().__init__(WalkSettings.from_mapping(values, source="walk"), steps or 1000, 8)

    def episode(self, number: int, generator: np.random.Generator) -> Episode:
        """See :class:`WalkingScenario`; episodes differ in their noise and in the gait's phase at the start."""
        settings = self.settings
        return Episode(settings.robot, settings.sensing, straight(settings.forward_m_s),
                       initial_phase=number % self.num_episodes / self.num_episodes)  # fmt: skip

    def figures(self, walk: Walk, number: int) -> dict[str, float]:
        """See :class:`WalkingScenario`."""
        return {**common_figures(walk), **reference_distances(walk), **calm_figures(walk)}


class TrackScenario(WalkingScenario[TrackSettings]):
    """Fifteen commands of 10 s each, on level ground and on slopes of random inclination and friction."""

    cell_figures = ("speed_error_rms", "yaw_rate_error_rms", "speed_m_s_mean", "yaw_rate_rad_s_mean")

    def __init__(self, values: Mapping[str, Scalar], steps: int | None) -> None:
        settings = TrackSettings.from_mapping(values, source="track")
        self._grounds = ("flat", "slope") if settings.terrain == "both" else (settings.terrain,)
        self._cells = [
            (ground, speed, rate) for ground in self._grounds for speed in SPEEDS_M_S for rate in YAW_RATES_RAD_S
        ]
        super().__init__(settings, steps or 2000, len(self._cells))

    def cell(self, number: int) -> str:
        """Ground and command."""
        ground, speed, rate = self._cells[number % len(self._cells)]
        return f"{ground}, {speed:.2f} m/s, {rate:+.1f} rad/s"

    def episode(self, number: int, generator: np.random.Generator) -> Episode:
        """See :class:`WalkingScenario`; later rounds through the cells draw other ground."""
        settings = self.settings
        ground, speed, rate = self._cells[number % len(self._cells)]
        slope, orientation = (
            generator.uniform(settings.slope_minimum_deg, settings.slope_maximum_deg),
            generator.uniform(0.0, settings.orientation_maximum_deg),
        )
        friction = generator.uniform(settings.friction_minimum, settings.friction_maximum)
        robot = RobotParameters(terrain=ground, slope_deg=slope, orientation_deg=orientation, friction=friction)
        if ground == "flat":
            robot = RobotParameters(friction=friction)
        return Episode(robot, settings.sensing, (CommandChange(0, forward_m_s=speed, yaw_rate_rad_s=rate),))

    def figures(self, walk: Walk, number: int) -> dict[str, float]:
        """See :class:`WalkingScenario`; also mean speeds, their ratio to the command, and creep in turning in place."""
        _, speed, rate = self._cells[number % len(self._cells)]
        figures = {**common_figures(walk), **calm_figures(walk)}
        measured = gait_cycles(walk).measured
        if len(measured):
            mean = measured.mean(axis=0)
            figures |= {"speed_m_s": float(mean[0]), "yaw_rate_rad_s": float(mean[2])}
            if speed > 0.0:
                figures["speed_ratio"] = float(mean[0]) / speed
            elif rate != 0.0:
                figures["creep_m_s"] = math.hypot(float(mean[0]), float(mean[1]))
        return figures


class PushScenario(WalkingScenario[PushSettings]):
    """One push to the left or right in each of eight phases of the gait; what follows within 1.5 s is judged."""

    cell_figures = ("recovery_cost_mean", "settle_time_s_mean", "lateral_drift_m_mean")

    def __init__(self, values: Mapping[str, Scalar], steps: int | None) -> None:
        default = _FIRST_PUSH_TICK + CYCLE_TICKS + COST_WINDOW_TICKS
        super().__init__(PushSettings.from_mapping(values, source="push"), steps or default, 2 * PUSH_PHASES)

    def push_tick(self, number: int) -> int:
        """When the push of an episode begins."""
        return _FIRST_PUSH_TICK + CYCLE_TICKS * (number // 2 % PUSH_PHASES) // PUSH_PHASES

    def cell(self, number: int) -> str:
        """The push's direction."""
        return "to the right" if number % 2 else "to the left"

    def episode(self, number: int, generator: np.random.Generator) -> Episode:
        """See :class:`WalkingScenario`."""
        settings = self.settings
        force = -settings.push_n if number % 2 else settings.push_n
        push = Push(self.push_tick(number), round(settings.push_s / CONTROL_PERIOD_S), (0.0, force, 0.0))
        return Episode(settings.robot, settings.sensing, straight(settings.forward_m_s), (push,))

    def figures(self, walk: Walk, number: int) -> dict[str, float]:
        """See :class:`WalkingScenario`; drift and heading error are those of the end of the 1.5 s."""
        start = self.push_tick(number)
        figures = tracking_figures(walk)
        if is_recovery_recorded(walk, start):
            figures["recovery_cost"] = recovery_cost(walk, start)
            if walk.fall_tick is None:
                figures["settle_time_s"] = settle_time_s(walk, start)
                figures |= errors_at(walk, start + COST_WINDOW_TICKS)
        return figures


class SlopeScenario(WalkingScenario[SlopeSettings]):
    """Straight on over a grid of slopes, elevation by direction."""

    cell_figures = ("distance_400_steps_m_mean", "distance_500_steps_m_mean", "distance_1000_steps_m_mean")

    def __init__(self, values: Mapping[str, Scalar], steps: int | None) -> None:
        settings = SlopeSettings.from_mapping(values, source="slope")
        self._cells = [
            (elevation, direction)
            for elevation in _steps(settings.slope_minimum_deg, settings.slope_maximum_deg, settings.slope_step_deg)
            for direction in _steps(
                settings.orientation_minimum_deg, settings.orientation_maximum_deg, settings.orientation_step_deg
            )
        ]
        super().__init__(settings, steps or 1000, len(self._cells))

    def cell(self, number: int) -> str:
        """Elevation and direction."""
        elevation, direction = self._cells[number % len(self._cells)]
        return f"{elevation:g}°, rising {direction:g}° to the left"

    def episode(self, number: int, generator: np.random.Generator) -> Episode:
        """See :class:`WalkingScenario`."""
        settings = self.settings
        elevation, direction = self._cells[number % len(self._cells)]
        robot = RobotParameters(
            terrain="slope", slope_deg=elevation, orientation_deg=direction, friction=settings.friction
        )
        return Episode(robot, settings.sensing, straight(settings.forward_m_s))

    def figures(self, walk: Walk, number: int) -> dict[str, float]:
        """See :class:`WalkingScenario`; also the reference's distances, and the climb."""
        climb = float(walk.gradient @ (walk.position[walk.end, :2] - walk.position[0, :2]))
        return {**common_figures(walk), **reference_distances(walk), "climb_m": climb, **calm_figures(walk)}


class RobustScenario(WalkingScenario[RobustSettings]):
    """Random slope, friction, payload, torque limit and pushes. 2.5 s; the cost is that of all of it."""

    def __init__(self, values: Mapping[str, Scalar], steps: int | None) -> None:
        super().__init__(RobustSettings.from_mapping(values, source="robust"), steps or 500, 100)

    def episode(self, number: int, generator: np.random.Generator) -> Episode:
        """See :class:`WalkingScenario`; each push falls into a share of its own of the time after the first 0.5 s."""
        settings = self.settings
        robot = RobotParameters(
            terrain="slope",
            slope_deg=generator.uniform(0.0, settings.slope_maximum_deg),
            orientation_deg=generator.uniform(0.0, settings.orientation_maximum_deg),
            friction=generator.uniform(settings.friction_minimum, settings.friction_maximum),
            payload_kg=generator.uniform(0.0, settings.payload_maximum_kg),
            torque_limit_nm=generator.uniform(settings.torque_limit_minimum_nm, settings.torque_limit_maximum_nm),
        )
        first = SETTLING_IN_TICKS // 2
        share = (self.num_steps - first) / max(1, settings.num_pushes)
        pushes = []
        for index in range(settings.num_pushes):
            tick = first + int(share * (index + generator.uniform(0.0, 0.4)))
            direction = generator.uniform(-math.pi, math.pi)
            force = generator.uniform(settings.push_minimum_n, settings.push_maximum_n)
            pushes.append(
                Push(
                    max(0, tick), round(settings.push_s / CONTROL_PERIOD_S),
                    (force * math.cos(direction), force * math.sin(direction), 0.0),
                )
            )  # fmt: skip
        return Episode(robot, settings.sensing, straight(settings.forward_m_s), tuple(pushes))

    def figures(self, walk: Walk, number: int) -> dict[str, float]:
        """See :class:`WalkingScenario`; ``strict_success`` asks for way, heading and line, too."""
        figures = {**common_figures(walk), "recovery_cost": recovery_cost(walk, 0, self.num_steps)}
        if walk.fall_tick is None:
            # Half of the reference's way, 0.35 m in 500 steps; the end within 0.35 rad and 0.3 m of heading and line.
            far_enough = figures["distance_m"] > 0.35 / 500 * self.num_steps
            straight_on = figures["heading_error_rad"] < 0.35 and figures["lateral_drift_m"] < 0.3  # noqa: PLR2004
            figures["strict_success"] = float(far_enough and straight_on)
        else:
            figures["strict_success"] = 0.0
        return figures


def _steps(first: float, last: float, step: float) -> list[float]:
    """first, first + step, … up to last."""
    return [first + index * step for index in range(math.floor((last - first) / step + 1e-9) + 1)]
