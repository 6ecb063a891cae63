"""What of a recording is played, when, and under which name; and how far live commands are from the recorded ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from demo_control.bags.definitions import Decoder
from demo_control.bags.errors import BagError
from demo_control.bags.info import RECORDED, STATE_TOPIC, STATE_TYPE
from demo_control.bags.layer_log import Key
from demo_control.bags.reader import Bag, Heard, in_order
from demo_control.tasks import Array

OBSERVATION, NOMINAL, COMMAND = "/observation", "/nominal_action", "/action"
CLOCK, _CLOCK_TYPE = "/clock", "rosgraph_msgs/msg/Clock"

_TYPES = {
    OBSERVATION: "demo_msgs/msg/Observation",
    NOMINAL: "demo_msgs/msg/Action",
    COMMAND: "demo_msgs/msg/Action",
    STATE_TOPIC: STATE_TYPE,
    CLOCK: _CLOCK_TYPE,
}
_OF_CONTROL = (OBSERVATION, NOMINAL, COMMAND, "/ground_truth", "/applied_action")
_LEFT_OUT = (CLOCK, "/rosout", "/parameter_events")
"""What belongs to the nodes and the machine that were recorded."""
_OF_THE_RUN = ("/run_result", "/diagnostics")
_MOST_WAITING = 4096
_DISORDER = 4096
"""Messages that are held back to play them in order: a recorder takes them topic by topic, in bunches."""
_SECOND_NS = 1_000_000_000


class Timed(NamedTuple):
    """A message, and the ROS time at which it was sent, in nanoseconds."""

    time_ns: int
    heard: Heard


@dataclass
class Survey:
    """What there is to play.

    Attributes:
        types: By topic.
        offered_qos: By topic, YAML.
        definitions: By type.
        counts: Messages by topic.
        lengths: Of the vectors of observations, nominal actions and commands, by topic.
        states: Messages of ``layer_state``, decoded.
        start_ns, end_ns: ROS time of the first observation that was answered (or of the first, if none was), and of
            the last message that has to do with control.
        backwards: How often the clock went back.
    """

    types: dict[str, str] = field(default_factory=dict)
    offered_qos: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, set[int]] = field(default_factory=dict)
    states: list[Any] = field(default_factory=list)
    start_ns: int = 0
    end_ns: int = 0
    backwards: int = 0

    @property
    def duration_s(self) -> float:
        """From start to end."""
        return (self.end_ns - self.start_ns) / _SECOND_NS


def survey(bag: Bag) -> Survey:
    """Look through a recording once.

    Raises:
        BagError: There is nothing to play, two robots are mixed, or a topic of ours has another type.
    """
    found = Survey()
    messages = _Messages(bag)
    time_line = TimeLine(messages)
    answered, first_ns = False, 0
    for heard in in_order(bag.messages(), sent_ns, _DISORDER):
        topic = heard.topic
        if _TYPES.get(topic, heard.type) != heard.type:
            raise BagError(f"topic {topic}: its type is {heard.type}, expected {_TYPES[topic]}")
        time_ns = time_line.time_ns(heard)
        found.counts[topic] = found.counts.get(topic, 0) + 1
        if topic in (OBSERVATION, NOMINAL, COMMAND):
            found.lengths.setdefault(topic, set()).add(len(messages.decoded(heard).values))
            if topic != OBSERVATION:
                answered = True
            elif not answered:
                first_ns = first_ns or time_ns
                # Before the nodes were active, nobody answered, and the robot was held.
                found.start_ns = time_ns
        elif topic == STATE_TOPIC:
            found.states.append(messages.decoded(heard))
        if topic in _OF_CONTROL:
            found.end_ns = max(found.end_ns, time_ns)
    for channel in bag.channels:
        found.types.setdefault(channel.topic, channel.type)
        found.offered_qos.setdefault(channel.topic, channel.offered_qos)
        found.definitions.setdefault(channel.type, channel.definition)
    found.backwards = time_line.backwards
    if not answered:
        found.start_ns = first_ns
    _check(found)
    return found


def _check(found: Survey) -> None:
    """Refuse what cannot be played."""
    if not found.counts.get(OBSERVATION):
        raise BagError(f"no message on {OBSERVATION}: there is nothing to play")
    for topic, lengths in found.lengths.items():
        if len(lengths) > 1:
            several = " and ".join(map(str, sorted(lengths)))
            raise BagError(f"two robots in one recording: {topic} has vectors of {several} values")
    tasks = sorted({str(state.task) for state in found.states})
    if len(tasks) > 1:
        raise BagError(f"two robots in one recording: {', '.join(tasks)}; record them one by one")


class _Messages:
    """Decodes the messages of our topics, by the definitions that the bag has."""

    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        self._decoders: dict[str, Decoder] = {}

    def has(self, topic: str) -> bool:
        """Whether there is such a topic, as far as is known before all has been read."""
        return any(channel.topic == topic for channel in self._bag.channels)

    def decoded(self, heard: Heard) -> Any:  # noqa: ANN401 - of the type
        """A message.

        Raises:
            BagError: It is none.
        """
        if heard.type not in self._decoders:
            definition = next((c.definition for c in self._bag.channels if c.type == heard.type), "")
            self._decoders[heard.type] = Decoder([(heard.type, definition)])
        message = self._decoders[heard.type].decode(heard.data, heard.type)
        needed = {STATE_TYPE: "task", _CLOCK_TYPE: "clock"}.get(heard.type, "values")
        if not hasattr(message, needed):
            raise BagError(f"type {heard.type}: no field {needed}")
        return message


class TimeLine:
    """The ROS time of a recording: that of its /clock, or where there was none, when each message was sent.

    It never goes back: where the recorded clock does, it stands still until it is overtaken.

    Args:
        messages: Of the recording.
    """

    def __init__(self, messages: _Messages) -> None:
        self._messages = messages
        self._simulated = messages.has(CLOCK)
        self._newest_ns = 0
        self.backwards = 0

    def time_ns(self, heard: Heard) -> int:
        """The ROS time of the next message; 0 before the first of a simulated clock."""
        time_ns = sent_ns(heard)
        if heard.topic == CLOCK:
            self._simulated = True
            time_ns = nanoseconds(self._messages.decoded(heard).clock)
        elif self._simulated:
            time_ns = self._newest_ns
        self.backwards += time_ns < self._newest_ns
        self._newest_ns = max(self._newest_ns, time_ns)
        return self._newest_ns


class Player:
    """The messages to play, in the order of being sent.

    Args:
        bag: The recording.
        found: What is in it.
        live: Topics that live nodes publish.
        duration_s: How much of it, from the start on; 0 for all.
    """

    def __init__(self, bag: Bag, found: Survey, live: Collection[str], duration_s: float = 0.0) -> None:
        self._bag, self._messages, self.survey = bag, _Messages(bag), found
        self._names = {topic: name for topic in found.types if (name := played_name(topic, live))}
        self._end_ns = found.end_ns
        if duration_s:
            self._end_ns = min(found.end_ns, found.start_ns + round(duration_s * _SECOND_NS))

    @property
    def names(self) -> dict[str, str]:
        """Under which name each topic is played, by its own."""
        return dict(self._names)

    @property
    def duration_s(self) -> float:
        """Length of what is played, in ROS time."""
        return (self._end_ns - self.survey.start_ns) / _SECOND_NS

    def leave_out(self, topic: str) -> None:
        """Do not play a topic."""
        self._names.pop(topic, None)

    def timed(self) -> Iterator[Timed]:
        """Everything to play; what was latched before the start comes with it."""
        time_line = TimeLine(self._messages)
        for heard in in_order(self._bag.messages(), sent_ns, _DISORDER):
            time_ns = time_line.time_ns(heard)
            if time_ns > self._end_ns:
                return
            early = time_ns < self.survey.start_ns
            if heard.topic in self._names and (not early or is_latched(self.survey.offered_qos[heard.topic])):
                yield Timed(max(time_ns, self.survey.start_ns), heard)

    def key_and_values(self, heard: Heard) -> tuple[Key, Array]:
        """Which observation a recorded command answers, and with what."""
        message = self._messages.decoded(heard)
        key = Key(int(message.observation_sequence), nanoseconds(message.observation_stamp))
        return key, np.array(message.values, np.float64)


def played_name(topic: str, live: Collection[str]) -> str:
    """What a recorded topic is called when it is played; '' if it is not.

    Args:
        topic: With the leading slash.
        live: Topics that live nodes publish.
    """
    if topic in _LEFT_OUT or topic.startswith(f"{RECORDED}/"):
        return ""
    return RECORDED + topic if topic in live or topic in _OF_THE_RUN else topic


def sent_ns(heard: Heard) -> int:
    """When a message was sent, as far as that is known: a recorder may hear many at once."""
    return heard.publish_time_ns or heard.log_time_ns


def is_latched(offered_qos: str) -> bool:
    """Whether who comes late hears it, too: in words from version 9 of rosbag2's metadata on, as a number before."""
    return "durability: transient_local" in offered_qos or "durability: 1" in offered_qos


def is_reliable(offered_qos: str) -> bool:
    """Whether lost messages are sent again; as :func:`is_latched`."""
    return "reliability: best_effort" not in offered_qos and "reliability: 2" not in offered_qos


class Comparison:
    """Live commands beside the recorded ones, as both come in.

    Args:
        half_range: Of the action's entries. Shape=(action_dim,).
    """

    def __init__(self, half_range: Array) -> None:
        self._half_range = half_range
        self._waiting: dict[str, dict[Key, Array]] = {"recorded": {}, "live": {}}
        self._counts = {"recorded": 0, "live": 0}
        self._compared = self._identical = 0
        self._squares = np.zeros(len(half_range))
        self._largest = np.zeros(len(half_range))

    def recorded(self, key: Key, values: Array) -> None:
        """Take in a recorded command."""
        self._take("recorded", "live", key, values)

    def live(self, key: Key, values: Array) -> None:
        """Take in a live command."""
        self._take("live", "recorded", key, values)

    def figures(self) -> dict[str, object]:
        """How far they differ, ready for JSON; shares are of half the action's range."""
        compared = self._compared
        rms = np.sqrt(self._squares / compared) if compared else None
        return {
            "recorded_commands": self._counts["recorded"],
            "live_commands": self._counts["live"],
            "compared_commands": compared,
            "identical_commands": self._identical,
            "command_difference_rms": None if rms is None else rms.tolist(),
            "command_difference_max": self._largest.tolist() if compared else None,
            "command_difference_share": None if rms is None else float(np.sqrt(np.mean((rms / self._half_range) ** 2))),
        }

    def _take(self, own: str, other: str, key: Key, values: Array) -> None:
        if values.shape != self._half_range.shape or not np.isfinite(values).all():
            return
        self._counts[own] += 1
        counterpart = self._waiting[other].pop(key, None)
        if counterpart is None:
            waiting = self._waiting[own]
            waiting[key] = values
            if len(waiting) > _MOST_WAITING:
                del waiting[next(iter(waiting))]
            return
        difference = np.abs(values - counterpart)
        self._compared += 1
        self._identical += values.tobytes() == counterpart.tobytes()
        self._squares += difference**2
        self._largest = np.maximum(self._largest, difference)


def nanoseconds(stamp: Any) -> int:  # noqa: ANN401 - builtin_interfaces/Time
    """A decoded stamp as one number."""
    return int(stamp.sec) * _SECOND_NS + int(stamp.nanosec)
