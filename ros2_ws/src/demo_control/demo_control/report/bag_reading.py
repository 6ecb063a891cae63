"""Reads what people want to see of a recording; what cannot be understood is left out and told."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demo_control.bags.definitions import Decoder
from demo_control.bags.errors import BagError
from demo_control.bags.layer_log import namespaces
from demo_control.bags.metadata import PARAMETERS_RECORD
from demo_control.bags.reader import Bag
from demo_control.layer import COST_WEIGHT_PREFIX
from demo_control.recorded_run import Motion
from demo_control.report.bag_contents import BagContents, PlanTable, Series, Span
from demo_control.report.known_fields import PLAN_FIGURES, misfit
from demo_control.report.vector_topic import Columns, VectorTopic
from demo_control.tasks import Array

_OBSERVATION = "demo_msgs/msg/Observation"
_ACTION = "demo_msgs/msg/Action"
_ODOMETRY = "nav_msgs/msg/Odometry"
_STRING = "std_msgs/msg/String"
TOPICS = {
    "/observation": _OBSERVATION,
    "/ground_truth": _OBSERVATION,
    "/nominal_action": _ACTION,
    "/action": _ACTION,
    "/applied_action": _ACTION,
    "/planner_status": "demo_msgs/msg/PlannerStatus",
    "/layer_state": "demo_msgs/msg/LayerState",
    "/walking_state": "demo_msgs/msg/WalkingState",
    "/applied_push": "geometry_msgs/msg/Vector3Stamped",
    "/joint_states": "sensor_msgs/msg/JointState",
    "/ground_truth_odom": _ODOMETRY,
    "/odom": _ODOMETRY,
    "/run_result": _STRING,
    "/robot_description": _STRING,
}
"""What is read, if it is of that type; everything else is somebody else's."""

_SECOND_NS = 1e9
_LAYER = "demo_layer"


@dataclass
class _Heard:
    """Messages by topic, with their stamps, those of vectors as columns, and what was wrong with others."""

    messages: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    vectors: dict[str, Columns] = field(default_factory=dict)
    troubles: Counter[str] = field(default_factory=Counter)


def read_contents(bag: Bag) -> BagContents:
    """Read all that is shown; what cannot be understood is left out and told."""
    heard = _hear(bag)
    origin_ns = _origin(heard)
    commands = heard.vectors["/action"]
    series = {
        name: Series((columns.stamps_ns - origin_ns) / _SECOND_NS, columns.values)
        for name, columns in heard.vectors.items()
    }
    pushes = _pushes(heard, origin_ns)
    end_s = max((float(s.times_s[-1]) for s in series.values() if len(s)), default=0.0)
    return BagContents(
        observations=series["/observation"],
        truth=series["/ground_truth"],
        nominal=series["/nominal_action"],
        commands=series["/action"],
        applied=series["/applied_action"],
        command_ages_s=(commands.stamps_ns - commands.answers_ns) / _SECOND_NS,
        uncorrected=_uncorrected(commands, origin_ns),
        plans=_plans(heard, origin_ns),
        settings=_settings(heard),
        changes=_changes(heard, origin_ns),
        states=_states(heard, origin_ns, end_s),
        pushes=tuple(Span(start, end, f"{np.linalg.norm(force):.0f} N") for start, end, force in pushes),
        motion=_motion(heard, origin_ns, pushes),
        result=_result(heard),
        description=next((str(m.data) for _, m in heard.messages.get("/robot_description", [])), ""),
        parameters=_parameters(bag),
        warnings=tuple(f"{what} ({count} messages)" for what, count in heard.troubles.items()),
    )


def _hear(bag: Bag) -> _Heard:
    heard = _Heard()
    vectors = {name: VectorTopic() for name in TOPICS if TOPICS[name] in (_OBSERVATION, _ACTION)}
    decoders: dict[str, Decoder] = {}
    misfits: dict[str, str] = {}
    known = namespaces(bag)
    namespace = known[0] if len(known) == 1 else ""
    for message in bag.messages({namespace + topic for topic in TOPICS}):
        topic = message.topic.removeprefix(namespace)
        kind = TOPICS[topic]
        if message.type != kind:
            heard.troubles[f"{message.topic}: its type is {message.type}, expected {kind}"] += 1
            continue
        try:
            if kind not in decoders:
                definition = next(c.definition for c in bag.channels if c.type == kind)
                decoders[kind] = Decoder([(kind, definition)])
            decoded = decoders[kind].decode(message.data, kind)
            if kind not in misfits:
                misfits[kind] = misfit(kind, decoded)
            if misfits[kind]:
                raise BagError(misfits[kind])
            header = getattr(decoded, "header", None)
            stamp_ns = message.log_time_ns if header is None else _nanoseconds(header.stamp)
            if topic in vectors:
                answered = stamp_ns if kind == _OBSERVATION else _nanoseconds(decoded.observation_stamp)
                vectors[topic].append(stamp_ns, answered, decoded)
                continue
        except (BagError, AttributeError, TypeError, ValueError, OverflowError) as error:
            heard.troubles[f"{message.topic}: {error}"] += 1
            continue
        heard.messages.setdefault(topic, []).append((stamp_ns, decoded))
    for messages in heard.messages.values():
        messages.sort(key=lambda entry: entry[0])
    for topic, vector in vectors.items():
        heard.vectors[topic] = columns = vector.columns()
        if columns.odd:
            heard.troubles[f"{topic}: not of {columns.values.shape[1]} values, as most are"] += columns.odd
    return heard


def _origin(heard: _Heard) -> int:
    """The first command's stamp, or the first observation's."""
    for topic in ("/action", "/nominal_action", "/observation", "/ground_truth"):
        if len(heard.vectors[topic]):
            return int(heard.vectors[topic].stamps_ns[0])
    return 0


def _uncorrected(commands: Columns, origin_ns: int) -> tuple[Span, ...]:
    """Stretches of commands that the layer did not change, with the reason."""
    spans: list[Span] = []
    times_s = (commands.stamps_ns - origin_ns) / _SECOND_NS
    start = 0
    for place, source in enumerate(commands.sources):
        last = place + 1 == len(commands)
        if not last and commands.sources[place + 1] == source:
            continue
        maker, _, reason = source.partition(":")
        if maker != _LAYER:
            spans.append(Span(float(times_s[start]), float(times_s[place if last else place + 1]), reason or maker))
        start = place + 1
    return tuple(spans)


def _plans(heard: _Heard, origin_ns: int) -> PlanTable:
    messages = heard.messages.get("/planner_status", [])
    names = [tuple(map(str, message.cost_terms)) for _, message in messages]
    terms = Counter(names).most_common(1)[0][0] if names else ()
    good = [
        (stamp, message)
        for (stamp, message), name in zip(messages, names, strict=True)
        if name == terms and len(message.plan_costs) == len(message.nominal_costs) == len(terms)
    ]
    if len(good) < len(messages):
        heard.troubles["/planner_status: other cost terms than most have"] += len(messages) - len(good)
    starts = _starts(heard.vectors["/observation"], good)
    return PlanTable(
        times_s=np.array([stamp - origin_ns for stamp, _ in good], dtype=float) / _SECOND_NS,
        starts_s=np.array([start - origin_ns for start in starts], dtype=float) / _SECOND_NS,
        figures={
            name: np.array([getattr(message, name, np.nan) for _, message in good], float) for name in PLAN_FIGURES
        },
        accepted=np.array([bool(message.accepted) for _, message in good], dtype=bool),
        reasons=tuple(str(message.rejection_reason) for _, message in good),
        terms=terms,
        nominal_costs=np.array([m.nominal_costs for _, m in good], float).reshape(len(good), len(terms)),
        plan_costs=np.array([m.plan_costs for _, m in good], float).reshape(len(good), len(terms)),
    )


def _starts(observations: Columns, plans: list[tuple[int, Any]]) -> list[int]:
    """Stamps of the observations that plans start from; of one that is not recorded, by the plan's age."""
    order = np.argsort(observations.numbers, kind="stable")
    numbers = observations.numbers[order]
    starts = []
    for stamp_ns, message in plans:
        wanted = np.uint64(message.observation_sequence)
        first, last = np.searchsorted(numbers, wanted), np.searchsorted(numbers, wanted, side="right")
        seen = observations.stamps_ns[order[first:last]]
        # A driver that began anew counts from 0 again.
        seen = seen[seen <= stamp_ns]
        starts.append(int(seen[-1]) if len(seen) else stamp_ns - _duration_ns(float(message.plan_age_s)))
    return starts


def _duration_ns(seconds: float) -> int:
    """In nanoseconds, 0 for what is none."""
    duration_ns = seconds * _SECOND_NS
    return round(duration_ns) if math.isfinite(duration_ns) else 0


def _settings(heard: _Heard) -> Mapping[str, Any]:
    """Of the newest state that can be understood."""
    for _, message in reversed(heard.messages.get("/layer_state", [])):
        settings, weights = _object(message.settings), _object(message.cost_weights)
        if settings:
            return {**settings, **{f"{COST_WEIGHT_PREFIX}{name}": weight for name, weight in weights.items()}}
    return {}


def _changes(heard: _Heard, origin_ns: int) -> tuple[Span, ...]:
    spans = []
    for stamp_ns, message in heard.messages.get("/layer_state", []):
        time_s = (stamp_ns - origin_ns) / _SECOND_NS
        spans.append(Span(time_s, time_s, "changed" if message.commands or message.plans else "activated"))
    return tuple(spans)


def _states(heard: _Heard, origin_ns: int, end_s: float) -> tuple[Span, ...]:
    changes = [
        ((stamp - origin_ns) / _SECOND_NS, str(m.state)) for stamp, m in heard.messages.get("/walking_state", [])
    ]
    ends = [time_s for time_s, _ in changes[1:]] + [end_s] * bool(changes)
    return tuple(Span(time_s, max(end, time_s), name) for (time_s, name), end in zip(changes, ends, strict=True))


def _pushes(heard: _Heard, origin_ns: int) -> list[tuple[float, float, Array]]:
    """Start, end and force of each."""
    found: list[tuple[float, float, Array]] = []
    for stamp_ns, message in heard.messages.get("/applied_push", []):
        time_s = (stamp_ns - origin_ns) / _SECOND_NS
        force = np.array([message.vector.x, message.vector.y, message.vector.z])
        if found and np.isinf(found[-1][1]):
            found[-1] = found[-1][0], time_s, found[-1][2]
        if np.isfinite(force).all() and force.any():
            found.append((time_s, np.inf, force))
    # A recording may end within a push.
    return [(start, start if np.isinf(end) else end, force) for start, end, force in found]


def _motion(heard: _Heard, origin_ns: int, pushes: list[tuple[float, float, Array]]) -> Motion | None:
    messages = [(s, m) for s, m in heard.messages.get("/joint_states", []) if len(m.position) == len(m.name)]
    if not messages:
        return None
    names = tuple(map(str, messages[0][1].name))
    messages = [(stamp, message) for stamp, message in messages if tuple(map(str, message.name)) == names]
    times = np.array([stamp - origin_ns for stamp, _ in messages], dtype=float) / _SECOND_NS
    kept = np.concatenate([[True], np.diff(times) > 0.0])
    times = times[kept]
    joints = np.array([message.position for _, message in messages], float)[kept]
    base = next((heard.messages[topic] for topic in ("/ground_truth_odom", "/odom") if topic in heard.messages), [])
    positions = orientations = None
    if base:
        stamps = np.array([stamp - origin_ns for stamp, _ in base], dtype=float) / _SECOND_NS
        nearest = np.clip(np.searchsorted(stamps, times - 1e-9), 0, len(base) - 1)
        poses = [message.pose.pose for _, message in base]
        positions = np.array([[p.position.x, p.position.y, p.position.z] for p in poses])[nearest]
        turns = np.array([[getattr(p.orientation, axis) for axis in "wxyz"] for p in poses])[nearest]
        orientations = turns / np.maximum(np.linalg.norm(turns, axis=1, keepdims=True), 1e-12)
    forces = np.zeros((len(times), 3))
    for start, end, force in pushes:
        first, last = np.searchsorted(times, start), np.searchsorted(times, end)
        forces[first : max(last, first + 1)] = force
    return Motion(times, names, joints, positions, orientations, forces)


def _result(heard: _Heard) -> Mapping[str, Any]:
    """What the driver said at the end."""
    messages = heard.messages.get("/run_result", [])
    return _object(messages[-1][1].data) if messages else {}


def _object(text: object) -> dict[str, Any]:
    """A JSON object, empty where it is none."""
    try:
        value = json.loads(str(text))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _parameters(bag: Bag) -> dict[str, dict[str, Any]]:
    found = {}
    for name, record in bag.records.items():
        if name.startswith(PARAMETERS_RECORD):
            found[name.removeprefix(PARAMETERS_RECORD).strip("/")] = _object(record.get("parameters", ""))
    return found


def _nanoseconds(stamp: Any) -> int:  # noqa: ANN401 - builtin_interfaces/Time
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
