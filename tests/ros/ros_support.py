"""What the tests over DDS share: a peer that waits for conditions, and a small exact bundle."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import pytest
import rclpy
from demo_msgs.msg import Action, Observation, PlannerStatus
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from demo_control.bringup.process import NodeProcess
from demo_control.bundle import make_bundle, save_bundle
from demo_control.nodes.messages import nanoseconds
from demo_control.nodes.quality import CONTROL_PUBLISHER, RECORDING
from demo_control.onnx_graph import GraphBuilder
from demo_control.policies import linear_policy_model
from demo_control.tasks import Array, Task

DEADLINE_S = 30.0
ASK_AGAIN_S = 3.0
STATE = [0.1, 0.2, -1.0, 0.0, 0.3]
NOMINAL = [-1.25]


class StartNode(Protocol):
    """Starts a node of a module as a process, with parameters or with a parameter file."""

    def __call__(
        self, module: str, *, parameters: dict[str, Any] | None = None, file: Path | None = None
    ) -> NodeProcess: ...


class Peer:
    """A node of the test itself."""

    def __init__(self, name: str = "test_peer") -> None:
        self.context = Context()
        rclpy.init(context=self.context, args=[])
        self.node = rclpy.create_node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def wait_until(self, condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> None:
        """Spin until a condition holds; fails the test otherwise."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout_s:g} s: {what}")
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, service_type: type, name: str, request: object, timeout_s: float = DEADLINE_S) -> Any:  # noqa: ANN401
        """Call a service and wait for its answer; asks again where a request went to a server that is dead."""
        client = self.node.create_client(service_type, name)
        self.wait_until(client.service_is_ready, f"service {name}", timeout_s)
        futures = [client.call_async(request)]
        asked_s = time.monotonic()

        def answered() -> bool:
            nonlocal asked_s
            # A killed process's endpoints live on in everybody's graph until their lease of 20 s is over.
            if time.monotonic() - asked_s > ASK_AGAIN_S:
                asked_s = time.monotonic()
                futures.append(client.call_async(request))
            return any(future.done() for future in futures)

        self.wait_until(answered, f"answer of {name}", timeout_s)
        self.node.destroy_client(client)
        return next(future.result() for future in futures if future.done())

    def change_state(self, node: str, transition: int) -> bool:
        """One lifecycle transition; False if the node refuses."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f"/{node}/change_state", request).success)

    def bring_up(self, node: str) -> None:
        """Configure and activate."""
        assert self.change_state(node, Transition.TRANSITION_CONFIGURE)
        assert self.change_state(node, Transition.TRANSITION_ACTIVATE)

    def state(self, node: str) -> str:
        """The lifecycle state's label."""
        return str(self.call(GetState, f"/{node}/get_state", GetState.Request()).current_state.label)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


class Commander:
    """Answers a driver's observations by a script, and gathers all that it says."""

    def __init__(self, peer: Peer, driver: str) -> None:
        self.peer = peer
        self.driver = driver
        self.policy: Callable[[Array], Array | float] | None = None
        self.observations: list[Observation] = []
        self.truth: list[Observation] = []
        self.applied: list[Action] = []
        self.joints: list[JointState] = []
        self.clock: list[int] = []
        self.descriptions: list[str] = []
        self.diagnostics: list[dict[str, str]] = []
        node = peer.node
        self.publisher = node.create_publisher(Action, "action", CONTROL_PUBLISHER)
        node.create_subscription(Observation, "observation", self._on_observation, CONTROL_PUBLISHER)
        node.create_subscription(Observation, "ground_truth", self.truth.append, RECORDING)
        node.create_subscription(Action, "applied_action", self.applied.append, RECORDING)
        node.create_subscription(JointState, "joint_states", self.joints.append, 10)
        node.create_subscription(Clock, "/clock", lambda m: self.clock.append(nanoseconds(m.clock)), 10)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(String, "robot_description", lambda m: self.descriptions.append(m.data), latched)

    def _on_observation(self, message: Observation) -> None:
        self.observations.append(message)
        if self.policy is not None:
            self.send(message, np.atleast_1d(self.policy(np.array(message.values))).tolist())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(self.driver):
                self.diagnostics.append({pair.key: pair.value for pair in status.values})

    def send(self, answered: Observation, values: list[float], **changes: Any) -> None:  # noqa: ANN401
        """Send a command for an observation, perhaps with other fields than the right ones."""
        action = Action(observation_sequence=answered.sequence, source="script", values=values)
        action.observation_stamp = answered.header.stamp
        action.header.stamp = answered.header.stamp
        for name, value in changes.items():
            setattr(action, name, value)
        self.publisher.publish(action)

    def meet(self) -> None:
        """Wait until observations arrive and commands have a receiver."""
        self.peer.wait_until(lambda: self.observations and self.publisher.get_subscription_count(), "driver matched")

    def latest(self, key: str) -> str:
        """A value of the newest diagnostics, '' before the first."""
        return self.diagnostics[-1].get(key, "") if self.diagnostics else ""

    def wait_for(self, key: str, value: str, what: str) -> None:
        self.peer.wait_until(lambda: self.latest(key) == value, what)


class Robot:
    """Sends pairs of observation and nominal action, as driver and policy do, and gathers what comes back."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sequence = 0
        self.commands: list[Action] = []
        self.statuses: list[PlannerStatus] = []
        node = peer.node
        self.observations = node.create_publisher(Observation, "observation", CONTROL_PUBLISHER)
        self.nominal_actions = node.create_publisher(Action, "nominal_action", CONTROL_PUBLISHER)
        node.create_subscription(Action, "action", self.commands.append, RECORDING)
        node.create_subscription(PlannerStatus, "planner_status", self.statuses.append, RECORDING)

    def meet(self) -> None:
        node = self.peer.node

        def matched() -> bool:
            listened = self.observations.get_subscription_count() and self.nominal_actions.get_subscription_count()
            return bool(listened and node.count_publishers("action") and node.count_publishers("planner_status"))

        self.peer.wait_until(matched, "layer node matched")

    def send(self, values: list[float], nominal: list[float]) -> int:
        self.sequence += 1
        now = self.peer.node.get_clock().now().to_msg()
        observation = Observation(sequence=self.sequence, values=values)
        observation.header.stamp = now
        self.observations.publish(observation)
        self.nominal_actions.publish(
            Action(observation_sequence=self.sequence, observation_stamp=now, source="policy", values=nominal)
        )
        return self.sequence

    def tick(self, period_s: float = 0.02) -> None:
        """One control period of real time: send, then listen until it is over."""
        end = time.monotonic() + period_s
        self.send(STATE, NOMINAL)
        while (left := end - time.monotonic()) > 0:
            self.peer.executor.spin_once(timeout_sec=left)

    def answer_to(self, sequence: int) -> Action | None:
        return next((a for a in self.commands if a.observation_sequence == sequence), None)

    def ask(self) -> Action:
        """Tick until a command comes back."""
        before = len(self.commands)

        def answered() -> bool:
            self.tick()
            return len(self.commands) > before

        self.peer.wait_until(answered, "a command")
        return self.commands[-1]


def start_robot(peer: Peer, start: StartNode, bundle: Path, **changes: object) -> tuple[Robot, NodeProcess]:
    parameters = {
        "task": "cartpole", "bundle_directory": str(bundle), "horizon": 10, "num_samples": 32, **changes,
    }  # fmt: skip
    process = start("demo_control.nodes.demo_layer_node", parameters=parameters)
    robot = Robot(peer)
    peer.bring_up("demo_layer_node")
    robot.meet()
    return robot, process


def save_test_bundle(
    task: Task, directory: Path, velocity_gain: float, dynamics: onnx.ModelProto | None = None
) -> Path:
    weights = np.array([[0.0, velocity_gain, 0.0, 0.0, 0.0]])
    policy = linear_policy_model(
        weights, np.zeros(1), np.zeros(5), np.ones(5), task.action_minimum, task.action_maximum
    )
    model = exact_dynamics() if dynamics is None else dynamics
    save_bundle(make_bundle(task, policy=policy, dynamics=model), directory, "For tests.\n")
    return directory


def still_dynamics() -> onnx.ModelProto:
    """A cart-pole that nothing moves."""
    graph = GraphBuilder("still")
    observation, force = graph.input("observation", (1, "batch", 5)), graph.input("action", (1, "batch", 1))
    nothing = graph.node("MatMul", force, graph.constant(np.zeros((1, 1, 5))))
    graph.output("next_observation", graph.node("Add", observation, nothing), (1, "batch", 5))
    graph.output("log_variance", graph.node("Sub", nothing, graph.constant(12.0)), (1, "batch", 5))
    return graph.build()


def exact_dynamics(substeps: int = 2, period_s: float = 0.02) -> onnx.ModelProto:
    """The frictionless cart-pole (1 kg, 0.1 kg, half length 0.5 m) by the semi-implicit Euler method, as ONNX."""
    graph = GraphBuilder("cartpole")
    constant = graph.constant
    x, v, c, s, w = graph.split_node("Split", [graph.input("observation", (1, "batch", 5))], 5, axis=2)
    force = graph.input("action", (1, "batch", 1))

    def times(a: str, *others: str) -> str:
        for other in others:
            a = graph.node("Mul", a, other)
        return a

    dt = constant(period_s / substeps)
    for _ in range(substeps):
        pushed = graph.node("Add", force, times(constant(0.05), w, w, s))
        relative = times(pushed, constant(1 / 1.1))
        torque = graph.node("Sub", times(constant(9.81), s), times(c, relative))
        inertia = graph.node("Sub", constant(2.0 / 3.0), times(constant(0.05 / 1.1), c, c))
        pole = graph.node("Div", torque, inertia)
        cart = graph.node("Sub", relative, times(constant(0.05 / 1.1), pole, c))
        v = graph.node("Add", v, times(cart, dt))
        w = graph.node("Add", w, times(pole, dt))
        x = graph.node("Add", x, times(v, dt))
        cosine, sine = graph.node("Cos", times(w, dt)), graph.node("Sin", times(w, dt))
        c, s = (
            graph.node("Sub", times(c, cosine), times(s, sine)),
            graph.node("Add", times(s, cosine), times(c, sine)),
        )
    after = graph.node("Concat", x, v, c, s, w, axis=2)
    graph.output("next_observation", after, (1, "batch", 5))
    graph.output("log_variance", graph.node("Sub", times(after, constant(0.0)), constant(12.0)), (1, "batch", 5))
    return graph.build()
