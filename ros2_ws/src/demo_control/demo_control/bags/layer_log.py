"""Reads what the layer heard and said from a recording."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from demo_control.bags.definitions import Decoder
from demo_control.bags.errors import BagError
from demo_control.bags.info import RECORDED, STATE_TOPIC, STATE_TYPE, gap
from demo_control.bags.layer_runs import LayerLog, LayerRun, State, runs_of
from demo_control.bags.layer_tables import FIGURES, Command, CommandTable, Key, Keyed, PlanMade, PlanTable
from demo_control.bags.reader import Bag, Heard
from demo_control.tasks import Array

__all__ = ["Command", "Key", "LayerLog", "LayerRun", "PlanMade", "State", "read_layer_log"]

_ACTION_TYPE = "demo_msgs/msg/Action"
_OBSERVATION_TYPE = "demo_msgs/msg/Observation"
_STATUS_TYPE = "demo_msgs/msg/PlannerStatus"
_ACTION_TOPIC = "/action"
_APPLIED_TOPIC = "/applied_action"
_RESULT_TOPIC = "/run_result"
_RESULT_TYPE = "std_msgs/msg/String"
_TYPES = {
    "/observation": _OBSERVATION_TYPE,
    "/nominal_action": _ACTION_TYPE,
    _ACTION_TOPIC: _ACTION_TYPE,
    _APPLIED_TOPIC: _ACTION_TYPE,
    "/planner_status": _STATUS_TYPE,
    STATE_TOPIC: STATE_TYPE,
    _RESULT_TOPIC: _RESULT_TYPE,
}
_FIELDS = {
    _OBSERVATION_TYPE: ("header", "sequence", "values"),
    _ACTION_TYPE: ("header", "observation_sequence", "observation_stamp", "source", "values", "plans"),
    _STATUS_TYPE: ("header", "observation_sequence", "plans", "plan_time_s", "plan_age_s", "overruns", "accepted"),
    STATE_TYPE: (
        "header", "activation", "commands", "plans", "task", "bundle_sha256", "bundle_directory", "seed", "engine",
        "settings", "cost_weights",
    ),
    _RESULT_TYPE: ("data",),
}  # fmt: skip
_LAYER_SOURCE = "demo_layer"
_LARGEST_NUMBER = 2**63 - 1
_Take = Callable[[Any, int, Heard], None]
"""Takes in a message, its stamp, and what it was before it was decoded."""


def namespaces(bag: Bag) -> list[str]:
    """In which namespaces somebody commanded a robot, '' for the topic ``/action``."""
    if not bag.channels:
        # A file that was not ended in order tells of its topics only where they stand.
        for _ in bag.messages(()):
            pass
    ends = {
        channel.topic.removesuffix(_ACTION_TOPIC)
        for channel in bag.channels
        if channel.type == _ACTION_TYPE and channel.topic.endswith(_ACTION_TOPIC)
    }
    return sorted(ends - {RECORDED})


def read_layer_log(bag: Bag, namespace: str | None = None) -> LayerLog:
    """Read what the layer heard and said.

    Args:
        bag: The recording.
        namespace: Of the robot's topics; None for the only one there is.

    Raises:
        BagError: The layer did not run, two robots are mixed, or a message's type is not ours.
    """
    namespace = _namespace(bag, namespace)
    reader = _Reader(bag, namespace)
    for heard in bag.messages({namespace + name for name in _TYPES}):
        try:
            reader.take(heard)
        except BagError:
            raise
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            # The bag defines its types itself, and may be damaged, or another's.
            raise BagError(f"topic {heard.topic}: a message has other fields than ours ({error})") from None
    return reader.log()


def _namespace(bag: Bag, wanted: str | None) -> str:
    """The namespace to read.

    Raises:
        BagError: Several, of which none was named, or one that is not there.
    """
    found = namespaces(bag)
    if wanted is not None:
        wanted = "/" + wanted.strip("/") if wanted.strip("/") else ""
        if wanted not in found and found:
            raise BagError(f"namespace '{wanted}': nothing was commanded in it; known: {_listed(found)}")
        return wanted
    if len(found) > 1:
        raise BagError(f"two robots in one recording: namespaces {_listed(found)}; --namespace names one of them")
    return found[0] if found else ""


def _listed(found: list[str]) -> str:
    return ", ".join(name or "/" for name in found)


class _Topic:
    """What is known of one topic so far.

    Args:
        kind: Type of its messages.
        take: Is given each; None for the run's result, which has no stamp.
    """

    def __init__(self, kind: str, take: _Take | None) -> None:
        self.type, self.take = kind, take
        self.gaps = self.backwards = 0
        self._sequence = self._stamp_ns = 0

    def hear(self, stamp_ns: int, sequence: int) -> None:
        """Count what is missing before a message, and whether the clock went backwards."""
        self.backwards += stamp_ns < self._stamp_ns
        self.gaps += gap(self._sequence, sequence)
        self._stamp_ns, self._sequence = stamp_ns, sequence


class _Reader:
    """Takes in the messages of one namespace."""

    def __init__(self, bag: Bag, namespace: str) -> None:
        self._bag, self._namespace = bag, namespace
        self._observations, self._nominal = Keyed("/observation"), Keyed("/nominal_action")
        self._commands, self._applied = CommandTable(Keyed(_ACTION_TOPIC)), CommandTable(Keyed(_APPLIED_TOPIC))
        self._plans = PlanTable()
        self._states: list[State] = []
        self._first_sequence = 0
        self._decoder: Decoder | None = None
        self._result: dict[str, Any] = {}
        takes: dict[str, _Take] = {
            "/observation": lambda message, stamp_ns, _: self._observations.append(
                Key(_number(message.sequence), stamp_ns), message.values
            ),
            "/nominal_action": lambda message, _, __: self._nominal.append(_key(message), message.values),
            _ACTION_TOPIC: self._take_command,
            _APPLIED_TOPIC: lambda message, stamp_ns, heard: self._applied.append(_command(message, stamp_ns, heard)),
            "/planner_status": self._take_plan,
            STATE_TOPIC: lambda message, stamp_ns, _: self._states.append(_state(message, stamp_ns)),
        }
        self._topics = {namespace + name: _Topic(kind, takes.get(name)) for name, kind in _TYPES.items()}

    def take(self, heard: Heard) -> None:
        """Take in one message."""
        topic = self._topics[heard.topic]
        if heard.type != topic.type:
            raise BagError(f"topic {heard.topic}: its type is {heard.type}, expected {topic.type}")
        if self._decoder is None or heard.type not in self._decoder.types:
            self._decoder = self._new_decoder()
        message = self._decoder.decode(heard.data, heard.type)
        if topic.take is None:
            self._result = _result(str(message.data))
            return
        stamp_ns = _nanoseconds(message.header.stamp)
        topic.hear(stamp_ns, heard.sequence)
        topic.take(message, stamp_ns, heard)

    def log(self) -> LayerLog:
        """What was taken in.

        Raises:
            BagError: It cannot be answered at all.
        """
        self._check()
        warnings = [
            f"{name}: {topic.gaps} messages are missing in the recording"
            for name, topic in self._topics.items()
            if topic.gaps
        ]
        warnings += [
            f"{name}: the clock goes backwards {topic.backwards} times"
            for name, topic in self._topics.items()
            if topic.backwards
        ]
        runs = runs_of(self._commands, self._plans, self._states, self._first_sequence)
        return LayerLog(runs, self._observations, self._nominal, self._applied, self._result, warnings, self._namespace)

    def _take_command(self, message: Any, stamp_ns: int, heard: Heard) -> None:  # noqa: ANN401 - a decoded message
        if not len(self._commands):
            self._first_sequence = heard.sequence
        self._commands.append(_command(message, stamp_ns, heard))

    def _take_plan(self, message: Any, stamp_ns: int, _: Heard) -> None:  # noqa: ANN401 - a decoded message
        figures = np.array([float(getattr(message, name, np.nan)) for name in FIGURES])
        self._plans.append(_number(message.plans), _number(message.observation_sequence), stamp_ns, figures)

    def _new_decoder(self) -> Decoder:
        """Decoder of our types as the bag defines them.

        Raises:
            BagError: A definition is missing, or lacks a field that is needed.
        """
        expected = {self._namespace + name: kind for name, kind in _TYPES.items()}
        definitions = {c.type: c.definition for c in self._bag.channels if expected.get(c.topic) == c.type}
        decoder = Decoder(sorted(definitions.items()))
        for kind in definitions:
            missing = [name for name in _FIELDS[kind] if name not in decoder.fields(kind)]
            if missing:
                raise BagError(
                    f"type {kind}: no field {', '.join(missing)}: recorded by a version that cannot be answered"
                )
        return decoder

    def _check(self) -> None:
        """Refuse what cannot be answered at all."""
        if not len(self._commands):
            raise BagError(f"no message on {self._namespace}{_ACTION_TOPIC}: nothing was commanded in this recording")
        if not self._states:
            ran = any(source.startswith(_LAYER_SOURCE) for source in self._commands.sources.texts)
            topic = self._namespace + STATE_TOPIC
            raise BagError(
                f"no message on {topic}: what the layer's answers depended on is not known"
                if ran
                else f"the layer did not run in this recording (no message on {topic})"
            )
        tasks = sorted({state.task for state in self._states})
        if len(tasks) > 1:
            raise BagError(f"two robots in one recording: {', '.join(tasks)}; record them one by one")
        rows = self._commands.values.rows
        dimensions = sorted({rows.width or 0, *(len(values) for values in rows.odd())})
        if len(dimensions) > 1:
            raise BagError(f"two robots in one recording: actions of {' and '.join(map(str, dimensions))} values")


def _result(text: str) -> dict[str, Any]:
    """A run's figures; none where the topic is of somebody else."""
    try:
        result = json.loads(text)
    except ValueError:
        return {}
    return result if isinstance(result, dict) else {}


def _command(message: Any, stamp_ns: int, heard: Heard) -> Command:  # noqa: ANN401 - a decoded message
    values: Array = message.values
    return Command(
        _key(message), stamp_ns, heard.log_time_ns, str(message.source), values, _number(message.plans)
    )  # fmt: skip


def _state(message: Any, stamp_ns: int) -> State:  # noqa: ANN401 - a decoded message
    try:
        settings, weights = json.loads(message.settings), json.loads(message.cost_weights)
    except ValueError:
        raise BagError(f"{STATE_TOPIC}: settings that are no JSON") from None
    if not (isinstance(settings, dict) and isinstance(weights, dict)):
        raise BagError(f"{STATE_TOPIC}: settings that are no JSON object")
    if not all(type(weight) in (int, float) for weight in weights.values()):
        raise BagError(f"{STATE_TOPIC}: a cost weight that is no number")
    return State(
        stamp_ns, int(message.activation), int(message.commands), int(message.plans), str(message.task),
        str(message.bundle_sha256), str(message.bundle_directory), int(message.seed), str(message.engine),
        settings, weights,
    )  # fmt: skip


def _key(message: Any) -> Key:  # noqa: ANN401 - a decoded message
    return Key(_number(message.observation_sequence), _nanoseconds(message.observation_stamp))


def _number(value: Any) -> int:  # noqa: ANN401 - a whole number of any type
    # The messages' numbers have no sign; no robot counts that far.
    return min(int(value), _LARGEST_NUMBER)


def _nanoseconds(stamp: Any) -> int:  # noqa: ANN401 - builtin_interfaces/Time
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
