"""The observation of a walking Stoch2: its 25 entries, and how a body's state becomes one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from demo_control.tasks import Quantity
from stoch2_sim.robots.stoch2.gait import ACTION_NAMES
from stoch2_sim.robots.stoch2.reference import COMMAND_DIM, LeashSettings, MovingReference
from stoch2_sim.simulators.protocol import Array, Mask

_ANGLES = tuple(
    Quantity(f"{name}{when}", "rad", -limit, limit)
    for when in ("_2_ticks_ago", "_1_tick_ago", "")
    for name, limit in (("roll", 0.6), ("pitch", 0.7), ("yaw_error", 1.0))
)

OBSERVATION = (
    *_ANGLES,
    Quantity("support_roll", "rad", -0.4, 0.4),
    Quantity("support_pitch", "rad", -0.4, 0.4),
    Quantity("roll_rate", "rad/s", -5.0, 5.0),
    Quantity("pitch_rate", "rad/s", -5.0, 5.0),
    Quantity("yaw_rate", "rad/s", -5.0, 5.0),
    Quantity("forward_velocity", "m/s", -1.5, 1.5),
    Quantity("lateral_velocity", "m/s", -1.5, 1.5),
    Quantity("vertical_velocity", "m/s", -1.0, 1.0),
    Quantity("height", "m", 0.1, 0.4),
    Quantity("phase_sine", "1", -1.0, 1.0),
    Quantity("phase_cosine", "1", -1.0, 1.0),
    Quantity("forward_error", "m", -0.5, 0.5),
    Quantity("lateral_error", "m", -0.5, 0.5),
    Quantity("forward_command", "m/s", -0.6, 0.6),
    Quantity("lateral_command", "m/s", -0.3, 0.3),
    Quantity("yaw_rate_command", "rad/s", -1.0, 1.0),
)
"""Angles of three ticks, of which the yaw is relative to the moving reference; the ground's inclination; body rates;
velocity in the heading frame; height over the ground's plane; the gait's clock; position relative to the moving
reference in its heading frame; commands. The first eleven are what the policy of the paper sees."""

ACTION = tuple(Quantity(name, "1", -1.0, 1.0) for name in ACTION_NAMES)
"""The paper's normalised action: five groups of one number for each leg."""

INDEX = {quantity.name: index for index, quantity in enumerate(OBSERVATION)}
POLICY_DIM = INDEX["support_pitch"] + 1
"""So many leading entries are what the policy of the paper sees."""

_NUM_ANGLES = 3
_LATEST = slice(INDEX["roll"], INDEX["yaw_error"] + 1)


@dataclass(frozen=True)
class BodyState:
    """How several robots stand and move, measured or true.

    Attributes:
        angles: Roll, pitch and yaw, rad. Shape=(num_robots, 3).
        angular_velocity: Body axes, rad/s. Shape=(num_robots, 3).
        velocity: Of the trunk's origin in the heading frame, m/s. Shape=(num_robots, 3).
        height: Distance of the trunk's origin from the ground's plane, m. Shape=(num_robots,).
        support: Roll and pitch of the ground in the robot's heading, rad. Shape=(num_robots, 2).
        position: World x and y, m. Shape=(num_robots, 2).
    """

    angles: Array
    angular_velocity: Array
    velocity: Array
    height: Array
    support: Array
    position: Array


class ObservationBuilder:
    """Makes observations of body states: keeps the angles of the ticks before and the moving reference.

    Args:
        num_robots: Number of robots.
        leash: How far the reference may be from the robot.
    """

    def __init__(self, num_robots: int, leash: LeashSettings) -> None:
        self._reference = MovingReference(num_robots, leash)
        self._history = np.zeros((num_robots, 2 * _NUM_ANGLES))
        self._is_new: Mask = np.ones(num_robots, dtype=bool)

    def reset(self, position: Array, yaw: Array, selected: Mask | None = None) -> None:
        """Forget the past of the selected robots, or of all, and put the reference where they are.

        Args:
            position: World x and y of all robots, m. Shape=(num_robots, 2).
            yaw: Headings of all robots, rad. Shape=(num_robots,).
            selected: Shape=(num_robots,).
        """
        self._reference.reset(position, yaw, selected)
        self._is_new[slice(None) if selected is None else selected] = True

    def build(self, state: BodyState, phases: Array, commands: Array) -> Array:
        """The observation of one control tick; ticks must follow one another.

        Args:
            state: Of the robots.
            phases: Phase of the gait, cycles. Shape=(num_robots,).
            commands: Forward speed, lateral speed and yaw rate in force. Shape=(num_robots, 3).

        Returns:
            Shape=(num_robots, 25).
        """
        self._reference.advance(commands)
        yaw_error, errors = self._reference.errors(state.position, state.angles[:, 2])
        angle = 2.0 * math.pi * phases
        observations = np.empty((len(phases), len(OBSERVATION)))
        observations[:, :6] = self._history
        observations[:, 6:8] = state.angles[:, :2]
        observations[:, 8] = yaw_error
        observations[:, 9:11] = state.support
        observations[:, 11:14] = state.angular_velocity
        observations[:, 14:17] = state.velocity
        observations[:, 17] = state.height
        observations[:, 18] = np.sin(angle)
        observations[:, 19] = np.cos(angle)
        observations[:, 20:22] = errors
        observations[:, 22 : 22 + COMMAND_DIM] = commands
        if self._is_new.any():
            # Before its first tick the robot has been standing as it stands now.
            observations[self._is_new, :6] = np.tile(observations[self._is_new, _LATEST], 2)
            self._is_new[:] = False
        self._history = observations[:, _NUM_ANGLES : 3 * _NUM_ANGLES]
        return observations
