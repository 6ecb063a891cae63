"""A simulated robot behind a driver: wire, driver core and plant, one control period at a time.

Knows no ROS. Its time line is the driver's: nanoseconds, control period k begins at k × period.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np

from demo_control.drivers.core import Command, DriverCore, DriverState, Output
from demo_control.drivers.imperfections import Wire
from demo_control.drivers.robot import PeriodReport, Robot
from demo_control.drivers.settings import DriverSettings
from demo_control.tasks import Array


def make_wire(generator: np.random.Generator, settings: DriverSettings, extra_delay_s: float = 0.0) -> Wire[Command]:
    """The wire of the settings, with a delay on top."""
    delay_s = settings.wire_delay_s + extra_delay_s
    return Wire(generator, delay_s, settings.wire_jitter_s, settings.wire_loss, settings.wire_duplication)


class SimulatedRobot(Robot):
    """A robot that is held at its start until the first valid command.

    Args:
        core: Judges the commands.
        wire: Carries them.
        period_ns: Control period.
        substeps: Parts of a period at whose ends a command can take effect.
    """

    knows_truth = True

    def __init__(self, core: DriverCore, wire: Wire[Command], period_ns: int, substeps: int) -> None:
        # A command that arrives so shortly before the period's end rounds to the next one: nothing waits for it.
        super().__init__(core, period_ns, lead_ns=period_ns // (2 * substeps))
        self.wire = wire
        self._substeps = substeps
        self._answered = -1
        self._sensed = np.zeros(0)

    @property
    def frozen(self) -> bool:
        """Whether the plant is no longer simulated, though time goes on."""
        return self.core.state is DriverState.FAULT

    def is_settled(self, tick: int) -> bool:
        """See :class:`Robot`; not where the command in force expires, which one that still comes may prevent."""
        expires_ns = self.core.expires_ns
        return self._answered == tick and (expires_ns is None or expires_ns >= (tick + 1) * self._period_ns)

    @abstractmethod
    def _read(self) -> Array:
        """What the sensors say now. Shape=(observation_dim,)."""

    @abstractmethod
    def _begin_period(self) -> None:
        """Set what acts from outside in the period that is about to be simulated."""

    @abstractmethod
    def _advance(self, action: Array, substeps: int) -> None:
        """Simulate a part of a period with one action, which may be no part at all."""

    @abstractmethod
    def _watch(self, now_ns: int) -> None:
        """Find out whether the robot can go on, and tell the core if it cannot."""

    def sense(self) -> Array:
        """A new reading of the sensors. Shape=(observation_dim,)."""
        self._sensed = self._read()
        return self._sensed

    def counts_from_ns(self, came_ns: int, read_ns: int) -> int:
        """See :class:`Robot`: what was busy when it came is the simulator, in whose time it is not too late."""
        return came_ns

    def deliver(self, command: Command, now_ns: int) -> None:
        """Put a command on the wire; it is judged when it arrives at its end."""
        if self.core.would_accept(command, now_ns):
            # A rival's does not count: the one that is carried out is still to come.
            self._answered = command.observation_sequence
        self.wire.send(command, now_ns)

    def counters(self) -> Mapping[str, object]:
        """What the wire did."""
        return {"wire_lost": self.wire.lost, "wire_duplicated": self.wire.duplicated}

    def run_period(self, start_ns: int) -> PeriodReport:
        """Simulate the control period that began at ``start_ns``, each command taking effect when it arrived.

        May be called from :attr:`lead_ns` before the period's end on, and earlier where the period :meth:`is_settled`.
        """
        was_held = self.held
        before = self.core.output
        outputs = self._decide(start_ns)
        if self.held:
            return PeriodReport((), released=False)
        self.periods_run += 1
        if self.frozen:
            return PeriodReport((), released=False)
        self._begin_period()
        cursor, action = 0, before.values
        for output in outputs:
            # Delays round to the nearest substep.
            substep = round((output.time_ns - start_ns) * self._substeps / self._period_ns)
            self._advance(action, substep - cursor)
            cursor, action = substep, output.values
        self._advance(action, self._substeps - cursor)
        self._watch(start_ns + self._period_ns)
        if not outputs:
            outputs = [
                Output(start_ns, before.values, before.source, before.observation_sequence, before.observation_stamp_ns)
            ]
        return PeriodReport(tuple(outputs), released=was_held)

    def _decide(self, start_ns: int) -> list[Output]:
        """Have the core judge what arrives in a period; the outputs that this leads to, in order."""
        end_ns = start_ns + self._period_ns - self.lead_ns
        outputs = []
        if self.core.state is DriverState.STOPPED:
            outputs.append(self.core.tick(start_ns, self._sensed))
        for arrival_ns, command in self.wire.receive(end_ns):
            # What arrived between two periods, or before the driver looked, takes effect at the start.
            now_ns = max(arrival_ns, start_ns)
            outputs += self._expire(now_ns)
            if self.core.offer(command, now_ns) is None:
                outputs.append(self.core.output)
        outputs += self._expire(end_ns - 1)
        return outputs

    def _expire(self, until_ns: int) -> list[Output]:
        """The start of the safe stop if the command times out before a time, else nothing."""
        expires_ns = self.core.expires_ns
        if expires_ns is None or expires_ns > until_ns:
            return []
        return [self.core.tick(expires_ns, self._sensed)]
