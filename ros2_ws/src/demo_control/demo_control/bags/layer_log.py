"""What the layer heard and said in a recording, as plain values in order, one run of the layer after the other."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from demo_control.bags.definitions import Decoder
from demo_control.bags.errors import BagError
from demo_control.bags.info import STATE_TOPIC, STATE_TYPE, gap
from demo_control.bags.reader import Bag
from demo_control.tasks import Array

_ACTION_TYPE = "demo_msgs/msg/Action"
_OBSERVATION_TYPE = "demo_msgs/msg/Observation"
_STATUS_TYPE = "demo_msgs/msg/PlannerStatus"
_TOPICS = {
    "/observation": _OBSERVATION_TYPE,
    "/nominal_action": _ACTION_TYPE,
    "/action": _ACTION_TYPE,
    "/planner_status": _STATUS_TYPE,
    STATE_TOPIC: STATE_TYPE,
}
_FIELDS = {
    _OBSERVATION_TYPE: ("header", "sequence", "values"),
    _ACTION_TYPE: ("header", "observation_sequence", "observation_stamp", "source", "values", "plans"),
    _STATUS_TYPE: ("header", "observation_sequence", "plans", "plan_time_s", "plan_age_s", "overruns", "accepted"),
    STATE_TYPE: (
        "header", "activation", "commands", "plans", "task", "bundle_sha256", "bundle_directory", "seed", "engine",
        "settings", "cost_weights",
    ),
}  # fmt: skip
_LAYER_SOURCE = "demo_layer"


class Key(NamedTuple):
    """Which observation: the driver's number, and its stamp, as a driver that starts anew counts from 0."""

    sequence: int
    stamp_ns: int


@dataclass(frozen=True)
class Command:
    """A command of the layer.

    Attributes:
        key: Of the observation that it answers.
        stamp_ns: When it was made.
        log_time_ns: When it was heard.
        source: As in Action.
        values: Shape=(action_dim,).
        plans: Number of the newest plan there was.
    """

    key: Key
    stamp_ns: int
    log_time_ns: int
    source: str
    values: Array
    plans: int


@dataclass(frozen=True)
class PlanMade:
    """What the layer told of a plan: its number, the number of its observation, and figures as in PlannerStatus."""

    number: int
    sequence: int
    stamp_ns: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class State:
    """A message of ``layer_state``, understood."""

    stamp_ns: int
    activation: int
    commands: int
    plans: int
    task: str
    bundle_sha256: str
    bundle_directory: str
    seed: int
    engine: str
    settings: Mapping[str, Any]
    cost_weights: Mapping[str, float]


@dataclass
class LayerRun:
    """What happened between one activation of the layer and the next.

    Attributes:
        states: What its answers depended on, the first from its start on.
        commands: In the order of being made.
        plans: By number.
        from_start: Whether the first command that was made is here.
    """

    states: list[State]
    commands: list[Command] = field(default_factory=list)
    plans: dict[int, PlanMade] = field(default_factory=dict)
    from_start: bool = True


@dataclass
class LayerLog:
    """All of it.

    Attributes:
        runs: One for each activation that was heard of.
        observations: Values by key. Shape=(observation_dim,) each.
        nominal: Values by key. Shape=(action_dim,) each.
        warnings: What is missing or odd, one line each.
    """

    runs: list[LayerRun]
    observations: dict[Key, Array]
    nominal: dict[Key, Array]
    warnings: list[str]


def read_layer_log(bag: Bag) -> LayerLog:
    """Read what the layer heard and said.

    Raises:
        BagError: The layer did not run, two robots are mixed, or a message's type is not ours.
    """
    try:
        return _read_layer_log(bag)
    except BagError:
        raise
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        # The bag defines its types itself, and may be damaged, or another's.
        raise BagError(f"a message has other fields than ours ({error})") from None


def _read_layer_log(bag: Bag) -> LayerLog:
    log = LayerLog([], {}, {}, [])
    commands: list[Command] = []
    plans: list[PlanMade] = []
    states: list[State] = []
    first_sequence = 0
    last: dict[str, int] = {}
    gaps: Counter[str] = Counter()
    backwards: Counter[str] = Counter()
    newest: dict[str, int] = {}
    decoder: Decoder | None = None
    for heard in bag.messages(_TOPICS):
        expected = _TOPICS[heard.topic]
        if heard.type != expected:
            raise BagError(f"topic {heard.topic}: its type is {heard.type}, expected {expected}")
        if decoder is None or heard.type not in decoder.types:
            decoder = _decoder(bag)
        message = decoder.decode(heard.data, heard.type)
        stamp_ns = _nanoseconds(message.header.stamp)
        backwards[heard.topic] += stamp_ns < newest.get(heard.topic, 0)
        newest[heard.topic] = stamp_ns
        gaps[heard.topic] += gap(last.get(heard.topic, 0), heard.sequence)
        last[heard.topic] = heard.sequence
        if heard.topic == "/observation":
            log.observations[Key(int(message.sequence), stamp_ns)] = _values(message)
        elif heard.topic == "/nominal_action":
            log.nominal[_key(message)] = _values(message)
        elif heard.topic == "/action":
            first_sequence = first_sequence if commands else heard.sequence
            commands.append(
                Command(
                    _key(message),
                    stamp_ns,
                    heard.log_time_ns,
                    str(message.source),
                    _values(message),
                    int(message.plans),
                )
            )
        elif heard.topic == "/planner_status":
            plans.append(_plan(message, stamp_ns))
        else:
            states.append(_state(message, stamp_ns))
    _check(commands, states)
    for topic, count in gaps.items():
        if count:
            log.warnings.append(f"{topic}: {count} messages are missing in the recording")
    for topic, count in backwards.items():
        if count:
            log.warnings.append(f"{topic}: the clock goes backwards {count} times")
    log.runs = _runs(commands, plans, states, first_sequence)
    return log


def _decoder(bag: Bag) -> Decoder:
    """Decoder of our types as the bag defines them.

    Raises:
        BagError: A definition is missing, or lacks a field that is needed.
    """
    definitions = {c.type: c.definition for c in bag.channels if _TOPICS.get(c.topic) == c.type}
    decoder = Decoder(sorted(definitions.items()))
    for kind in definitions:
        missing = [name for name in _FIELDS[kind] if name not in decoder.fields(kind)]
        if missing:
            raise BagError(f"type {kind}: no field {', '.join(missing)}: recorded by a version that cannot be answered")
    return decoder


def _check(commands: list[Command], states: list[State]) -> None:
    """Refuse what cannot be answered at all."""
    if not commands:
        raise BagError("no message on /action: nothing was commanded in this recording")
    if not states:
        ran = any(command.source.startswith(_LAYER_SOURCE) for command in commands)
        raise BagError(
            "no message on /layer_state: what the layer's answers depended on is not known"
            if ran
            else "the layer did not run in this recording (no message on /layer_state)"
        )
    tasks = sorted({state.task for state in states})
    if len(tasks) > 1:
        raise BagError(f"two robots in one recording: {', '.join(tasks)}; record them one by one")
    dimensions = sorted({len(command.values) for command in commands})
    if len(dimensions) > 1:
        raise BagError(f"two robots in one recording: actions of {' and '.join(map(str, dimensions))} values")


def _runs(commands: list[Command], plans: list[PlanMade], states: list[State], first_sequence: int) -> list[LayerRun]:
    """Share commands and plans out among the activations, by stamp: all are of one node and its clock."""
    runs: list[LayerRun] = []
    for state in states:
        before = runs[-1].states[-1] if runs else None
        counts = (state.commands, state.plans)
        # A node that was started anew counts its activations anew; where nothing was made yet, nothing is forgotten.
        if (
            before is None
            or state.activation != before.activation
            or counts == (0, 0)
            or counts < (before.commands, before.plans)
            or state.stamp_ns < before.stamp_ns
        ):
            runs.append(LayerRun([]))
        runs[-1].states.append(state)
    starts = [run.states[0].stamp_ns for run in runs]
    ordered = sorted(starts) == starts
    for command in commands:
        runs[_index(starts, command.stamp_ns, ordered)].commands.append(command)
    for plan in plans:
        # Where simulated time stands still, a plan of the run before may have the next one's first stamp.
        earlier = 1 if plan.number > 1 else 0
        runs[_index(starts, plan.stamp_ns - earlier, ordered)].plans[plan.number] = plan
    first = next(run for run in runs if run.commands)
    # A publisher counts from 1 on; what was said before the recorder listened is missing.
    first.from_start = first_sequence == 1 or first is not runs[0]
    for run in runs:
        run.from_start = run.from_start and run.states[0].commands == 0
    return [run for run in runs if run.commands]


def _index(starts: list[int], stamp_ns: int, ordered: bool) -> int:
    """Which run a stamp is in."""
    return max(bisect_right(starts, stamp_ns) - 1, 0) if ordered else len(starts) - 1


def _plan(message: Any, stamp_ns: int) -> PlanMade:  # noqa: ANN401 - a decoded message
    names = ("plan_time_s", "plan_age_s", "nominal_cost", "plan_cost", "predicted_gain", "effective_sample_size")
    figures = {name: float(getattr(message, name)) for name in names}
    figures |= {"accepted": float(message.accepted), "overruns": float(message.overruns)}
    return PlanMade(int(message.plans), int(message.observation_sequence), stamp_ns, figures)


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
    return Key(int(message.observation_sequence), _nanoseconds(message.observation_stamp))


def _values(message: Any) -> Array:  # noqa: ANN401 - a decoded message
    return np.array(message.values, np.float64)


def _nanoseconds(stamp: Any) -> int:  # noqa: ANN401 - builtin_interfaces/Time
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
