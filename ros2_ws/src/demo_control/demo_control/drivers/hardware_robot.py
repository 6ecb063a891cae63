"""A real robot behind the driver node: states, limits and faults around its bus, the same for every robot.

In each control period the bus is read once, at its beginning, and written once: as soon as a command arrives, or
shortly before the period's end if none does.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.drivers.core import Command, DriverCore, DriverState, Output
from demo_control.drivers.hardware_settings import HardwareSettings
from demo_control.drivers.joint_guard import Guarded, JointGuard
from demo_control.drivers.robot import PeriodReport, Robot
from demo_control.drivers.running import Spin
from demo_control.drivers.safety import Safety, SafetyMachine, SafetyRequest
from demo_control.hardware.bus import Bus, BusError, PartialReadingError, Reading
from demo_control.hardware.composite import first_reading, open_bus
from demo_control.hardware.reading_problem import reading_problem
from demo_control.hardware.wiring import Wiring
from demo_control.tasks import Array

# Commands that arrive later than this before the next period wait for it: writing them takes time, too.
_LEAD_SHARE = 0.2
# What keeps a robot from arming by itself for longer will not end by itself: its devices are gone, or it lies badly.
_ARMING_LIMIT_S = 10.0


@dataclass(frozen=True)
class SentCommand:
    """What the joints were told.

    Attributes:
        guarded: The command before and after the limits.
        sent: What went out; not a number where nothing did. Shape=(num_commanded,).
        output: The action's share in it.
    """

    guarded: Guarded
    sent: Array
    output: Output


class HardwareRobot(Robot):
    """A robot on a bus.

    Args:
        core: Judges the commands.
        wiring: Of the robot.
        joints: Names of all its joints in the robot's own order; those that are commanded in the same order.
        settings: Of the hardware.
        period_ns: Control period.
        bus: Instead of the wiring's own.

    Raises:
        ConfigurationError: A joint is not wired, or the bus cannot be connected.
    """

    def __init__(
        self,
        core: DriverCore,
        wiring: Wiring,
        joints: Sequence[str],
        settings: HardwareSettings,
        period_ns: int,
        bus: Bus | None = None,
    ) -> None:
        super().__init__(core, period_ns, lead_ns=round(_LEAD_SHARE * period_ns))
        self.wiring = wiring
        self.settings = settings
        self.safety = SafetyMachine()
        self.bus = open_bus(wiring) if bus is None else bus
        described = self.bus.describe()
        by_name = {joint.name: index for index, joint in enumerate(described.joints)}
        for name in joints:
            if name not in by_name:
                raise ConfigurationError(f"{wiring.path}: joint '{name}' is not wired; wired: {', '.join(by_name)}")
        self._names = tuple(joints)
        self._columns = np.array([by_name[name] for name in joints])
        commanded = [name for name in joints if described.joints[by_name[name]].command != "none"]
        # From the robot's order of commanded joints to the bus's.
        on_bus = [joint.name for joint in described.commanded]
        self._to_bus = np.array([commanded.index(name) for name in on_bus if name in commanded], dtype=int)
        if len(self._to_bus) != len(on_bus):
            raise ConfigurationError(
                f"{wiring.path}: joints {', '.join(on_bus)}: only {', '.join(commanded)} are known"
            )
        self._commanded = np.array([joints.index(name) for name in commanded], dtype=int)
        self.commanded_names = tuple(commanded)
        wired = {joint.name: joint for joint in wiring.joints}
        self.guard = JointGuard(
            [wired[name] for name in commanded],
            [described.joints[by_name[name]] for name in commanded],
            self.period_s,
        )
        self.sent: SentCommand | None = None
        self._outputs: list[Output] = []
        self._is_written = False
        # Whether the actuators are on; in a dry run, whether they would be.
        self._is_on = False
        # Once, and not after somebody has asked for anything that stops it, in whatever state.
        self._arms_by_itself = settings.arm_by_itself
        self._first_try_s: float | None = None
        self._rest_until_s: float | None = None
        self._is_released = False
        self._clock_s = 0.0
        self._entered_s = 0.0
        self._known_changes = 0
        self._known_state = self.safety.state
        self._alarm = ""
        self._sensed = np.zeros(0)
        core.suspend("not armed", 0)
        try:
            self.bus.connect()
            self.reading = self._ordered(first_reading(self.bus, wiring.path, self.period_s))
        except BusError as error:
            self.bus.disconnect()
            raise ConfigurationError(str(error)) from None
        self.guard.begin(self.reading.positions[self._commanded])

    # --- What a robot adds

    @abstractmethod
    def _observe(self, reading: Reading) -> Array:
        """Estimate from a reading in the robot's order of joints. Shape=(observation_dim,)."""

    @abstractmethod
    def _wanted(self, state: Safety) -> Array:
        """What the commanded joints shall get in this period while engaging, armed or stopping, robot's order."""

    @abstractmethod
    def _braking(self, kind: str) -> Array:
        """What the commanded joints get in a fault: 'damp' brakes them, 'hold' holds them where they are."""

    def _entered(self, state: Safety) -> None:
        """A state has begun."""

    def _was_told(self, values: Array) -> None:
        """The commanded joints have been told this, after all limits. Shape=(num_commanded,)."""

    def _is_engaged(self) -> bool:
        """Whether engaging is over."""
        return self._since_s >= self.wiring.safety.engage_s

    def _is_stopped(self) -> bool:
        """Whether the robot's own way of stopping is over."""
        return self._since_s >= self.wiring.safety.stop_s

    @property
    def _own_way_s(self) -> float:
        """What the robot's own way of stopping takes at most."""
        return self.wiring.safety.stop_s

    def _problem(self, reading: Reading) -> str:
        """What is wrong with the robot's state, or ''."""
        return ""

    # --- What the driver node calls

    @property
    def held(self) -> bool:
        """Whether the run has not begun."""
        return not self._is_released

    @property
    def failure(self) -> str:
        """Why the robot cannot go on, or ''."""
        return self.safety.reason if self.safety.state is Safety.FAULT else super().failure

    @property
    def _since_s(self) -> float:
        """Time since the present state began."""
        return self._clock_s - self._entered_s

    def true_observation(self) -> Array:
        """The newest measured one."""
        return self._sensed

    def sense(self) -> Array:
        """Read the bus, find out what is wrong, and estimate."""
        try:
            self.reading = self._ordered(self.bus.read())
            self._alarm = reading_problem(self.reading, self._names, self.wiring.safety)
        except PartialReadingError as error:
            self.reading, self._alarm = self._ordered(error.reading), str(error)
        except BusError as error:
            self._alarm = str(error)
        self._sensed = self._observe(self.reading)
        self._alarm = self._alarm or self._problem(self.reading)
        if self._alarm and self.safety.is_active:
            self.safety.fault(self._alarm)
        self._follow_safety()
        return self._sensed

    def deliver(self, command: Command, now_ns: int) -> None:
        """Judge a command; the first good one of a period is carried out at once."""
        rejection = self.core.offer(command, now_ns)
        if rejection is not None:
            if self._arms_by_itself and self.core.gated_command and self.safety.state is Safety.IDLE:
                self._arm()
            return
        self._outputs.append(self.core.output)
        if not self._is_written:
            self._write()

    def run_period(self, start_ns: int) -> PeriodReport:
        """Write what has not been written, and go on in time."""
        now_ns = start_ns + self._period_ns - self.lead_ns
        before = self.core.output
        output = self.core.tick(now_ns, self._sensed)
        if output is not before:
            self._outputs.append(output)
        if not self._is_written:
            self._write()
        self._is_written = False
        self._clock_s += self.period_s
        self._go_on()
        outputs, self._outputs = tuple(self._outputs), []
        released = not self._is_released and (self._begins() or self._is_over_before)
        self._is_released = self._is_released or released
        self.periods_run += self._is_released
        return PeriodReport(outputs if self._is_released else (), released)

    def _arm(self) -> None:
        """Arm by itself; what stands against it for long is a fault."""
        self._first_try_s = self._clock_s if self._first_try_s is None else self._first_try_s
        refusal = self.request(SafetyRequest.ARM, "the first command")
        if refusal and self._clock_s - self._first_try_s > _ARMING_LIMIT_S:
            self.safety.fault(refusal)
            self._follow_safety()

    def _begins(self) -> bool:
        """Whether the run begins: commands are carried out."""
        return self.core.state is not DriverState.WAITING

    @property
    def _is_over_before(self) -> bool:
        """Whether a run that was to begin by itself cannot: it must end all the same, as nobody may be there."""
        is_stopped = self.safety.reason.startswith("emergency stop")
        return self.settings.arm_by_itself and self.safety.state is Safety.FAULT and not is_stopped

    def request(self, request: SafetyRequest, who: str) -> str:
        """Ask for another state; returns why it is refused, or ''."""
        if self._rest_until_s is not None and request is SafetyRequest.ARM:
            return f"{request.value} refused: the driver ends"
        refusal = self.safety.request(request, who, self._alarm)
        if request is not SafetyRequest.ARM or not refusal:
            self._arms_by_itself = False
        self._follow_safety()
        return refusal

    def press(self, is_pressed: bool, who: str) -> None:
        """The emergency stop is pressed, or let go."""
        self.safety.press(is_pressed, who)
        self._arms_by_itself = self._arms_by_itself and not is_pressed
        self._follow_safety()

    def close(self) -> None:
        """Stop in the robot's own way, then switch off and disconnect."""
        try:
            self.rest()
        finally:
            self.bus.stop()
            self.bus.disconnect()

    def rest(self, spin: Spin = lambda _timeout_s: None) -> None:
        """Disarm, and give the robot its periods until it has stopped; see :class:`Robot`."""
        if self._rest_until_s is None:
            self._rest_until_s = time.monotonic() + self.wiring.safety.rest_limit_s(self._own_way_s)
        if self.safety.state in (Safety.ENGAGING, Safety.ARMED):
            self.request(SafetyRequest.DISARM, "the driver ends")
        due_s = time.monotonic()
        while (self.safety.state is Safety.STOPPING or self._is_braking) and time.monotonic() < self._rest_until_s:
            self.sense()
            self.run_period(round(self._clock_s * 1e9))
            due_s += self.period_s
            # Above all the emergency stop must be heard.
            spin(max(0.0, due_s - time.monotonic()))
            time.sleep(max(0.0, due_s - time.monotonic()))
        self._switch_off()

    def counters(self) -> Mapping[str, object]:
        """State, limits, and what the bus counted."""
        names = ("position", "rate", "effort", "travel", "not_finite")
        return {
            "robot": self.wiring.robot,
            "safety_state": self.safety.state.value,
            "safety_reason": self.safety.reason,
            "faults": self.safety.faults,
            "alarm": self._alarm,
            **{f"limited_by_{name}": self.guard.counts[name] for name in names},
            **self.bus.counters(),
        }

    # --- Inside

    def _ordered(self, reading: Reading) -> Reading:
        """The reading in the robot's order of joints."""
        arrays = {
            name: getattr(reading, name)[self._columns] for name in ("positions", "velocities", "efforts", "ages_s")
        }
        return replace(reading, **arrays)

    @property
    def _is_braking(self) -> bool:
        """Whether a fault still holds or damps the joints: what was off when it began, or is off since, stays so."""
        kind, braking_s = self.wiring.safety.emergency, self.wiring.safety.stop_s
        is_braked = self.safety.state is Safety.FAULT and self._is_on and kind != "release"
        return is_braked and self._since_s < braking_s

    def _follow_safety(self) -> None:
        """Do what follows from a change of the safety state."""
        if self.safety.changes == self._known_changes:
            return
        self._known_changes = self.safety.changes
        state = self.safety.state
        # Whoever presses the emergency stop again must not keep the actuators on for longer.
        if not (state is Safety.FAULT and self._known_state is Safety.FAULT):
            self._entered_s = self._clock_s
        self._known_state = state
        now_ns = round(self._clock_s * 1e9)
        if state is Safety.ENGAGING:
            self.guard.begin(self.reading.positions[self._commanded])
        if state is Safety.ARMED:
            self.core.resume()
        elif self.core.state not in (DriverState.FINISHED, DriverState.FAULT):
            self.core.suspend(f"{state.value}: {self.safety.reason}", now_ns)
        if state is Safety.IDLE:
            self._switch_off()
        self._entered(state)

    def _go_on(self) -> None:
        """Let states end whose time is over."""
        state, stop = self.safety.state, self.wiring.safety.stop
        if state is Safety.ENGAGING and self._is_engaged():
            self.safety.engaged()
        elif state is Safety.STOPPING:
            is_over = self._is_stopped() if stop == "robot" else self._since_s >= self.wiring.safety.stop_s
            if is_over or stop == "release":
                self.safety.stopped()
        self._follow_safety()

    def _write(self) -> None:
        """Tell the joints what they shall do in this period."""
        self._is_written = True
        state, stop = self.safety.state, self.wiring.safety.stop
        if state is Safety.IDLE:
            self.sent = None
            return
        if state is Safety.FAULT:
            if not self._is_braking:
                self._switch_off()
                return
            wanted = self._braking(self.wiring.safety.emergency)
        elif state is Safety.STOPPING and stop != "robot":
            wanted = self._braking(stop)
        else:
            wanted = self._wanted(state)
        self._send(wanted)

    def _switch_off(self) -> None:
        """Switch the actuators off, once."""
        self.sent = None
        if self._is_on:
            self._is_on = False
            if not self.settings.dry_run:
                self.bus.stop()

    def _send(self, wanted: Array) -> None:
        """Send a command after the limits."""
        guarded = self.guard.apply(wanted, self.reading.positions[self._commanded])
        sent = np.full(len(wanted), math.nan)
        was_on, self._is_on = self._is_on, True
        if not self.settings.dry_run:
            try:
                told = self.bus.write(guarded.values[self._to_bus])
                sent[self._to_bus] = told
            except BusError as error:
                self._alarm = str(error)
                self.safety.fault(self._alarm)
                self._follow_safety()
                if not was_on:
                    # Nothing moves yet that could be braked, and trying would switch on again what cannot be.
                    self._switch_off()
                    return
        self.sent = SentCommand(guarded, sent, self.core.output)
        self._was_told(guarded.values)
