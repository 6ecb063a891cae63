"""A bring-up with the relay in it: its phases, its restarts, and the log of what its driver really sent."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from demo_msgs.msg import Action, Observation, WalkingState
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Vector3
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int64, String
from std_srvs.srv import Trigger

from demo_control.bringup.run import BringUpError, epitaph
from demo_control.bringup.shared_memory import remove_leftovers
from demo_control.bringup.supervisor import Supervisor
from demo_control.bundle import default_bundle
from demo_control.faults.bringup import bringup_of, with_relay
from demo_control.faults.judge import Bounds, Lives, Sent, bounds_of
from demo_control.faults.peer import Peer
from demo_control.faults.relay_node import DONE_TOPIC, ORDER_TOPIC, Order
from demo_control.faults.table import DRIVER, PUSHED, RELEASE, RISING, STOPPING
from demo_control.nodes.control_loop import ControlGroup
from demo_control.nodes.messages import nanoseconds, values_of
from demo_control.nodes.quality import CONTROL_SUBSCRIBER, DIAGNOSTICS, LATCHED, RECORDING
from demo_control.tasks import Task, load_task

RobotT = TypeVar("RobotT", bound="RunningRobot")

_NEWEST_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_SETTLE_S = 6.0
_RISING_S = 0.4
_PUSH_N = 60.0
_PUSH_SHARE = 0.3
_STEADY_COST = 0.1
_STOPPED_S = 0.2
_CALM_S = 0.2


class RunningRobot(Peer):
    """A robot, its driver and its controllers; a context manager.

    All of it in one thread, which must be one that lives on.

    Args:
        task: Name of the task.
        seed: Of the robot, the planner and the relay.
        pushed: Whether the robot is pushed now and then.
        check: Called while waiting; may raise to end everything.
    """

    def __init__(self, task: str, seed: int, *, pushed: bool, check: Callable[[], None]) -> None:
        self.task: Task = load_task(task)
        self.log: list[Sent] = []
        self.folder = Path(tempfile.mkdtemp(prefix="demo_control-faults-"))
        self.bundle = self.folder / "bundle"
        try:
            shutil.copytree(default_bundle(task), self.bundle)
            bringup = bringup_of(task, seed, self.bundle)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        push_n = _PUSH_SHARE * float(np.max(self.task.action_maximum))
        self.bringup = with_relay(bringup, self.task.control_period_s, pushed, push_n)
        self.driver = next(node.name for node in bringup.nodes if node.ends_run)
        self.supervisor = Supervisor(self.bringup, grace_s=3.0)
        self._origin_ns = time.time_ns()
        self._lives = Lives()
        self._answers = 0
        self._observation: Observation | None = None
        self._largest_cost = 0.0
        self._core_state = ""
        self._core_reason = ""
        self._walking = ""
        self._order = Order(0)
        self._done = 0
        self._check = check

    def __enter__(self: RobotT) -> RobotT:
        """Start everything, up to the point where commands come as soon as the gate opens.

        Raises:
            BringUpError: A node ended instead.
            TimeoutError: Something did not come about in time.
        """
        try:
            self.supervisor.__enter__()
            self.open_peer(self._check)
            self._subscribe()
            for name in self.lifecycle_names():
                self.bring_up(name)
            self.bounds = self._read_bounds()
            self._meet()
        except BaseException as error:
            ended = self.supervisor.ended()
            self.close()
            if ended is not None and isinstance(error, TimeoutError):
                raise BringUpError(epitaph(ended)) from None
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End everything."""
        self.close()

    def close(self) -> None:
        """End all processes, and remove what they left."""
        self.supervisor.note_segments()
        self.supervisor.stop()
        segments = self.supervisor.segments()
        self.close_peer()
        remove_leftovers(segments)
        shutil.rmtree(self.folder, ignore_errors=True)

    def lifecycle_names(self) -> list[str]:
        """The controllers, in the order of activating."""
        return [node.name for node in self.bringup.nodes if node.lifecycle]

    def _subscribe(self) -> None:
        node = self.node
        # As a node of the control path hears them: an observer that lags beside busy programs judges the wrong moments.
        heard = {"callback_group": ControlGroup()}
        node.create_subscription(Action, "applied_action", self._on_applied, RECORDING, **heard)
        node.create_subscription(Action, "sent/action", self._on_answer, CONTROL_SUBSCRIBER, **heard)
        node.create_subscription(Observation, "observation", self._on_observation, CONTROL_SUBSCRIBER, **heard)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)
        node.create_subscription(WalkingState, "walking_state", self._on_walking, _NEWEST_LATCHED)
        node.create_subscription(Int64, DONE_TOPIC, self._on_done, LATCHED)
        self._orders = node.create_publisher(String, ORDER_TOPIC, LATCHED)
        self._push_topic = node.create_publisher(Vector3, "push", 10)

    def _on_applied(self, message: Action, info: Mapping[str, int | None]) -> None:
        stamp_ns = nanoseconds(message.header.stamp)
        sequence, life = int(message.observation_sequence), self._lives.at(stamp_ns)
        time_s, number = self._time_s(stamp_ns), info["publication_sequence_number"]
        self.log.append(Sent(time_s, tuple(message.values), message.source, sequence, life, number))

    def _time_s(self, stamp_ns: int) -> float:
        """A stamp on the log's time line."""
        return (stamp_ns - self._origin_ns) / 1e9

    def _on_answer(self, _message: Action) -> None:
        self._answers += 1

    def _on_observation(self, message: Observation) -> None:
        # Others may publish nonsense here: that is one of the faults.
        if self.task.unusable_observation(values_of(message)):
            return
        if self._is_of_the_dead(message):
            return  # no sign that the next driver observes
        self._observation = message
        self._largest_cost = max(self._largest_cost, self._cost())

    def _is_of_the_dead(self, message: Observation | DiagnosticArray | WalkingState) -> bool:
        """Whether a driver that was killed since then may have said this: its last words may come late."""
        return self._lives.at(nanoseconds(message.header.stamp)) != self._lives.newest

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        if self._is_of_the_dead(message):
            return
        for status in message.status:
            if status.name.endswith(self.driver):
                self._core_state = {pair.key: pair.value for pair in status.values}.get("state", "")
                self._core_reason = status.message

    def _on_walking(self, message: WalkingState) -> None:
        if not self._is_of_the_dead(message):
            self._walking = message.state

    def _on_done(self, message: Int64) -> None:
        self._done = int(message.data)

    def outputs_until_now(self) -> int:
        """How many outputs there are by now: those that wait are taken in first."""
        now_s, before = self._time_s(time.time_ns()), -1
        while before < len(self.log) and (not self.log or self.log[-1].time_s < now_s):
            before = len(self.log)
            self.spin(0.0)
        return len(self.log)

    def tell_relay(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Order
        """Change what the relay does, and wait until it does."""
        self._order = replace(self._order, number=self._order.number + 1, **changes)
        self._orders.publish(String(data=self._order.text()))
        self.wait_until(lambda: self._done == self._order.number, "the relay obeys")

    def _read_bounds(self) -> Bounds:
        """What must hold, from the task and the driver's parameters."""
        listed = self.call(ListParameters, f"/{self.driver}/list_parameters", ListParameters.Request())
        names = [name for name in listed.result.names if "rate_limit" in name or name == "command_timeout_s"]
        values = self.call(GetParameters, f"/{self.driver}/get_parameters", GetParameters.Request(names=names)).values
        found = {name: parameter_value_to_python(value) for name, value in zip(names, values, strict=True)}
        box = self.task.action_minimum.tolist(), self.task.action_maximum.tolist()
        return bounds_of(*box, self.task.control_period_s, found)

    # Phases

    def _meet(self) -> None:
        """Wait until everybody hears everybody: the controllers answer, and the driver hears the relay."""
        self.tell_relay(gate_open=False, distortions={})
        before = self._answers
        self.wait_until(lambda: self._answers > before + 5, "the controllers answer")
        self.wait_until(lambda: self.node.count_subscribers("action") >= 1, "the driver listens")

    def restart_driver(self) -> None:
        """A new robot at its start, held until the gate opens."""
        self.tell_relay(gate_open=False, distortions={})
        self.restart(DRIVER)
        self._meet()

    def commanded(self, since: int = 0) -> bool:
        """Whether commands have been carried out without a stop for the last fifth of a second.

        Args:
            since: Index of the first output that counts.
        """
        calm = round(_CALM_S / self.task.control_period_s)
        last = self.log[max(since, len(self.log) - calm) :]
        return len(last) == calm and last[0].life == self._lives.newest and not any(sent.is_safe for sent in last)

    @property
    def latched(self) -> str:
        """Why the robot stays where it is, or ''."""
        if self._walking == WalkingState.DAMPED:
            return "fell; damped"
        return self._core_reason if self._core_state == "fault" else ""

    def open_gate(self) -> None:
        """Let commands through."""
        self.tell_relay(gate_open=True)

    def prepare(self, phase: str) -> None:
        """Bring the robot into a phase."""
        if phase in (RELEASE, RISING):
            self.restart_driver()
            if phase == RISING:
                self.open_gate()
                self.wait_until(self.commanded, "the robot's release")
                self.spin_for(_RISING_S)
            return
        self._become_steady()
        if phase == PUSHED:
            self._push_topic.publish(Vector3(x=0.0, y=_PUSH_N, z=0.0))
            self.spin_for(0.05)
        elif phase == STOPPING:
            self._stop()

    def _become_steady(self) -> None:
        """Wait until the robot does what it is for; a robot that cannot is replaced."""
        for _ in range(2):
            if self.latched or not self.log or self.log[-1].life != self._lives.newest:
                self.restart_driver()
            self.open_gate()
            self._go_on()
            try:
                self.wait_until(
                    lambda: self.commanded() and (self._is_steady() or bool(self.latched)), "steady", _SETTLE_S
                )
            except TimeoutError:
                continue
            if not self.latched:
                return
        self.wait_until(lambda: self.commanded() or bool(self.latched), "commands")

    def _is_steady(self) -> bool:
        """Walking, where the robot walks; else a cost far below the largest seen, which is that of hanging."""
        if self._walking:
            return bool(self._walking == WalkingState.WALKING)
        return bool(self._cost() < _STEADY_COST * self._largest_cost)

    def _cost(self) -> float:
        """The newest observation's cost, without an action."""
        if self._observation is None:
            return float("inf")
        observation = np.array(self._observation.values)[np.newaxis]
        reward = self.task.reward(observation, np.zeros((1, self.task.action_dim)))
        return self.task.alive_reward - float(reward[0])

    def _has(self, service: str) -> bool:
        return any(name == f"/{service}" for name, _ in self.node.get_service_names_and_types())

    def _go_on(self) -> None:
        if self._walking == WalkingState.STANDING:
            self.call(Trigger, "walk", Trigger.Request())

    def _stop(self) -> None:
        if self._has("stop"):
            self.call(Trigger, "stop", Trigger.Request())
        else:
            self.tell_relay(gate_open=False)
            self.spin_for(_STOPPED_S)

    def real_name(self, node: str) -> str:
        """A node's name; the driver's own for :data:`DRIVER`."""
        return self.driver if node == DRIVER else node

    def kill(self, node: str) -> None:
        """SIGKILL."""
        self.supervisor.note_segments()
        process = self.supervisor.process(self.real_name(node))
        process.send(signal.SIGKILL)
        process.wait(5.0)

    def restart(self, node: str) -> None:
        """Anew; a lifecycle node becomes active."""
        name = self.real_name(node)
        self.supervisor.note_segments()
        if name == self.driver:
            # It goes down without a last word: that would be the end of a run, not of a fault.
            self.kill(node)
            self.spin_for(0.03)
            self._lives.begin(time.time_ns())
            self._core_state = self._core_reason = self._walking = ""
            self._observation = None
        self.supervisor.restart(name)
        if name in self.lifecycle_names():
            self.bring_up(name)
        else:
            self.wait_until(lambda: self._observation is not None, "the driver's first observation")
