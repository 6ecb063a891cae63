"""The loops of a driver node: in (scaled) real time, or in lockstep with the answers."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from demo_control.drivers.pacing import Pacer

# A signal, or the emergency stop, is noticed after at most this long.
_SLICE_S = 0.02


class Driver(Protocol):
    """What a loop needs of a driver."""

    @property
    def answered(self) -> int:
        """The newest observation that has been answered."""
        ...

    @property
    def answer_limit_s(self) -> float:
        """Wall time that lockstep waits for an answer."""
        ...

    @property
    def tick(self) -> int:
        """Number of the newest observation."""
        ...

    def start(self, now_ns: Callable[[], int]) -> None:
        """Begin, with tick 0; ``now_ns`` is the driver's own time."""
        ...

    @property
    def lead_ns(self) -> int:
        """How long before a tick, in the driver's own time, its work can begin."""
        ...

    @property
    def is_settled(self) -> bool:
        """Whether that work can begin at once: the newest observation is answered, and the robot need not be asked."""
        ...

    def prepare(self) -> None:
        """Do the work for the next tick; called at most once between two ticks."""
        ...

    def advance(self, ticks: int, lateness_s: float) -> bool:
        """Go on by control periods, that late by the wall clock; returns whether the run goes on."""
        ...

    def miss_answer(self) -> None:
        """No answer came in time."""
        ...


Spin = Callable[[float], None]
"""Handles at most one callback, waiting for it up to a number of seconds."""


class StopRequest:
    """Becomes true on SIGINT or SIGTERM, so that a node ends between two ticks and not within one."""

    def __init__(self) -> None:
        self._requested = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def request(self) -> None:
        """Become true for another reason."""
        self._requested = True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Remember."""
        self._requested = True

    def __bool__(self) -> bool:
        return self._requested


def run_paced(driver: Driver, spin: Spin, stop: StopRequest, period_ns: int, factor: float) -> None:
    """Give a driver its ticks at absolute deadlines of the steady clock.

    Args:
        driver: Its own time runs ``factor`` times as fast as the steady clock.
        spin: Handles what arrives between the ticks.
        stop: Ends the loop.
        period_ns: Control period in the driver's own time.
        factor: Speed.
    """
    pacer = Pacer(time.monotonic_ns(), period_ns, factor)
    driver.start(lambda: pacer.own_time_ns(time.monotonic_ns()))
    lead_ns = round(driver.lead_ns / factor)
    is_prepared, goes_on = False, True
    while goes_on and not stop:
        due_ns = pacer.due_ns(pacer.tick + 1)
        wait_s = (due_ns - (0 if is_prepared else lead_ns) - time.monotonic_ns()) / 1e9
        # Without time to wait, too: a command that came during the work before is in time if it is heard now.
        spin(0.0 if driver.is_settled and not is_prepared else min(max(0.0, wait_s), _SLICE_S))
        now_ns = time.monotonic_ns()
        if not is_prepared and now_ns < due_ns and (due_ns - lead_ns <= now_ns or driver.is_settled):
            driver.prepare()
            is_prepared = True
            continue
        ticks = pacer.advance(now_ns)
        if ticks:
            first_due_ns = pacer.due_ns(pacer.tick - ticks + 1)
            goes_on = driver.advance(ticks, (now_ns - first_due_ns) / 1e9)
            is_prepared = False


def run_in_lockstep(driver: Driver, spin: Spin, stop: StopRequest, period_ns: int) -> None:
    """Give a driver its next tick as soon as its newest observation is answered, or the limit is over.

    A command arrives at the instant of the observation that it answers, in the driver's own time.

    Args:
        driver: Its own time stands still between ticks.
        spin: Handles what arrives.
        stop: Ends the loop.
        period_ns: Control period in the driver's own time.
    """
    driver.start(lambda: driver.tick * period_ns)
    goes_on = True
    while goes_on and not stop:
        deadline_s = time.monotonic() + driver.answer_limit_s
        while driver.answered < driver.tick and not stop:
            wait_s = deadline_s - time.monotonic()
            if wait_s <= 0.0:
                driver.miss_answer()
                break
            spin(min(wait_s, _SLICE_S))
        goes_on = not stop and driver.advance(1, 0.0)
