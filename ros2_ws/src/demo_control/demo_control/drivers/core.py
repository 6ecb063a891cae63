"""The driver's judgement, for any robot, simulated or real: which commands count, and what is sent instead.

Knows neither ROS nor a robot nor a clock: times are nanoseconds that are passed in, rising, all on one time line.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.drivers.limits import Limits
from demo_control.tasks import Array

# Observations whose stamps are remembered: far more than a command may be late by.
_REMEMBERED_OBSERVATIONS = 1000
# Messages of the publisher in control that may be lost in a row; one further off is another publisher's.
_LARGEST_GAP = 100

SafeStop = Callable[[Array], Array]
"""What a robot does without commands: maps its newest observation to an action, physical units."""


class DriverState(Enum):
    """What a driver is doing."""

    WAITING = "waiting"
    """No valid command yet: the actuators are off."""
    RUNNING = "running"
    """Commands are carried out."""
    STOPPED = "stopped"
    """Commands stay away: the safe stop is carried out until one returns."""
    FINISHED = "finished"
    """The run is over; final."""
    FAULT = "fault"
    """The robot cannot go on; final."""


class Rejection(str, Enum):
    """Why a command is not carried out."""

    NOT_ACCEPTING = "not_accepting"
    """The run is over, the robot is at fault, or its actuators are off."""
    WRONG_DIMENSION = "wrong_dimension"
    NON_FINITE = "non_finite"
    UNKNOWN_OBSERVATION = "unknown_observation"
    """It answers no observation of this driver (for instance one of the driver before a restart)."""
    REPLAYED = "replayed"
    """Its observation, or a newer one, has been answered."""
    SECOND_PUBLISHER = "second_publisher"
    """Another command of another content answered the same observation, or its publisher is not the one in control."""
    STALE = "stale"
    """The observation that it answers is older than the command timeout."""


@dataclass(frozen=True)
class Command:
    """A command as it arrived.

    Attributes:
        observation_sequence: Number of the observation that it answers.
        observation_stamp_ns: Stamp of that observation as the command tells it.
        stamp_ns: When the command was made, as it tells.
        source: Who made it, as it tells.
        values: Physical units. Shape=(action_dim,) if it is right.
        publication: The publisher's own number of it, rising by one with each of its messages; None if unknown.
    """

    observation_sequence: int
    observation_stamp_ns: int
    stamp_ns: int
    source: str
    values: Array
    publication: int | None = None


@dataclass(frozen=True)
class Output:
    """What is sent to the actuators from a time on.

    Attributes:
        time_ns: From when on.
        values: Physical units, within all limits. Shape=(action_dim,).
        source: The command's source, or 'driver:' and the reason where the driver itself decided.
        observation_sequence: Number of the observation that it answers.
        observation_stamp_ns: That observation's stamp.
    """

    time_ns: int
    values: Array
    source: str
    observation_sequence: int
    observation_stamp_ns: int


class DriverCore:
    """Decides, from commands and time alone, what the actuators get.

    The first valid command starts the run. A command that is not followed by another within the timeout ends in
    the safe stop, and the next valid command ends that. Whatever comes in, nothing leaves the limits.

    Args:
        limits: Applied to everything, last.
        safe_stop: What is done without commands.
        command_timeout_s: Both the longest time a command is carried out, and the greatest age of the observation
            that a command may answer.
        control_period_s: Time within which outputs may change by the limits' largest change.

    Raises:
        ConfigurationError: A time is not positive, or rest (zero) is outside the limits.
    """

    def __init__(self, limits: Limits, safe_stop: SafeStop, command_timeout_s: float, control_period_s: float) -> None:
        for name, value in (("command_timeout_s", command_timeout_s), ("control_period_s", control_period_s)):
            if not value > 0.0:
                raise ConfigurationError(f"{name} = {value}: must be positive")
        rest = np.zeros(limits.action_dim)
        if (rest < limits.minimum).any() or (rest > limits.maximum).any():
            raise ConfigurationError(f"limits {limits.minimum} to {limits.maximum}: must allow zero")
        self._limits = limits
        self._safe_stop = safe_stop
        self._timeout_ns = round(command_timeout_s * 1e9)
        self._period_ns = round(control_period_s * 1e9)
        self._observed: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._accepted: Command | None = None
        self._accepted_ns = 0
        self.state = DriverState.WAITING
        self.reason = "no command yet"
        self._gate = ""
        self.gated_command = False
        """Whether the last command was good, and not carried out only because of :meth:`suspend`."""
        self.output = Output(0, rest, "driver:waiting", 0, 0)
        self._recent: deque[Output] = deque([self.output])
        self.accepted = 0
        self.stops = 0
        self.limited = 0
        self.rejections: Counter[Rejection] = Counter()

    def observed(self, sequence: int, time_ns: int, stamp_ns: int) -> None:
        """Remember an observation that is being published, so that commands can answer it.

        Args:
            sequence: Its number.
            time_ns: When it was made, on the time line of all calls.
            stamp_ns: Its stamp, which commands must repeat; on any time line.
        """
        self._observed[sequence] = time_ns, stamp_ns
        while len(self._observed) > _REMEMBERED_OBSERVATIONS:
            self._observed.popitem(last=False)

    def offer(self, command: Command, now_ns: int) -> Rejection | None:
        """Take a command that arrives now; if it is accepted, :attr:`output` is the new output.

        Returns:
            Why it was rejected, or None. Rejections are counted.
        """
        rejection = self._judge(command, now_ns)
        self.gated_command = bool(self._gate) and rejection is None
        if self.gated_command:
            rejection = Rejection.NOT_ACCEPTING
        if rejection is not None:
            self.rejections[rejection] += 1
            return rejection
        self.accepted += 1
        self._accepted, self._accepted_ns = command, now_ns
        self.state, self.reason = DriverState.RUNNING, "commands arrive"
        self._put_out(command.values, command.source, now_ns)
        return None

    def would_accept(self, command: Command, now_ns: int) -> bool:
        """Whether a command that arrived now would be good; nothing is counted."""
        return self._judge(command, now_ns) is None

    def _judge(self, command: Command, now_ns: int) -> Rejection | None:
        """Why a command must not be carried out, or None."""
        if self.state in (DriverState.FINISHED, DriverState.FAULT):
            return Rejection.NOT_ACCEPTING
        if command.values.shape != (self._limits.action_dim,):
            return Rejection.WRONG_DIMENSION
        if not np.isfinite(command.values).all():
            return Rejection.NON_FINITE
        return self._judge_timing(command, now_ns)

    def _judge_timing(self, command: Command, now_ns: int) -> Rejection | None:
        """Why a command must not be carried out because of what it answers, or None."""
        time_ns, stamp_ns = self._observed.get(command.observation_sequence, (0, None))
        if stamp_ns != command.observation_stamp_ns:
            return Rejection.UNKNOWN_OBSERVATION
        last = self._accepted
        if self.state is DriverState.RUNNING and last is not None and _are_of_two(command, last):
            return Rejection.SECOND_PUBLISHER
        if last is not None and command.observation_sequence <= last.observation_sequence:
            same = command.observation_sequence == last.observation_sequence
            return Rejection.SECOND_PUBLISHER if same and _differ(command, last) else Rejection.REPLAYED
        return Rejection.STALE if now_ns - time_ns > self._timeout_ns else None

    @property
    def expires_ns(self) -> int | None:
        """When the command that is being carried out times out; None unless one is."""
        return self._accepted_ns + self._timeout_ns if self.state is DriverState.RUNNING else None

    def tick(self, now_ns: int, observation: Array) -> Output:
        """Call once a control period, and when :attr:`expires_ns` comes: watches the timeout and does the safe stop.

        Args:
            now_ns: The time.
            observation: The newest, for the safe stop. Shape=(observation_dim,).

        Returns:
            What the actuators get from now on.
        """
        expires_ns = self.expires_ns
        if expires_ns is not None and now_ns >= expires_ns:
            self.state, self.reason = DriverState.STOPPED, "command_timeout"
            self.stops += 1
        if self.state is DriverState.STOPPED:
            wanted = self._safe_stop(observation)
            # A broken sensor must not break the stop.
            self._put_out(np.where(np.isfinite(wanted), wanted, 0.0), f"driver:{self.reason}", now_ns)
        return self.output

    def suspend(self, reason: str, now_ns: int) -> None:
        """Carry out no commands until :meth:`resume`, and let go; they are judged and counted all the same."""
        self._gate = reason
        self.state, self.reason = DriverState.WAITING, reason
        # Nothing is in force any more that the next output would have to be near to.
        self.output = Output(now_ns, np.zeros(self._limits.action_dim), f"driver:{reason}", 0, 0)
        self._recent = deque([self.output])

    def resume(self) -> None:
        """Carry out commands again, from the next one on."""
        self._gate = ""
        self.reason = "no command yet"

    def finish(self, reason: str, now_ns: int) -> None:
        """End the run and let go of the actuators, as far as the limits allow at once."""
        self._end(DriverState.FINISHED, reason, now_ns)

    def fault(self, reason: str, now_ns: int) -> None:
        """The robot cannot go on; a finished run stays finished."""
        if self.state is not DriverState.FINISHED:
            self._end(DriverState.FAULT, reason, now_ns)

    def _end(self, state: DriverState, reason: str, now_ns: int) -> None:
        """Enter a final state."""
        self.state, self.reason = state, reason
        self._put_out(np.zeros(self._limits.action_dim), f"driver:{reason}", now_ns)

    def _put_out(self, wanted: Array, source: str, now_ns: int) -> None:
        """Make the new output, within the limits."""
        # An output counts as recent if it was in force at any time within the last control period.
        while len(self._recent) > 1 and self._recent[1].time_ns <= now_ns - self._period_ns:
            self._recent.popleft()
        values = self._limits.apply(wanted, np.stack([output.values for output in self._recent]))
        self.limited += int((values != wanted).any())
        answered = self._accepted
        sequence = 0 if answered is None else answered.observation_sequence
        stamp_ns = 0 if answered is None else answered.observation_stamp_ns
        self.output = Output(now_ns, values, source, sequence, stamp_ns)
        self._recent.append(self.output)

    def counters(self) -> dict[str, int]:
        """All counts by name; every rejection reason is there, also where it never happened."""
        rejected = {f"rejected_{reason.value}": self.rejections[reason] for reason in Rejection}
        return {"commands_accepted": self.accepted, "stops": self.stops, "limited": self.limited, **rejected}


def _are_of_two(command: Command, last: Command) -> bool:
    """Whether two commands have different publishers, by the publishers' own numbers of their messages."""
    if command.publication is None or last.publication is None:
        return False
    # An older number alone may be a message that was overtaken; with a newer answer it is not.
    is_newer = command.observation_sequence > last.observation_sequence
    is_older = command.publication < last.publication
    return (is_newer and is_older) or command.publication > last.publication + _LARGEST_GAP


def _differ(one: Command, other: Command) -> bool:
    """Whether two commands cannot be copies of one."""
    return one.stamp_ns != other.stamp_ns or not np.array_equal(one.values, other.values)
