"""What a driver of a real robot says and offers besides: safety state, joint commands, arming, emergency stop."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from demo_msgs.msg import JointCommand, SafetyState
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from demo_control.drivers.hardware_robot import HardwareRobot
from demo_control.drivers.safety import POSSIBLE, Safety, SafetyRequest
from demo_control.nodes.quality import CONTROL_PUBLISHER

if TYPE_CHECKING:
    from demo_control.drivers.driver_node import DriverNode

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Whoever presses it may be latched or not, reliable or best effort: all must be heard. Who offers to be reliable is
# heard twice, at once and, where that was lost, when it is sent again; hearing it twice changes nothing.
_EMERGENCY = tuple(
    QoSProfile(depth=10, reliability=reliability)
    for reliability in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)
)


class HardwareTopics:
    """The topics and services of a real robot.

    Args:
        node: The robot's driver.
        robot: The robot.
    """

    def __init__(self, node: DriverNode[HardwareRobot], robot: HardwareRobot) -> None:
        self._node = node
        self._robot = robot
        self._known_changes = -1
        self._state = node.publisher(SafetyState, "safety_state", _LATCHED)
        self._command = node.publisher(JointCommand, "joint_command", CONTROL_PUBLISHER)
        self._message = JointCommand(names=list(robot.commanded_names))
        self._inputs = (
            *(node.create_subscription(Bool, "emergency_stop", self._on_emergency_stop, one) for one in _EMERGENCY),
            *(node.create_service(Trigger, request.value, self._answerer(request)) for request in SafetyRequest),
        )
        dry = " (dry run: nothing is sent)" if robot.settings.dry_run else ""
        for note in robot.bus.describe().notes:
            node.get_logger().info(f"robot {robot.wiring.robot}: {note}{dry}")

    def _on_emergency_stop(self, message: Bool) -> None:
        """Pressed, or let go."""
        self._robot.press(message.data, "topic emergency_stop")
        self.announce()

    def _answerer(self, request: SafetyRequest) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        """The callback of a request's service."""

        def answer(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            refusal = self._robot.request(request, f"service {request.value}")
            response.success = not refusal
            response.message = refusal or f"{request.value}: {self._robot.safety.state.value}"
            self.announce()
            return response

        return answer

    def announce(self) -> None:
        """Log and publish a change of the safety state, if there was one."""
        safety = self._robot.safety
        if safety.changes == self._known_changes:
            return
        self._known_changes = safety.changes
        message = SafetyState(
            robot=self._robot.wiring.robot,
            state=safety.state.value,
            reason=safety.reason,
            dry_run=self._robot.settings.dry_run,
            services=[request.value for request in POSSIBLE[safety.state]],
        )
        message.header.stamp = self._node.time_line.stamp(self._node.now_ns)
        self._state.publish(message)
        text = f"{safety.state.value} ({safety.reason})"
        if safety.state is Safety.FAULT:
            self._node.get_logger().error(text)
        else:
            self._node.get_logger().info(text)

    def publish_command(self) -> None:
        """Publish what the joints were told last, if they were told anything and somebody listens."""
        sent = self._robot.sent
        if sent is None or not self._command.get_subscription_count():
            return
        message = self._message
        message.header.stamp = self._node.time_line.stamp(self._node.now_ns)
        message.observation_sequence = sent.output.observation_sequence
        message.source = sent.output.source
        message.wanted = array("d", sent.guarded.wanted.tobytes())
        message.sent = array("d", sent.sent.tobytes())
        message.limited_by = list(sent.guarded.limited_by)
        self._command.publish(message)
