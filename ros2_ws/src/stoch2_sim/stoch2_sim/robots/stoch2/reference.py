"""What the robot is asked to do: commands it can follow, and the moving reference that they draw.

Commands are forward speed, lateral speed (to the left) and yaw rate, of the robot's heading. The reference is a point
with a heading that moves as commanded; the robot's distance from it is what makes tracking free of lasting errors. The
reference waits for a robot that cannot follow: it is on a leash.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Settings, setting
from stoch2_sim.robots.stoch2.attitude import turned, wrapped
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.simulators.protocol import Array, Mask

COMMAND_DIM = 3


@dataclass(frozen=True)
class CommandSettings(Settings):
    """What of a command is passed on to the robot."""

    forward_speed_max_m_s: float = setting(0.6, "Fastest forward speed, m/s", minimum=0.0, maximum=2.0)
    backward_speed_max_m_s: float = setting(0.1, "Fastest backward speed, m/s", minimum=0.0, maximum=2.0)
    lateral_speed_max_m_s: float = setting(0.1, "Fastest lateral speed, m/s", minimum=0.0, maximum=2.0)
    yaw_rate_max_rad_s: float = setting(0.6, "Fastest yaw rate, rad/s", minimum=0.0, maximum=3.0)
    forward_acceleration_m_s2: float = setting(0.8, "Largest change of forward speed, m/s²", minimum=0.01, maximum=20.0)
    lateral_acceleration_m_s2: float = setting(0.4, "Largest change of lateral speed, m/s²", minimum=0.01, maximum=20.0)
    yaw_acceleration_rad_s2: float = setting(1.0, "Largest change of yaw rate, rad/s²", minimum=0.01, maximum=20.0)
    request_timeout_s: float = setting(
        0.5, "A request older than this stands for standstill, s; 0 never does", minimum=0.0, maximum=60.0
    )

    @property
    def minimum(self) -> Array:
        """Smallest commands. Shape=(3,)."""
        return -np.array([self.backward_speed_max_m_s, self.lateral_speed_max_m_s, self.yaw_rate_max_rad_s])

    @property
    def maximum(self) -> Array:
        """Largest commands. Shape=(3,)."""
        return np.array([self.forward_speed_max_m_s, self.lateral_speed_max_m_s, self.yaw_rate_max_rad_s])

    @property
    def acceleration(self) -> Array:
        """Largest change of each command per second. Shape=(3,)."""
        return np.array([self.forward_acceleration_m_s2, self.lateral_acceleration_m_s2, self.yaw_acceleration_rad_s2])


@dataclass(frozen=True)
class LeashSettings(Settings):
    """How far the moving reference may be from the robot."""

    forward_leash_m: float = setting(0.04, "Along the reference's heading, m", minimum=0.001, maximum=1000.0)
    lateral_leash_m: float = setting(0.2, "Across it, m", minimum=0.001, maximum=1000.0)
    heading_leash_rad: float = setting(0.3, "Between the headings, rad; π never pulls", minimum=0.01, maximum=3.15)
    heading_lag_rad: float = setting(
        0.08, "A robot that turns this far behind its command is waited for, rad; π never", minimum=0.01, maximum=3.15
    )


WITHOUT_LEASH = LeashSettings(
    forward_leash_m=1000.0, lateral_leash_m=1000.0, heading_leash_rad=3.15, heading_lag_rad=3.15
)
"""A reference that never waits: what scores measure against."""


class CommandShaper:
    """Makes requests into commands: within limits, changing gently, and zero when the requests stop.

    Args:
        num_robots: Number of robots.
        settings: Limits.
    """

    def __init__(self, num_robots: int, settings: CommandSettings) -> None:
        self._minimum, self._maximum = settings.minimum, settings.maximum
        self._largest_change = CONTROL_PERIOD_S * settings.acceleration
        self._timeout_s = settings.request_timeout_s
        self._commands = np.zeros((num_robots, COMMAND_DIM))

    def reset(self, selected: Mask | None = None) -> None:
        """Start the selected robots, or all, from standstill. Shape=(num_robots,)."""
        self._commands[slice(None) if selected is None else selected] = 0.0

    def update(self, requested: Array, age_s: Array | None = None) -> Array:
        """The commands of this control period.

        Args:
            requested: Forward speed, lateral speed and yaw rate; what is not finite counts as 0.
                Shape=(num_robots, 3).
            age_s: Time since the request was made, s; None for just now. Shape=(num_robots,).

        Returns:
            Shape=(num_robots, 3).
        """
        wanted = np.where(np.isfinite(requested), requested, 0.0)
        if age_s is not None and self._timeout_s > 0.0:
            wanted[age_s > self._timeout_s] = 0.0
        wanted = np.minimum(np.maximum(wanted, self._minimum), self._maximum)
        change = np.minimum(np.maximum(wanted - self._commands, -self._largest_change), self._largest_change)
        self._commands = self._commands + change
        return self._commands


class MovingReference:
    """A point with a heading that moves as commanded.

    Args:
        num_robots: Number of robots.
        settings: Lengths of the leash.
    """

    def __init__(self, num_robots: int, settings: LeashSettings) -> None:
        self._leash = np.array([settings.forward_leash_m, settings.lateral_leash_m])
        self._heading_leash_rad = settings.heading_leash_rad
        self._heading_lag_rad = settings.heading_lag_rad
        self._position = np.zeros((num_robots, 2))
        self._yaw = np.zeros(num_robots)
        self._yaw_error = np.zeros(num_robots)
        self._commands = np.zeros((num_robots, COMMAND_DIM))

    def reset(self, position: Array, yaw: Array, selected: Mask | None = None) -> None:
        """Put the reference where the selected robots, or all, are.

        Args:
            position: World x and y of all robots, m. Shape=(num_robots, 2).
            yaw: Headings of all robots, rad. Shape=(num_robots,).
            selected: Shape=(num_robots,).
        """
        rows = slice(None) if selected is None else selected
        self._position[rows] = position[rows]
        self._yaw[rows] = yaw[rows]
        self._yaw_error[rows] = 0.0
        self._commands[rows] = 0.0

    def advance(self, commands: Array) -> None:
        """Move for one control period, from the commands before to these.

        Args:
            commands: Forward speed, lateral speed and yaw rate. Shape=(num_robots, 3).
        """
        moved = (0.5 * CONTROL_PERIOD_S) * (self._commands + commands)
        # A turn goes on as far as the lag allows; one that shortens the lag always does.
        ahead = np.maximum(self._heading_lag_rad + self._yaw_error, 0.0)
        behind = np.maximum(self._heading_lag_rad - self._yaw_error, 0.0)
        turn = np.minimum(np.maximum(moved[:, 2], -behind), ahead)
        self._position = self._position + turned(moved[:, :2], self._yaw + 0.5 * turn)
        self._yaw = self._yaw + turn
        self._commands = commands

    def errors(self, position: Array, yaw: Array) -> tuple[Array, Array]:
        """Where the robots are, seen from the reference; drags the reference along at the leash's end.

        Args:
            position: World x and y, m. Shape=(num_robots, 2).
            yaw: Headings, rad. Shape=(num_robots,).

        Returns:
            Heading error in [-π, π], Shape=(num_robots,), and forward and lateral error in the reference's heading
            frame, Shape=(num_robots, 2).
        """
        yaw_error = wrapped(yaw - self._yaw)
        held = np.minimum(np.maximum(yaw_error, -self._heading_leash_rad), self._heading_leash_rad)
        self._yaw = self._yaw + (yaw_error - held)
        self._yaw_error = held
        errors = turned(position - self._position, -self._yaw)
        within = np.minimum(np.maximum(errors, -self._leash), self._leash)
        if (errors != within).any():
            self._position = self._position + turned(errors - within, self._yaw)
        return held, within
