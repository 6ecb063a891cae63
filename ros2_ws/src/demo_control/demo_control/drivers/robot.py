"""What the driver node asks of a robot, simulated or real."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from demo_control.drivers.core import Command, DriverCore, DriverState, Output
from demo_control.drivers.running import Spin
from demo_control.tasks import Array


@dataclass(frozen=True)
class PeriodReport:
    """What happened in one control period.

    Attributes:
        outputs: What the actuators got, in the order of taking effect; empty while the robot is held.
        released: Whether the run began in this period.
    """

    outputs: tuple[Output, ...]
    released: bool


class Robot(ABC):
    """A robot behind a driver node, one control period at a time.

    The node's time line is nanoseconds from its start; control period k begins at k × period. In each period the node
    calls :meth:`sense` at its beginning, :meth:`deliver` for each command that arrives, and :meth:`run_period` once,
    not earlier than :attr:`lead_ns` before its end unless the period :meth:`is_settled`.

    Args:
        core: Judges the commands.
        period_ns: Control period.
        lead_ns: Commands that arrive so shortly before a period's end count for the next one.
    """

    knows_truth = False
    """Whether :meth:`true_observation` is what really is, not only what is measured."""

    def __init__(self, core: DriverCore, period_ns: int, lead_ns: int) -> None:
        self.core = core
        self.lead_ns = lead_ns
        self.periods_run = 0
        self._period_ns = period_ns

    @property
    def period_s(self) -> float:
        """Control period."""
        return self._period_ns / 1e9

    @property
    def time_s(self) -> float:
        """Time since the run's beginning."""
        return self.periods_run * self.period_s

    def is_settled(self, tick: int) -> bool:
        """Whether the period that began with a tick may be run at once, because its command is here.

        What arrives afterwards counts for the next one.
        """
        return False

    @property
    def held(self) -> bool:
        """Whether the run has not begun: the robot is held, or its actuators are off."""
        return self.core.state is DriverState.WAITING

    @property
    def failure(self) -> str:
        """Why the robot cannot go on, or ''."""
        return self.core.reason if self.core.state is DriverState.FAULT else ""

    @abstractmethod
    def true_observation(self) -> Array:
        """The true state in the observation's coordinates, or the measured one. Shape=(observation_dim,)."""

    @abstractmethod
    def sense(self) -> Array:
        """A new reading of the sensors. Shape=(observation_dim,)."""

    def counts_from_ns(self, came_ns: int, read_ns: int) -> int:
        """From when on a command counts that came at one time and could be read at another: from when it can act."""
        return read_ns

    @abstractmethod
    def deliver(self, command: Command, now_ns: int) -> None:
        """Take a command that arrives now, or came a while ago."""

    @abstractmethod
    def run_period(self, start_ns: int) -> PeriodReport:
        """Complete the control period that began at ``start_ns``."""

    def rest(self, spin: Spin = lambda _timeout_s: None) -> None:  # noqa: B027 - simulated robots need none
        """Bring the robot to rest: nobody gives it its periods any more.

        Args:
            spin: Called in each of the periods that this takes, to hear what comes meanwhile.
        """

    @abstractmethod
    def close(self) -> None:
        """Bring the robot to rest, if it is not, and release it."""

    def counters(self) -> Mapping[str, object]:
        """Counts and figures of what is between driver and robot, for the diagnostics."""
        return {}
