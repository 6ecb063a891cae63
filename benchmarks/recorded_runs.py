"""Recordings of simulated robots, made in one process and faster than real time.

The driver's simulation, the policy, the layer and the recorder's writer are those of a bring-up; between them messages
are handed over in lockstep instead of by DDS: each command answers its observation within the control period, and each
plan is there for the next command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from demo_control.bags.definitions import installed_definition
from demo_control.bags.recording import Recording
from demo_control.bundle import load_bundle
from demo_control.configuration import Scalar
from demo_control.drivers.core import Command, DriverState, Output
from demo_control.drivers.simulated_robot import SimulatedRobot
from demo_control.drivers.walking import WalkingSettings
from demo_control.layer import DemoLayer, LayerSettings, LayerState, PlanReport
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Array, Task, load_task
from stoch2_sim.drivers.cartpole_settings import CartpoleDriverSettings
from stoch2_sim.drivers.simulated_cartpole import SimulatedCartpole
from stoch2_sim.drivers.simulated_stoch2 import SimulatedStoch2, Stoch2Setup
from stoch2_sim.drivers.stoch2_settings import Stoch2DriverSettings
from stoch2_sim.robots.cartpole.parameters import PlantSettings
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.reference import CommandSettings, LeashSettings

_KINDS = {
    "/observation": "Observation", "/nominal_action": "Action", "/action": "Action", "/applied_action": "Action",
    "/planner_status": "PlannerStatus", "/layer_state": "LayerState",
}  # fmt: skip
_START_NS = 1_700_000_000_000_000_000
_ANSWER_NS = 100_000
"""How soon after its observation a command arrives."""


@dataclass(frozen=True)
class RunRequest:
    """One run to be recorded.

    Attributes:
        task: 'cartpole' or 'stoch2'.
        bundle: Directory.
        seconds: Length.
        seed: Of the driver and of the layer's noise.
        robot: How the robot differs from the nominal one, by name.
        driver: Settings of the driver, by name.
        sensing: Of Stoch2, by name.
        layer: Settings of the layer, by name.
    """

    task: str
    bundle: Path
    seconds: float
    seed: int
    robot: Mapping[str, Scalar] = field(default_factory=dict)
    driver: Mapping[str, Scalar] = field(default_factory=dict)
    sensing: Mapping[str, Scalar] = field(default_factory=dict)
    layer: Mapping[str, Scalar] = field(default_factory=dict)


def make_robot(request: RunRequest, task: Task) -> SimulatedRobot:
    """The simulated robot behind the driver."""
    driver = {"seed": request.seed, "duration_s": request.seconds, **request.driver}
    if request.task == "cartpole":
        plant = PlantSettings.from_mapping(request.robot)
        return SimulatedCartpole(task, CartpoleDriverSettings.from_mapping(driver), plant)
    # What stoch2_driver itself starts from: estimates, from exact sensors.
    sensing = replace(SensingParameters(), ideal_sensing=False)
    setup = Stoch2Setup(
        driver=Stoch2DriverSettings.from_mapping(driver),
        robot=RobotParameters.from_mapping(request.robot),
        sensing=SensingParameters.from_mapping(request.sensing, base=sensing),
        walking=WalkingSettings(),
        commands=CommandSettings(),
        leash=LeashSettings(),
    )
    return SimulatedStoch2(setup)


@dataclass(frozen=True)
class Run:
    """What happened.

    Attributes:
        observations: As the layer saw them. Shape=(ticks, observation_dim).
        true_observations: Before each control period. Shape=(ticks, observation_dim).
        controls: What was decided, in the planning problem's terms. Shape=(ticks, control_dim).
        actions: What the actuators got at each period's end. Shape=(ticks, action_dim).
        failed: Whether the robot could not go on.
    """

    observations: Array
    true_observations: Array
    controls: Array
    actions: Array
    failed: bool


def run(request: RunRequest, folder: Path | None = None) -> Run:
    """Run, and record where a folder is given."""
    task = load_task(request.task)
    bundle = load_bundle(request.bundle, task)
    settings = LayerSettings.for_task(task, {"engine_threads": 1, **request.layer})
    layer, policy = DemoLayer(task, bundle, settings, request.seed), OnnxPolicy(bundle.policy)
    robot = make_robot(request, task)
    about = {
        "format": "1",
        "bringup": request.task,
        "seed": str(request.seed),
        "robot": json.dumps(dict(request.robot)),
    }
    writer = None if folder is None else _Writer(folder, about)
    try:
        state = layer.reset()
        if writer is not None:
            writer.state(state, task.name, request.bundle)
        return _run(request, task, layer, policy, robot, writer)
    finally:
        robot.close()
        if writer is not None:
            writer.recording.close()


def _run(
    request: RunRequest, task: Task, layer: DemoLayer, policy: OnnxPolicy, robot: SimulatedRobot, writer: _Writer | None
) -> Run:
    period_ns = round(task.control_period_s * 1e9)
    rows: list[tuple[Array, Array, Array, Array]] = []
    for tick in range(round(request.seconds / task.control_period_s)):
        now_ns = tick * period_ns
        values = robot.sense()
        true = robot.true_observation()
        robot.core.observed(tick, now_ns, _START_NS + now_ns)
        nominal = policy.act(values[None])[0]
        correction = layer.correct(tick, nominal)
        assert correction.values is not None
        assert correction.control is not None
        source = ":".join(part for part in (correction.source, correction.reason) if part)
        answered_ns = now_ns + _ANSWER_NS
        robot.wire.send(Command(tick, _START_NS + now_ns, _START_NS + answered_ns, source, correction.values), now_ns)
        report = layer.plan(tick, values) if tick % layer.settings.plan_period_ticks == 0 else None
        outputs = robot.run_period(now_ns).outputs
        rows.append((values.copy(), true.copy(), correction.control, robot.core.output.values))
        if writer is not None:
            writer.say("/observation", now_ns, sequence=tick, values=values)
            writer.action("/nominal_action", now_ns, now_ns, tick, "policy", nominal, 0)
            writer.action("/action", answered_ns, now_ns, tick, source, correction.values, correction.plans)
            if report is not None:
                writer.status(answered_ns, report, layer)
            for output in outputs:
                writer.applied(output)
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Run(*columns, failed=robot.core.state is DriverState.FAULT)


class _Writer:
    """Writes messages as the recorder would have heard them."""

    def __init__(self, folder: Path, about: Mapping[str, str]) -> None:
        self.recording = Recording(folder, about)
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._topics: dict[str, int] = {}
        self._counts: dict[str, int] = dict.fromkeys(_KINDS, 0)
        for topic, name in _KINDS.items():
            kind = f"demo_msgs/msg/{name}"
            definition = installed_definition(kind)
            types = get_types_from_msg(definition, kind)
            self._store.register({key: value for key, value in types.items() if key not in self._store.fielddefs})
            self._topics[topic] = self.recording.add_topic(topic, kind, definition, "", "[]")

    def say(self, topic: str, time_ns: int, **fields: Any) -> None:  # noqa: ANN401 - of the type
        """Write one message."""
        types, kind = self._store.types, f"demo_msgs/msg/{_KINDS[topic]}"
        header = types["std_msgs/msg/Header"](stamp=self.time(time_ns), frame_id="")
        data = bytes(self._store.serialize_cdr(types[kind](header=header, **fields), kind))
        self._counts[topic] += 1
        stamp_ns = _START_NS + time_ns
        self.recording.put(self._topics[topic], stamp_ns, data, stamp_ns, self._counts[topic])

    def time(self, time_ns: int) -> Any:  # noqa: ANN401 - of rosbags' type
        """A stamp."""
        seconds, nanoseconds = divmod(_START_NS + time_ns, 1_000_000_000)
        return self._store.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)

    def action(
        self, topic: str, time_ns: int, seen_ns: int, number: int, source: str, values: Array, plans: int
    ) -> None:
        """Write a command."""
        self.say(
            topic, time_ns, observation_sequence=number, observation_stamp=self.time(seen_ns), source=source,
            values=values, plans=plans,
        )  # fmt: skip

    def applied(self, output: Output) -> None:
        """Write what the actuators got."""
        seen_ns = output.observation_stamp_ns - _START_NS
        number = output.observation_sequence
        self.action("/applied_action", output.time_ns, seen_ns, number, output.source, output.values, 0)

    def state(self, state: LayerState, task: str, directory: Path) -> None:
        """Write what the layer's answers depend on."""
        texts = {name: json.dumps(dict(getattr(state, name))) for name in ("settings", "cost_weights")}
        self.say(
            "/layer_state", 0, activation=1, task=task, bundle_directory=str(directory), **{**vars(state), **texts}
        )

    def status(self, time_ns: int, report: PlanReport, layer: DemoLayer) -> None:
        """Write how a plan went."""
        values: dict[str, Any] = dict(vars(report))
        for name in ("nominal_costs", "plan_costs"):
            values[name] = _doubles(values[name])
        values["cost_terms"] = list(values["cost_terms"])
        counters = layer.counters
        self.say(
            "/planner_status", time_ns, observation_age_s=0.0, plan_age_s=report.plan_time_s, **values,
            commands=counters.commands, plans=counters.plans, overruns=0, fallback_reasons=[],
            fallback_counts=_doubles(()).astype("uint64"),
        )  # fmt: skip


def _doubles(values: Any) -> Array:  # noqa: ANN401 - a sequence of numbers
    return np.array(values, np.float64)
