"""A verdict on one walk from its true observations alone."""

from __future__ import annotations

import math

from stoch2_sim.robots.stoch2.observation import INDEX
from stoch2_sim.simulators.protocol import Array


class WalkScore:
    """Judges one episode; implements :class:`demo_control.tasks.Score`. Success: the robot has not fallen."""

    def __init__(self) -> None:
        self._time_s = 0.0
        self._failed = False
        self._way_m = 0.0
        self._speed_m_s = 0.0
        self._roll_farthest = 0.0
        self._pitch_farthest = 0.0
        self._lateral_error_m = 0.0
        self._yaw_error_rad = 0.0

    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        """Take in the true observation at ``time_s`` after the episode's start; times must rise.

        Args:
            time_s: Time since the start.
            observation: Shape=(25,).
            failed: Whether the robot has fallen.
        """
        x = {name: float(observation[index]) for name, index in INDEX.items()}
        yaw = x["yaw_error"]
        speed = x["forward_velocity"] * math.cos(yaw) - x["lateral_velocity"] * math.sin(yaw)
        self._way_m += 0.5 * (self._speed_m_s + speed) * (time_s - self._time_s)
        self._speed_m_s, self._time_s = speed, time_s
        self._roll_farthest = max(self._roll_farthest, abs(x["roll"] - x["support_roll"]))
        self._pitch_farthest = max(self._pitch_farthest, abs(x["pitch"] - x["support_pitch"]))
        self._lateral_error_m, self._yaw_error_rad = x["lateral_error"], yaw
        self._failed = self._failed or failed

    def result(self) -> dict[str, float | bool]:
        """The verdict so far.

        Returns:
            ``success``; ``duration_s``; ``distance_m``, the way made along the commanded heading; ``lateral_error_m``
            and ``yaw_error_rad`` at the end; ``roll_farthest_rad`` and ``pitch_farthest_rad``, the greatest angles
            between body and ground.
        """
        return {
            "success": not self._failed,
            "duration_s": self._time_s,
            "distance_m": self._way_m,
            "lateral_error_m": self._lateral_error_m,
            "yaw_error_rad": self._yaw_error_rad,
            "roll_farthest_rad": self._roll_farthest,
            "pitch_farthest_rad": self._pitch_farthest,
        }
