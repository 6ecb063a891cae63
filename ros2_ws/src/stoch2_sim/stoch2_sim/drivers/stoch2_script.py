"""What Stoch2 does by itself in a bring-up, so that a newcomer sees it walk: states, speeds and pushes over time."""

from __future__ import annotations

import math

import numpy as np

from demo_control.drivers.walking import Request, Walking, WalkingSettings
from demo_control.tasks import Array
from stoch2_sim.drivers.stoch2_settings import Stoch2DriverSettings

SPEEDS = (
    (3.0, 0.30, 0.0),
    (3.0, 0.45, 0.0),
    (3.5, 0.30, 0.3),
    (3.5, 0.30, -0.3),
    (3.0, 0.15, 0.0),
)
"""Duration in s, forward speed in m/s and yaw rate in rad/s; again from the first after the last."""

_STANDING_AT_THE_END_S = 0.3
# Pushes come at any moment of the gait's cycle.
_CYCLE_S = 0.4


class Script:
    """Stand up, walk, stop in time; changing speeds unless the settings name one.

    Args:
        settings: Of the driver.
        walking: How long the changes of state take.
    """

    def __init__(self, settings: Stoch2DriverSettings, walking: WalkingSettings) -> None:
        self.active = settings.autonomous
        self._constant = settings.constant_command()
        stopping_s = walking.brake_s + walking.stop_s + _STANDING_AT_THE_END_S
        self._stop_s = settings.duration_s - stopping_s if settings.duration_s else math.inf

    def due(self, state: Walking, time_s: float) -> Request | None:
        """What is to be asked for now.

        Args:
            state: What the robot is doing.
            time_s: Since the run's start.
        """
        if not self.active:
            return None
        if time_s >= self._stop_s - 1e-9:
            return Request.STOP if state is Walking.WALKING else None
        return {Walking.SITTING: Request.STAND_UP, Walking.STANDING: Request.WALK}.get(state)

    def speeds(self, walked_s: float) -> tuple[float, float, float]:
        """Forward speed, lateral speed and yaw rate.

        Args:
            walked_s: Since the walk's start.
        """
        if not self.active:
            return 0.0, 0.0, 0.0
        if self._constant is not None:
            return self._constant[0], 0.0, self._constant[1]
        rest_s = math.fmod(walked_s, sum(duration_s for duration_s, _, _ in SPEEDS))
        for duration_s, forward, turn in SPEEDS:
            if rest_s < duration_s:
                return forward, 0.0, turn
            rest_s -= duration_s
        return 0.0, 0.0, 0.0


class CommandSource:
    """Where the commanded velocity comes from: the script, until somebody publishes one.

    Args:
        script: The script.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._outside: tuple[tuple[float, float, float], float] | None = None
        self.received = 0

    def receive(self, velocity: tuple[float, float, float], time_s: float) -> None:
        """Take over a velocity from outside: forward, lateral, yaw rate."""
        self._outside = velocity, time_s
        self.received += 1

    def request(self, walks: bool, walked_s: float, time_s: float) -> tuple[Array, Array]:
        """What is asked of the robot at a time.

        Args:
            walks: Whether it walks; otherwise nothing is asked.
            walked_s: Since the walk's start.
            time_s: On the time line of :meth:`receive`.

        Returns:
            Forward speed, lateral speed and yaw rate, Shape=(1, 3), and their age in s, Shape=(1,).
        """
        if not walks:
            return np.zeros((1, 3)), np.zeros(1)
        if self._outside is None:
            return np.array([self._script.speeds(walked_s)]), np.zeros(1)
        velocity, received_s = self._outside
        return np.array([velocity]), np.array([time_s - received_s])


class Pushes:
    """Pushes on the walking robot: the script's, from alternating sides, and those somebody asks for.

    Args:
        settings: Strength, duration and time between the script's pushes.
        generator: Draws the first side, and when in its cycle the gait is hit.
    """

    def __init__(self, settings: Stoch2DriverSettings, generator: np.random.Generator) -> None:
        self._settings = settings
        self._generator = generator
        self._side = 1.0 if generator.random() < 0.5 else -1.0  # noqa: PLR2004 - a fair coin
        self._next_s = settings.push_every_s + generator.uniform(0.0, _CYCLE_S)
        self._walked_s = 0.0
        self._pushes: list[tuple[float, Array]] = []
        self.count = 0

    def add(self, force_n: Array, time_s: float) -> None:
        """Push from a time on.

        Args:
            force_n: In the heading frame: forward, left, up. Shape=(3,).
            time_s: Since the run's start.
        """
        self._pushes.append((time_s, force_n))
        self.count += 1

    def follow_script(self, walked_s: float, time_s: float) -> None:
        """Push if the script says so; call at every tick of walking."""
        if walked_s < self._walked_s:  # another walk
            self._schedule_next(0.0)
        self._walked_s = walked_s
        if self._settings.push_n and walked_s >= self._next_s:
            self.add(np.array([0.0, self._side * self._settings.push_n, 0.0]), time_s)
            self._side = -self._side
            self._schedule_next(walked_s)

    def _schedule_next(self, walked_s: float) -> None:
        whole = round(walked_s / self._settings.push_every_s) + 1
        self._next_s = whole * self._settings.push_every_s + self._generator.uniform(0.0, _CYCLE_S)

    def force_n(self, time_s: float) -> Array:
        """The force in the control period that begins at a time; heading frame. Shape=(3,)."""
        if not self._pushes:
            return np.zeros(3)
        self._pushes = [push for push in self._pushes if time_s < push[0] + self._settings.push_s - 1e-9]
        return sum((force for _, force in self._pushes), np.zeros(3))
