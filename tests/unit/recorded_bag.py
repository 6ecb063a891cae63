"""Small bags made in lockstep: what driver, policy and layer would say, with plans that come late."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from demo_control.bags.reader import Bag
from demo_control.bags.recording import Recording
from demo_control.bundle import Bundle, default_bundle, load_bundle
from demo_control.layer import DemoLayer, LayerSettings, LayerState, PlanBegun
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Array, load_task

MESSAGES = Path(__file__).parents[2] / "ros2_ws" / "src" / "demo_msgs" / "msg"
TOPICS = {"/observation", "/nominal_action", "/action", "/planner_status", "/layer_state"}
START_NS = 1_700_000_000_000_000_000
SMALL = {"num_samples": 32, "horizon": 8, "engine_threads": 1}


@cache
def messages() -> Any:  # noqa: ANN401 - rosbags has no public name for it
    """The message types, from this source tree."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted(MESSAGES.glob("*.msg")):
        types = get_types_from_msg(path.read_text(), f"demo_msgs/msg/{path.stem}")
        store.register({name: fields for name, fields in types.items() if name not in store.fielddefs})
    return store


def definition_of(kind: str) -> str:
    return str(messages().generate_msgdef(kind, ros_version=2)[0])


class Scribe:
    """Writes messages as if it had heard them."""

    def __init__(self, folder: Path, namespace: str = "") -> None:
        self.recording = Recording(folder, {"format": "1"})
        self._namespace = namespace
        self._topics: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self.lost: set[tuple[str, int]] = set()
        """Topic and number of messages that are counted, and not written."""
        self.clock: Callable[[int], int] = lambda stamp_ns: stamp_ns + 1000
        """When a message is heard that was sent at some time."""

    def say(self, topic: str, kind: str, stamp_ns: int, **fields: Any) -> None:  # noqa: ANN401 - of the type
        store = messages()
        if topic not in self._topics:
            name = self._namespace + topic
            self._topics[topic] = self.recording.add_topic(name, kind, definition_of(kind), "", "[]")
        header = store.types["std_msgs/msg/Header"](stamp=stamp(stamp_ns), frame_id="")
        data = bytes(store.serialize_cdr(store.types[kind](header=header, **fields), kind))
        self._counts[topic] = count = self._counts.get(topic, 0) + 1
        if (topic, count) not in self.lost:
            self.recording.put(self._topics[topic], self.clock(stamp_ns), data, stamp_ns, count)

    def say_text(self, topic: str, stamp_ns: int, text: str) -> None:
        """A std_msgs/String, which has no header."""
        kind = "std_msgs/msg/String"
        number = self.recording.add_topic(topic, kind, definition_of(kind), "", "[]")
        data = bytes(messages().serialize_cdr(messages().types[kind](data=text), kind))
        self.recording.put(number, stamp_ns, data, stamp_ns, 1)


def stamp(stamp_ns: int) -> Any:  # noqa: ANN401 - of rosbags' type
    return messages().types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


@dataclass
class RobotRecorder:
    """Plays driver, policy and layer, and writes what they say.

    Attributes:
        folder: Of the bag.
        seed: Of everything random: start, noise, and how late plans are.
        settings: Of the layer.
        name: Of the task.
        directory: Of the bundle it begins with; the shipped one unless given.
        latest: Commands that a plan may take, at most.
        plant: How the plant differs from the nominal one, by name.
        namespace: Before every topic.
        applied: Whether the driver says what it carries out.
        overruns: That the layer counts from the first plan on.
    """

    folder: Path
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=lambda: dict(SMALL))
    name: str = "cartpole"
    directory: Path | None = None
    latest: int = 3
    plant: dict[str, Any] = field(default_factory=dict)
    namespace: str = ""
    applied: bool = False
    overruns: int = 0

    def __post_init__(self) -> None:
        self.task = load_task(self.name)
        self.directory = self.directory or default_bundle(self.name)
        self.scribe = Scribe(self.folder, self.namespace)
        self.bundle: Bundle = load_bundle(self.directory, self.task)
        self.layer = DemoLayer(self.task, self.bundle, LayerSettings.for_task(self.task, self.settings), self.seed)
        self._policy = OnnxPolicy(self.bundle.policy)
        self._random = np.random.default_rng(self.seed)
        self._plants = self.task.make_plants(self.task.simulators[0], 1, self.plant)
        self._activation = 0
        self.rolled_back = False
        self._before = self.directory
        self._begun: tuple[PlanBegun, int] | None = None
        self._now_ns = START_NS
        self.start_driver()

    @property
    def is_planning(self) -> bool:
        """Whether a plan is under way."""
        return self._begun is not None

    def start_driver(self) -> None:
        """Begin anew, with observation 0."""
        self._sequence = 0
        self._observation = self._plants.reset([self._random])[0]

    def activate(self) -> None:
        self._activation += 1
        self._finish()
        self._tell(self.layer.reset())

    def restart_layer(self) -> None:
        """The layer's node dies, and is started and activated anew."""
        self._begun = None
        self.layer = DemoLayer(self.task, self.layer.bundle, self.layer.settings, self.seed)
        self._activation = 0
        self.activate()

    def change(self, **settings: object) -> None:
        """Set settings between a command and the next, perhaps while a plan is made."""
        self._tell(self.layer.update_settings(replace(self.layer.settings, **settings)))

    def swap(self, directory: Path, *, on_trial: bool = False) -> None:
        self._finish()
        self._before, self.directory = self.directory, directory
        self._tell(self.layer.swap_bundle(load_bundle(directory, self.task), on_trial=on_trial))

    def run(self, ticks: int, at: Callable[[int], None] = lambda _tick: None) -> None:
        """Control; ``at`` is told each tick before it begins."""
        for tick in range(ticks):
            at(tick)
            self._tick()

    def close(self) -> Path:
        self._finish()
        self.scribe.recording.close()
        self._plants.close()
        return self.folder

    def _tick(self) -> None:
        seen_ns, number = self._now_ns, self._sequence
        say, values = self.scribe.say, self._observation
        say("/observation", "demo_msgs/msg/Observation", seen_ns, sequence=number, values=values)
        self.layer.observed(number, values)
        nominal = self._policy.act(values[None])[0]
        answers = {"observation_sequence": number, "observation_stamp": stamp(seen_ns)}
        kind = "demo_msgs/msg/Action"
        say("/nominal_action", kind, seen_ns + 100_000, **answers, source="policy", values=nominal, plans=0)
        if self._begun is not None and self._begun[1] <= 0:
            self._finish()
        correction = self.layer.correct(number, nominal)
        assert correction.values is not None
        source = ":".join(part for part in (correction.source, correction.reason) if part)
        self._now_ns += 1_000_000
        say("/action", kind, self._now_ns, **answers, source=source, values=correction.values, plans=correction.plans)
        if self.applied:
            say(
                "/applied_action", kind, self._now_ns, **answers, source=source, values=correction.values,
                plans=correction.plans,
            )  # fmt: skip
        if self._begun is None and number % self.layer.settings.plan_period_ticks == 0:
            self._begun = self.layer.begin_plan(number, values), int(self._random.integers(self.latest))
        elif self._begun is not None:
            self._begun = self._begun[0], self._begun[1] - 1
        self._now_ns = seen_ns + round(self.task.control_period_s * 1e9)
        self._observation = self._plants.step(correction.values[None])[0][0]
        self._sequence += 1

    def _finish(self) -> None:
        if self._begun is None:
            return
        (begun, _), self._begun = self._begun, None
        report = self.layer.finish_plan(begun)
        said = {
            name: getattr(report, name)
            for name in (
                "observation_sequence", "num_samples", "horizon", "effective_sample_size", "nominal_cost", "plan_cost",
                "predicted_gain", "ensemble_disagreement", "accepted", "rejection_reason", "followed_share",
                "path_length", "regret", "realised_cost",
            )
        }  # fmt: skip
        counters = self.layer.counters
        self.scribe.say(
            "/planner_status", "demo_msgs/msg/PlannerStatus", self._now_ns, **said,
            observation_age_s=0.0, plan_age_s=0.004, plan_time_s=0.002, cost_terms=list(report.cost_terms),
            nominal_costs=np.array(report.nominal_costs), plan_costs=np.array(report.plan_costs),
            commands=counters.commands, plans=counters.plans, overruns=self.overruns, fallback_reasons=[],
            fallback_counts=np.zeros(0, np.uint64),
        )  # fmt: skip

        ended = self.layer.end_trial()
        if ended is not None and ended.state is not None:
            self.rolled_back, self.directory = True, self._before
            self._tell(ended.state)

    def _tell(self, state: LayerState) -> None:
        texts = {name: json.dumps(dict(getattr(state, name))) for name in ("settings", "cost_weights")}
        self.scribe.say(
            "/layer_state", "demo_msgs/msg/LayerState", self._now_ns, activation=self._activation, task=self.name,
            bundle_directory=str(self.directory), **{**vars(state), **texts},
        )  # fmt: skip


KIND = "demo_msgs/msg/Observation"


def mcap_of(bag: Path) -> Path:
    return next(bag.glob("*.mcap"))


def everything(bag: Path) -> list[tuple[str, int, bytes]]:
    """Topic, number and bytes of all messages that are whole."""
    return [(heard.topic, heard.sequence, heard.data) for heard in Bag.open(bag).messages()]


def write_observations(folder: Path, count: int, **options: Any) -> Recording:  # noqa: ANN401 - of Recording
    recording = Recording(folder, {}, **options)
    topic = recording.add_topic("/observation", KIND, definition_of(KIND), "", "[]")
    for number in range(count):
        data = observation(np.full(5, float(number)))
        recording.put(topic, START_NS + number, data, START_NS + number, number + 1)
    return recording


def record_cartpole(folder: Path, ticks: int = 60, **options: Any) -> Path:  # noqa: ANN401 - of RobotRecorder
    """A bag of one activation."""
    recorder = RobotRecorder(folder, **options)
    recorder.activate()
    recorder.run(ticks)
    return recorder.close()


def observation(values: Array) -> bytes:
    """A serialised observation."""
    store = messages()
    header = store.types["std_msgs/msg/Header"](stamp=stamp(START_NS), frame_id="")
    kind = "demo_msgs/msg/Observation"
    return bytes(store.serialize_cdr(store.types[kind](header=header, sequence=0, values=values), kind))
