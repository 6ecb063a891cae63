"""How well a driver's loop keeps its time, in a fixed piece of memory."""

from __future__ import annotations

from demo_control.histogram import Histogram


class LoopFigures:
    """Lateness of the ticks, and ages of the commands that answer their observations."""

    def __init__(self) -> None:
        self.tick_lateness = Histogram()
        self.command_ages = Histogram()

    def result(self, period_s: float) -> dict[str, object]:
        """For the figures of a run.

        Args:
            period_s: Control period; older commands are late.
        """
        return {
            "ticks": self.tick_lateness.count,
            "tick_lateness_ms": self.tick_lateness.milliseconds(),
            "command_age_at_driver_ms": self.command_ages.milliseconds(),
            "late_commands": self.command_ages.above(period_s),
        }
