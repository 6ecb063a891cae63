"""Absolute deadlines on a clock that never jumps, so that a control loop neither drifts nor bursts."""

from __future__ import annotations


class Pacer:
    """Turns wall time into ticks of a control loop.

    Tick k is due at ``start + k × period / factor``. A loop that comes too late drops the ticks it has missed.

    Args:
        start_ns: The steady clock now: when tick 0 is due.
        period_ns: Control period in the loop's own time.
        factor: How much faster than the wall clock the loop's own time runs.
    """

    def __init__(self, start_ns: int, period_ns: int, factor: float) -> None:
        self._start_ns = start_ns
        self._period_ns = period_ns
        self._factor = factor
        self.tick = 0

    def due_ns(self, tick: int) -> int:
        """When a tick is due by the steady clock."""
        return self._start_ns + round(tick * self._period_ns / self._factor)

    def own_time_ns(self, now_ns: int) -> int:
        """The loop's own time since its start at a time of the steady clock."""
        return round((now_ns - self._start_ns) * self._factor)

    def advance(self, now_ns: int) -> int:
        """Go to the newest tick that is due.

        Returns:
            By how many ticks: 0 if the next one is not due yet, more than 1 if ticks were missed.
        """
        elapsed = int((now_ns - self._start_ns) * self._factor) // self._period_ns
        # Rounding must not hold back a tick whose deadline has come.
        newest = elapsed + 1 if self.due_ns(elapsed + 1) <= now_ns else elapsed
        ticks = max(0, newest - self.tick)
        self.tick += ticks
        return ticks
