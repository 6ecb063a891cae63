"""The figures of a run of Stoch2, from its true states, in constant memory however long it walks."""

from __future__ import annotations

import math

import numpy as np

from demo_control.tasks import Array
from stoch2_sim.robots.stoch2.walk_metrics import CYCLE_TICKS, SETTLING_IN_TICKS


class WalkFigures:
    """Adds up distance and, over full gait cycles from one second of walking on, the errors against the commands.

    The same definitions as in :mod:`stoch2_sim.robots.stoch2.walk_metrics`.

    Args:
        period_s: Control period.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._last: tuple[float, float, float] | None = None
        self._ticks = 0
        self._cycle = np.zeros((2, 3))
        self._squares = np.zeros(3)
        self._forward = np.zeros(2)
        self._cycles = 0
        self.walked_ticks = 0
        self.distance_m = 0.0
        self.fell = False
        self.failed = False
        """Whether anything else ended the run before its time: a servo's overload, the emergency stop."""

    def rest(self) -> None:
        """The robot does not walk at this tick."""
        self._last = None

    def walk(self, x: float, y: float, yaw: float, commands: Array) -> None:
        """The robot walks.

        Args:
            x: True position, world, m.
            y: The same.
            yaw: True heading, rad; any turn.
            commands: Forward speed, lateral speed and yaw rate in force. Shape=(3,).
        """
        if self._last is None:
            self._last, self._ticks = (x, y, yaw), 0
            self._cycle[:] = 0.0
            return
        last_x, last_y, last_yaw = self._last
        turn = math.remainder(yaw - last_yaw, 2.0 * math.pi)
        middle = last_yaw + 0.5 * turn
        cosine, sine = math.cos(middle), math.sin(middle)
        forward = cosine * (x - last_x) + sine * (y - last_y)
        self._last = x, y, yaw
        self._ticks += 1
        self.walked_ticks += 1
        self.distance_m += forward
        if self._ticks <= SETTLING_IN_TICKS:
            return
        self._cycle[0] += forward, cosine * (y - last_y) - sine * (x - last_x), turn
        self._cycle[1] += commands
        if (self._ticks - SETTLING_IN_TICKS) % CYCLE_TICKS == 0:
            self._end_cycle()

    def _end_cycle(self) -> None:
        """Add up a full gait cycle."""
        self._cycle[0] /= self._period_s
        measured, commanded = self._cycle / CYCLE_TICKS
        self._squares += (measured - commanded) ** 2
        self._forward += measured[0], commanded[0]
        self._cycles += 1
        self._cycle[:] = 0.0

    def result(self) -> dict[str, float | bool | None]:
        """``success`` (it walked, neither fell nor failed), distance, errors; those are None before a full cycle."""
        count = self._cycles
        root = [math.sqrt(square / count) if count else None for square in self._squares]
        speed, commanded = (float(value / count) if count else None for value in self._forward)
        return {
            "success": self.walked_ticks > 0 and not (self.fell or self.failed),
            "falls": int(self.fell),
            "walked_s": self.walked_ticks * self._period_s,
            "distance_m": self.distance_m,
            "speed_m_s_mean": speed,
            "speed_command_m_s_mean": commanded,
            "speed_error_rms": root[0],
            "lateral_speed_error_rms": root[1],
            "yaw_rate_error_rms": root[2],
        }
