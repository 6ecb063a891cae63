"""Figures of a recorded walk, all from the true states: distance, tracking errors, recovery cost, settling time.

The commanded path is the one that the commands in force draw, without any leash: its heading is the initial one plus
the integral of the commanded yaw rate. Displacements are measured along and across that heading, so that for a robot
that is to walk straight they are the distance along, and the drift from, the line on which it started.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S, GAIT_FREQUENCY_HZ
from stoch2_sim.simulators.protocol import Array

CYCLE_TICKS = round(1.0 / (GAIT_FREQUENCY_HZ * CONTROL_PERIOD_S))
"""Control ticks of one gait cycle."""
SETTLING_IN_TICKS = round(1.0 / CONTROL_PERIOD_S)
"""Tracking is judged from here on: the robot starts from standstill."""
COST_WINDOW_TICKS = round(1.5 / CONTROL_PERIOD_S)
"""Length of the recovery after a push that is judged."""
FALL_COST = 500.0

POSTURE_WEIGHT, HEADING_WEIGHT, PATH_WEIGHT, SIDE_SPEED_WEIGHT, SPEED_WEIGHT = 40.0, 4.0, 2.0, 0.5, 1.0
SETTLED_ROLL_RAD, SETTLED_HEADING_RAD, SETTLED_SIDE_SPEED_M_S = 0.1, 0.1, 0.25


@dataclass(frozen=True)
class Walk:
    """One robot's recorded walk; entry 0 is the start, entry k the state after k control ticks.

    Attributes:
        position: Of the trunk, world, m. Shape=(num_ticks + 1, 3).
        angles: Roll, pitch, yaw, rad. Shape=(num_ticks + 1, 3).
        velocity: Of the trunk, world, m/s. Shape=(num_ticks + 1, 3).
        commands: Forward speed, lateral speed, yaw rate in force. Shape=(num_ticks + 1, 3).
        gradient: Rise of the ground per metre along the world's x and y. Shape=(2,).
        fall_tick: When the robot fell, or None.
    """

    position: Array
    angles: Array
    velocity: Array
    commands: Array
    gradient: Array
    fall_tick: int | None = None

    @property
    def end(self) -> int:
        """Last tick at which the robot still walked."""
        return len(self.position) - 1 if self.fall_tick is None else self.fall_tick

    @cached_property
    def yaw(self) -> Array:
        """Heading without jumps, rad. Shape=(num_ticks + 1,)."""
        return np.asarray(np.unwrap(self.angles[:, 2]))

    @cached_property
    def path_yaw(self) -> Array:
        """Heading of the commanded path, rad. Shape=(num_ticks + 1,)."""
        rates = self.commands[:, 2]
        steps = 0.5 * CONTROL_PERIOD_S * (rates[1:] + rates[:-1])
        return np.asarray(self.yaw[0] + np.concatenate([[0.0], np.cumsum(steps)]))

    @cached_property
    def heading_error(self) -> Array:
        """Heading minus that of the commanded path, rad. Shape=(num_ticks + 1,)."""
        return self.yaw - self.path_yaw

    @cached_property
    def path_displacement(self) -> Array:
        """Way made along and across (to the left of) the commanded heading, m. Shape=(num_ticks + 1, 2)."""
        middle = 0.5 * (self.path_yaw[1:] + self.path_yaw[:-1])
        steps = level_rotation(np.diff(self.position[:, :2], axis=0), -middle)
        return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])

    @cached_property
    def lateral_error(self) -> Array:
        """How far the robot is to the left of the commanded path, m. Shape=(num_ticks + 1,)."""
        sideways = self.commands[:, 1]
        wanted = np.concatenate([[0.0], np.cumsum(0.5 * CONTROL_PERIOD_S * (sideways[1:] + sideways[:-1]))])
        return np.asarray(self.path_displacement[:, 1] - wanted)

    @cached_property
    def body_velocity(self) -> Array:
        """Level velocity along and across the robot's own heading, m/s. Shape=(num_ticks + 1, 2)."""
        return level_rotation(self.velocity[:, :2], -self.yaw)

    @cached_property
    def posture_error(self) -> Array:
        """Roll and pitch relative to the ground, rad. Shape=(num_ticks + 1, 2)."""
        forward, left = level_rotation(np.broadcast_to(self.gradient, (len(self.yaw), 2)), -self.yaw).T
        roll = np.arctan2(left, np.sqrt(1.0 + forward**2))
        return np.asarray(self.angles[:, :2] - np.stack([roll, -np.arctan(forward)], axis=1))

    @cached_property
    def cost(self) -> Array:
        """Cost of each tick: posture, heading, path, side speed and speed. Shape=(num_ticks + 1,)."""
        speed, side_speed = (self.body_velocity - self.commands[:, :2]).T
        return np.asarray(
            POSTURE_WEIGHT * np.square(self.posture_error).sum(axis=1)
            + HEADING_WEIGHT * self.heading_error**2
            + PATH_WEIGHT * self.lateral_error**2
            + SIDE_SPEED_WEIGHT * side_speed**2
            + SPEED_WEIGHT * speed**2
        )


def level_rotation(vectors: Array, angles: Array) -> Array:
    """Level vectors turned counter-clockwise. Shape=(n, 2), (n,) → (n, 2)."""
    cosine, sine = np.cos(angles), np.sin(angles)
    x, y = vectors.T
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1)


@dataclass(frozen=True)
class Cycles:
    """Means over full gait cycles. Shape=(num_cycles, 3) each: forward speed, side speed, yaw rate.

    Attributes:
        measured: Of the robot, in its own heading.
        commanded: What it was to do.
    """

    measured: Array
    commanded: Array

    @property
    def errors(self) -> Array:
        """Measured minus commanded. Shape=(num_cycles, 3)."""
        return self.measured - self.commanded


def gait_cycles(walk: Walk, first_tick: int = SETTLING_IN_TICKS) -> Cycles:
    """The full gait cycles of a walk from a tick on, until its end or the fall."""
    count = max(0, (walk.end - first_tick) // CYCLE_TICKS)
    ticks = min(first_tick, walk.end) + CYCLE_TICKS * np.arange(count + 1)
    middle = 0.5 * (walk.yaw[1:] + walk.yaw[:-1])
    steps = level_rotation(np.diff(walk.position[:, :2], axis=0), -middle)
    way = np.concatenate([np.zeros((1, 3)), np.cumsum(np.column_stack([steps, np.diff(walk.yaw)]), axis=0)])
    duration_s = CYCLE_TICKS * CONTROL_PERIOD_S
    commanded = [walk.commands[tick + 1 : tick + CYCLE_TICKS + 1].mean(axis=0) for tick in ticks[:-1]]
    return Cycles(np.diff(way[ticks], axis=0) / duration_s, np.array(commanded).reshape(count, 3))


def recovery_cost(walk: Walk, first_tick: int, num_ticks: int = COST_WINDOW_TICKS) -> float:
    """Summed cost of the ticks after ``first_tick``; a fall among them ends the sum and costs :data:`FALL_COST`."""
    last = first_tick + num_ticks
    fell = walk.fall_tick is not None and walk.fall_tick <= last
    return float(walk.cost[first_tick + 1 : min(last, walk.end) + 1].sum()) + (FALL_COST if fell else 0.0)


def is_recovery_recorded(walk: Walk, first_tick: int, num_ticks: int = COST_WINDOW_TICKS) -> bool:
    """Whether the walk goes on for as long as a recovery is judged, or ends by a fall: one cut short looks better."""
    return walk.fall_tick is not None or walk.end >= first_tick + num_ticks


def settle_time_s(walk: Walk, first_tick: int, num_ticks: int = COST_WINDOW_TICKS) -> float:
    """Time from a tick until the robot is upright, on its heading and free of side speed for good; 0 if it always was.

    At most ``num_ticks`` are looked at; one who has not settled then gets their whole length.
    """
    unsettled = disturbed(walk)[first_tick + 1 : first_tick + num_ticks + 1]
    ticks = np.flatnonzero(unsettled)
    return CONTROL_PERIOD_S * (int(ticks[-1]) + 1) if ticks.size else 0.0


def disturbed(walk: Walk) -> npt.NDArray[np.bool_]:
    """Whether roll, heading or side speed are beyond what counts as settled. Shape=(num_ticks + 1,)."""
    return np.asarray(
        (np.abs(walk.posture_error[:, 0]) > SETTLED_ROLL_RAD)
        | (np.abs(walk.heading_error) > SETTLED_HEADING_RAD)
        | (np.abs(walk.body_velocity[:, 1] - walk.commands[:, 1]) > SETTLED_SIDE_SPEED_M_S)
    )


def calm_cost(walk: Walk, first_tick: int = SETTLING_IN_TICKS) -> float | None:
    """Mean cost of walking, per :data:`COST_WINDOW_TICKS`, with a fall's cost on top; None if nothing is judged."""
    ticks = walk.cost[first_tick + 1 : walk.end + 1]
    if not ticks.size and walk.fall_tick is None:
        return None
    mean = float(ticks.mean()) if ticks.size else 0.0
    return COST_WINDOW_TICKS * mean + (FALL_COST if walk.fall_tick is not None else 0.0)
