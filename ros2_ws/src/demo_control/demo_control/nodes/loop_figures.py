"""How well a driver's loop keeps its time, in a fixed piece of memory."""

from __future__ import annotations

import time

from demo_control.histogram import Histogram

_MOST_OVERRUNS = 1000


class LoopFigures:
    """Lateness of the ticks, and ages of the commands that answer their observations.

    Args:
        period_s: Control period; a command that is older is late, and a tick that is that late is missed.
        times_overruns: Whether it is noted when each overrun was, by the steady clock, for who looks for its reason.
    """

    def __init__(self, period_s: float, *, times_overruns: bool) -> None:
        self._period_s = period_s
        self._times_overruns = times_overruns
        self._overruns: list[tuple[float, float, int]] = []
        self.missed_ticks = 0
        self.tick_lateness = Histogram()
        self.command_ages = Histogram()

    def add_tick(self, lateness_s: float, missed: int) -> None:
        """Count a tick that comes now.

        Args:
            lateness_s: Since it was due; since the first one was due if others are left out.
            missed: How many are left out.
        """
        self.missed_ticks += missed
        self.tick_lateness.add(lateness_s)
        if missed:
            self._note(lateness_s, 0.0, missed)

    def add_command(self, age_s: float, ago_s: float = 0.0) -> None:
        """Count a command that answers an observation.

        Args:
            age_s: When it came.
            ago_s: How long ago that was.
        """
        self.command_ages.add(age_s)
        if age_s > self._period_s:
            self._note(age_s, ago_s, 1)

    def _note(self, duration_s: float, ago_s: float, count: int) -> None:
        if self._times_overruns and len(self._overruns) < _MOST_OVERRUNS:
            until_s = time.monotonic() - ago_s
            self._overruns.append((until_s - duration_s, until_s, count))

    def result(self) -> dict[str, object]:
        """For the figures of a run; ``late_from_until``: each overrun's beginning, end (steady clock, s) and number."""
        return {
            "ticks": self.tick_lateness.count,
            "missed_ticks": self.missed_ticks,
            "worst_lateness_ms": 1e3 * self.tick_lateness.longest_s,
            "tick_lateness_ms": self.tick_lateness.milliseconds(),
            "command_age_at_driver_ms": self.command_ages.milliseconds(),
            "late_commands": self.command_ages.above(self._period_s),
            "late_from_until": [
                (round(begin_s, 6), round(end_s, 6), count) for begin_s, end_s, count in self._overruns
            ],
        }
