"""viewer_node (`democtl view`): shows what is said on the topics in Rerun, in a process of its own.

It asks for nothing: it listens best effort with queues of one message, looks at them a few times a second, and shows
the newest of each. What it misses is missed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import rerun as rr
from demo_msgs.msg import Action, LayerState, Observation, PlannerStatus, WalkingState
from geometry_msgs.msg import Vector3Stamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from demo_control.configuration import ConfigurationError
from demo_control.nodes.running import RosError
from demo_control.tasks import Array, Task, load_task
from demo_control.viewing.scene import PLAN_FIGURES, PLAN_TIMES, Scene, heading, turned

EARS = "_ears"
"""Suffix of the name of the node that has the subscriptions."""

_PERIOD_S = 0.04
_VECTORS_EVERY = 3
_PATIENCE_S = 3.0
"""So long it waits for the layer to tell which robot this is."""
_ARROW_SHOWN_S = 0.4


@dataclass
class _Ear:
    """One topic: its subscription, and what a message is shown by; ``seldom`` ones are not thinned out."""

    kind: type
    subscription: Subscription
    show: Callable[[Any], None]
    seldom: bool


class ViewerNode(Node):  # type: ignore[misc] # rclpy has no types
    """Shows the running robot.

    Args:
        stream: Of Rerun.
    """

    def __init__(self, stream: rr.RecordingStream) -> None:
        super().__init__("viewer_node")
        self._stream = stream
        self._scene: Scene | None = None
        self._task: Task | None = None
        self._description = ""
        self._dimensions = {"observation": 0, "action": 0}
        self._began_s: float | None = None
        self._origin_ns: int | None = None
        self._pose: tuple[Array, Array] | None = None
        self._arrow_until_s = math.inf
        self._source = ""
        self._ticks = 0
        # A node of its own, which no executor has: nothing is done for the messages that are not looked at.
        self._listener = Node(
            self.get_name() + EARS, context=self.context, start_parameter_services=False, enable_rosout=False,
            use_global_arguments=False,
        )  # fmt: skip
        self._ears = [
            self._ear(LayerState, "layer_state", self._on_layer, latched=True),
            self._ear(String, "robot_description", self._on_description, latched=True),
            self._ear(WalkingState, "walking_state", self._on_state, latched=True),
            self._ear(JointState, "joint_states", self._on_joints),
            self._ear(Odometry, "odom", self._on_odometry),
            self._ear(Observation, "observation", self._on_observation),
            self._ear(Action, "nominal_action", lambda message: self._on_action("nominal", message)),
            self._ear(Action, "action", lambda message: self._on_action("commanded", message)),
            self._ear(Action, "applied_action", lambda message: self._on_action("applied", message)),
            self._ear(PlannerStatus, "planner_status", self._on_plan, depth=10),
            self._ear(Vector3Stamped, "applied_push", self._on_push, depth=10),
        ]
        self.create_timer(_PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info("listening; Ctrl-C ends it")

    def destroy_node(self) -> None:
        """End, with all that was seen on its way to the viewer."""
        self._stream.flush()
        self._listener.destroy_node()
        super().destroy_node()

    def _ear(
        self, kind: type, topic: str, show: Callable[[Any], None], *, depth: int = 1, latched: bool = False
    ) -> _Ear:
        quality = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=10 if latched else depth,
            reliability=ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        subscription = self._listener.create_subscription(kind, topic, lambda _message: None, quality)
        return _Ear(kind, subscription, show, latched or depth > 1)

    def _look(self) -> None:
        """Show what has come."""
        self._ticks += 1
        for ear in self._ears:
            fast = ear.seldom or ear.kind in (JointState, Odometry)
            if not fast and self._ticks % _VECTORS_EVERY:
                continue
            handle = ear.subscription.handle
            try:
                with handle:
                    while (taken := handle.take_message(ear.kind, False)) is not None:
                        ear.show(taken[0])
            except RosError:
                return  # the context has ended
        self._begin()

    def _begin(self) -> None:
        """Begin to show as soon as it is known what; the robot may not tell what it is."""
        if self._scene is not None or not self._dimensions["observation"]:
            return
        self._began_s = self._began_s or time.monotonic()
        late = time.monotonic() - self._began_s > _PATIENCE_S
        if late or (self._task is not None and self._description):
            dimensions = self._dimensions["observation"], self._dimensions["action"]
            moves = self._pose is not None
            self._scene = Scene(self._stream, self._task, self._description, dimensions, moves=moves)
            shown = "entries by number" if self._task is None else self._task.name
            self.get_logger().info(f"showing {shown}")

    def _on_layer(self, message: LayerState) -> None:
        try:
            self._task = self._task or load_task(message.task)
        except ConfigurationError as error:
            self.get_logger().warning(str(error), once=True)
        self._event(message, "layer changed" if message.commands or message.plans else "layer activated")

    def _on_description(self, message: String) -> None:
        self._description = message.data

    def _on_state(self, message: WalkingState) -> None:
        bad = message.state == WalkingState.DAMPED
        self._event(message, f"robot: {message.state.replace('_', ' ')} ({message.reason})", bad=bad)

    def _on_joints(self, message: JointState) -> None:
        scene, times_s = self._now(message)
        if scene is not None and len(message.name) == len(message.position):
            scene.move(times_s, message.name, np.array([message.position]))

    def _on_odometry(self, message: Odometry) -> None:
        pose = message.pose.pose
        position = np.array([pose.position.x, pose.position.y, pose.position.z])
        turn = np.array([getattr(pose.orientation, axis) for axis in "wxyz"])
        scene, times_s = self._now(message)
        if not np.isfinite([*position, *turn]).all():
            return
        self._pose = position, turn
        if scene is None:
            return
        scene.place(times_s, position[None], turn[None])
        if times_s[0] > self._arrow_until_s:
            self._arrow_until_s = math.inf
            scene.at(float(times_s[0]))
            scene.push(None, np.zeros(3))

    def _on_observation(self, message: Observation) -> None:
        self._dimensions["observation"] = len(message.values)
        scene, times_s = self._now(message)
        if scene is not None:
            scene.observe(times_s, np.array([message.values]))

    def _on_action(self, kind: str, message: Action) -> None:
        self._dimensions["action"] = len(message.values)
        scene, times_s = self._now(message)
        if scene is None:
            return
        scene.command(kind, times_s, np.array([message.values]))
        if kind == "commanded" and message.source != self._source:
            self._source = message.source
            self._event(message, f"commands by {message.source}", bad=":" in message.source)

    def _on_plan(self, message: PlannerStatus) -> None:
        scene, times_s = self._now(message)
        if scene is None:
            return
        for name in (*PLAN_FIGURES, *PLAN_TIMES):
            scene.plan(name, times_s, np.array([getattr(message, name)]))
        if len(message.cost_terms) == len(message.plan_costs):
            scene.costs(message.cost_terms, times_s, np.array([message.plan_costs]))
        if not message.accepted and message.rejection_reason != "no_gain":
            self._event(message, f"plan rejected: {message.rejection_reason}", bad=True)

    def _on_push(self, message: Vector3Stamped) -> None:
        scene, times_s = self._now(message)
        force = np.array([message.vector.x, message.vector.y, message.vector.z])
        if scene is None or self._pose is None or not force.any() or not np.isfinite(force).all():
            return
        scene.at(float(times_s[0]))
        scene.push(self._pose[0], turned(force, heading(self._pose[1])))
        self._arrow_until_s = float(times_s[0]) + _ARROW_SHOWN_S
        self._event(message, f"pushed with {np.linalg.norm(force):.0f} N", bad=True)

    def _event(self, message: Any, text: str, *, bad: bool = False) -> None:  # noqa: ANN401 - with a header
        scene, times_s = self._now(message)
        if scene is not None:
            scene.at(float(times_s[0]))
            scene.event(text, bad=bad)

    def _now(self, message: Any) -> tuple[Scene | None, Array]:  # noqa: ANN401 - with a header
        """Where to show a message, and its time since the first one. Shape=(1,)."""
        stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        if self._origin_ns is None and isinstance(message, Observation):
            self._origin_ns = stamp_ns
        origin_ns = stamp_ns if self._origin_ns is None else self._origin_ns
        return self._scene, np.array([(stamp_ns - origin_ns) / 1e9])
