"""stoch2_driver: drives a Stoch2: a simulated one, in real time, faster, or in lockstep; or a real one.

Besides the topics of :mod:`demo_control.drivers.driver_node` it publishes ``joint_states``, ``imu``, ``odom``,
``contacts``, ``ground_truth_odom`` and, where tf2 is installed, ``/tf``; ``walking_state`` (latched); ``applied_push``
where a push begins, changes or ends (a force in N: forward, left, up). It subscribes ``cmd_vel`` and ``push`` (a force
as well), and offers the services ``stand_up``, ``walk``, ``stop`` and ``sit_down``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping

import numpy as np
from demo_msgs.msg import WalkingState
from geometry_msgs.msg import Twist, Vector3, Vector3Stamped
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from demo_control.drivers.driver_node import LATCHED, DriverNode
from demo_control.drivers.driver_process import run_driver
from demo_control.drivers.hardware_settings import HardwareSettings
from demo_control.drivers.walking import POSSIBLE, Change, Request, Walking, WalkingSettings
from demo_control.nodes.quality import RECORDING
from demo_control.tasks import Array
from stoch2_sim.drivers.hardware_stoch2 import HardwareStoch2
from stoch2_sim.drivers.simulated_stoch2 import SimulatedStoch2
from stoch2_sim.drivers.stoch2_motion import Stoch2Setup
from stoch2_sim.drivers.stoch2_settings import Stoch2DriverSettings
from stoch2_sim.drivers.stoch2_topics import Stoch2Topics
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.parameters import RobotParameters, inclined
from stoch2_sim.robots.stoch2.reference import CommandSettings, LeashSettings
from stoch2_sim.robots.stoch2.urdf import description

_NEWEST = QoSProfile(depth=1)


class Stoch2Driver(DriverNode[SimulatedStoch2 | HardwareStoch2]):
    """The driver node.

    Raises:
        ConfigurationError: A bad parameter or wiring, the simulator is missing, or the robot cannot be connected.
    """

    def __init__(self) -> None:
        super().__init__("stoch2_driver")
        declare = self.parameters.declare
        setup = Stoch2Setup(
            driver=declare(Stoch2DriverSettings()).value,
            robot=inclined(declare(RobotParameters()).value),
            # The robot knows what it measures; the truth is for comparisons.
            sensing=declare(SensingParameters(ideal_sensing=False)).value,
            walking=declare(WalkingSettings()).value,
            commands=declare(CommandSettings()).value,
            leash=declare(LeashSettings()).value,
        )
        hardware = declare(HardwareSettings()).value
        self.parameters.check()
        self._setup = setup
        self._change: Change | None = None
        self.drive(setup.driver, _robot(setup, hardware), description())
        self._topics = Stoch2Topics(self, self.robot, setup.sensing)
        self._state_topic = self.publisher(WalkingState, "walking_state", LATCHED)
        self._push_topic = self.publisher(Vector3Stamped, "applied_push", RECORDING)
        self._told_push_n = np.zeros(3)
        self._inputs = (
            self.create_subscription(Twist, "cmd_vel", self._on_velocity, _NEWEST),
            *([] if hardware.wiring else [self.create_subscription(Vector3, "push", self._on_push, 10)]),
            *(self.create_service(Trigger, request.value, self._answerer(request)) for request in Request),
        )
        terrain = setup.robot.terrain
        ground = f"{terrain} {setup.robot.slope_deg:g}°" if terrain == "slope" else terrain
        where = "on hardware" if hardware.wiring else f"in {setup.driver.simulator} sits on ground '{ground}'"
        self.get_logger().info(f"Stoch2 {where}, waiting for actions")

    def start(self, now_ns: Callable[[], int]) -> None:
        """Begin to observe, with tick 0."""
        super().start(now_ns)
        self._announce_walking()

    def judge(self, before: Array | None) -> None:
        """Tell changes of what the robot is doing and suffers; the robot itself adds up its figures."""
        self._announce_walking()
        self._announce_push()

    def figures(self) -> Mapping[str, float | bool | None]:
        """Whether it fell, how far it walked, and how well it followed its commands."""
        pushes = self.robot.pushes.count if isinstance(self.robot, SimulatedStoch2) else 0
        return {**self.robot.figures.result(), "pushes": pushes}

    def told_result(self) -> str:
        """Distance and falls."""
        figures = self.figures()
        return f"walked {figures['distance_m']:.2f} m in {figures['walked_s']:.1f} s, falls: {figures['falls']}"

    def values(self) -> Mapping[str, object]:
        """What the robot is doing."""
        machine = self.robot.machine
        return {
            "walking_state": machine.state.value,
            "walking_reason": machine.reason,
            "cmd_vel_received": self.robot.commands.received,
        }

    def publish_sensors(self) -> None:
        """Publish the sensor topics at every so many ticks."""
        if self.tick % self._setup.driver.sensor_every_ticks == 0:
            self._topics.publish(self.time_line.stamp(self.now_ns))

    def _on_velocity(self, message: Twist) -> None:
        """Take over a commanded velocity; what is not finite counts as zero."""
        velocity = (message.linear.x, message.linear.y, message.angular.z)
        if not all(map(math.isfinite, velocity)):
            self.get_logger().warning("cmd_vel is not finite: the robot slows down", throttle_duration_sec=1.0)
            velocity = (0.0, 0.0, 0.0)
        self.robot.commands.receive(velocity, self.robot.time_s)

    def _on_push(self, message: Vector3) -> None:
        """Push the robot at the next tick."""
        force_n = np.array([message.x, message.y, message.z])
        if isinstance(self.robot, SimulatedStoch2) and np.isfinite(force_n).all() and not self.robot.held:
            self.robot.pushes.add(force_n, self.robot.time_s)
            self.get_logger().info(f"pushed by {force_n.tolist()} N")

    def _answerer(self, request: Request) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        """The callback of a request's service."""

        def answer(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            refusal = self.robot.ask(request, "service")
            response.success = not refusal
            response.message = refusal or f"{request.value}: {self.robot.machine.state.value.replace('_', ' ')}"
            self._announce_walking()
            return response

        return answer

    def _announce_push(self) -> None:
        """Publish a push that begins, changes or ends; nobody knows who pushes a real robot."""
        if not isinstance(self.robot, SimulatedStoch2):
            return
        force_n = self.robot.push_n
        if np.array_equal(force_n, self._told_push_n):
            return
        self._told_push_n = force_n
        message = Vector3Stamped()
        message.header.stamp = self.time_line.stamp(self.now_ns)
        message.vector.x, message.vector.y, message.vector.z = force_n.tolist()
        self._push_topic.publish(message)

    def _announce_walking(self) -> None:
        """Log and publish a change of what the robot is doing at once."""
        change = self.robot.machine.change
        if change is self._change:
            return
        self._change = change
        message = WalkingState(state=change.state.value, reason=change.reason, duration_s=change.duration_s)
        message.header.stamp = self.time_line.stamp(self.now_ns)
        message.services = [request.value for request in POSSIBLE[change.state]]
        self._state_topic.publish(message)
        text = f"{change.state.value.replace('_', ' ')} ({change.reason})"
        if change.state is Walking.DAMPED:
            self.get_logger().error(text)
        else:
            self.get_logger().info(text)


def _robot(setup: Stoch2Setup, hardware: HardwareSettings) -> SimulatedStoch2 | HardwareStoch2:
    """The simulated or the real Stoch2."""
    if not hardware.wiring:
        return SimulatedStoch2(setup)
    setup.driver.check_hardware()
    return HardwareStoch2(setup, hardware, hardware.load("stoch2"))


COMPONENT = Stoch2Driver


def main() -> int:
    """Run the driver; returns its exit code."""
    return run_driver(Stoch2Driver)


if __name__ == "__main__":
    sys.exit(main())
