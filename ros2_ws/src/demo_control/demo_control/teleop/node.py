"""The ROS side of keyboard driving: publishes ``cmd_vel``, calls the robot's services, listens to ``odom``."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import rclpy
from demo_msgs.msg import WalkingState
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from demo_control.teleop.driving import EMERGENCY, REQUESTS, STANDSTILL, Velocity

_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_DELIVERY_S = 0.5
_KINDS = 3
# Odometry older than this is not shown as the robot's speed.
_FRESH_S = 1.0


class Teleop:
    """A node of its own context, so that it leaves signal handlers and other ROS code alone.

    Args:
        arguments: Of ROS, as for the enclave.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self._context = Context()
        rclpy.init(context=self._context, args=list(arguments))
        self._node = rclpy.create_node("teleop", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._commands = self._node.create_publisher(Twist, "cmd_vel", 10)
        self._node.create_subscription(Odometry, "odom", self._on_odometry, _NEWEST)
        self._node.create_subscription(WalkingState, "walking_state", self._on_state, _LATCHED)
        self._services = {name: self._node.create_client(Trigger, name) for name in (*REQUESTS.values(), EMERGENCY)}
        self._emergency = self._node.create_publisher(Bool, "emergency_stop", 10)
        self._odometry: Odometry | None = None
        self._heard_s = -math.inf
        self.state = ""
        self.told = ""

    @property
    def connected(self) -> bool:
        """Whether a robot listens."""
        return bool(self._commands.get_subscription_count())

    @property
    def measured(self) -> Velocity | None:
        """The robot's velocity as its odometry tells it; None if it does not."""
        if self._odometry is None or time.monotonic() - self._heard_s > _FRESH_S:
            return None
        twist = self._odometry.twist.twist
        return Velocity(twist.linear.x, twist.linear.y, twist.angular.z)

    def send(self, velocity: Velocity) -> None:
        """Publish a command."""
        message = Twist()
        message.linear.x, message.linear.y = velocity.forward_mps, velocity.side_mps
        message.angular.z = velocity.turn_radps
        self._commands.publish(message)

    def ask(self, service: str) -> None:
        """Call a service of the robot; :attr:`told` will have its answer."""
        client = self._services[service]
        if not client.service_is_ready():
            self.told = f"{service}: no robot offers this service here"
            return
        self.told = f"{service} …"
        client.call_async(Trigger.Request()).add_done_callback(lambda future: self._on_answer(service, future))

    def emergency_stop(self) -> None:
        """Stop a real robot by topic and by service: one of them may be broken."""
        self._emergency.publish(Bool(data=True))
        self.send(STANDSTILL)
        self.ask(EMERGENCY)
        # Pressed once, not held: a reset is possible as soon as the cause is gone.
        self._emergency.publish(Bool(data=False))

    def spin(self) -> None:
        """Handle what has come: at most one message of each kind, and an answer."""
        for _ in range(_KINDS):
            self._executor.spin_once(timeout_sec=0.0)

    def close(self) -> None:
        """Tell the robot to stand still, and leave the ROS graph."""
        self.send(STANDSTILL)
        # Somebody may have pressed the emergency stop just before.
        for publisher in (self._emergency, self._commands):
            publisher.wait_for_all_acked(Duration(seconds=_DELIVERY_S))
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _on_odometry(self, message: Odometry) -> None:
        self._odometry, self._heard_s = message, time.monotonic()

    def _on_state(self, message: WalkingState) -> None:
        self.state = message.state

    def _on_answer(self, service: str, future: Future) -> None:
        answer = future.result()
        self.told = answer.message or f"{service}: {'done' if answer.success else 'refused'}"
