"""stoch2_driver as a process over DDS, in lockstep with a policy of this test's own."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from demo_msgs.msg import FootContacts, WalkingState
from geometry_msgs.msg import Twist, Vector3, Vector3Stamped
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import Commander, Peer, StartNode
from sensor_msgs.msg import Imu
from std_msgs.msg import String
from std_srvs.srv import Trigger

from demo_control.bringup.process import NodeProcess
from demo_control.nodes.messages import nanoseconds
from demo_control.nodes.quality import RECORDING

pytestmark = pytest.mark.ros

MODULE = "stoch2_sim.drivers.stoch2_driver"
QUICK = {"real_time_factor": 0.0, "stand_up_s": 0.5, "brake_s": 0.2, "stop_s": 0.2}


class Robot(Commander):
    """All that Stoch2's driver says; its policy walks with the neutral action."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer, "stoch2_driver")
        self.imu: list[Imu] = []
        self.odometry: list[Odometry] = []
        self.truth_odometry: list[Odometry] = []
        self.contacts: list[FootContacts] = []
        self.states: list[WalkingState] = []
        self.results: list[dict[str, Any]] = []
        self.pushes: list[Vector3Stamped] = []
        self.policy = lambda _observation: np.zeros(20)
        node, latched = peer.node, QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.velocity = node.create_publisher(Twist, "cmd_vel", 1)
        self.push = node.create_publisher(Vector3, "push", 10)
        node.create_subscription(Imu, "imu", self.imu.append, RECORDING)
        node.create_subscription(Odometry, "odom", self.odometry.append, RECORDING)
        node.create_subscription(Odometry, "ground_truth_odom", self.truth_odometry.append, RECORDING)
        node.create_subscription(FootContacts, "contacts", self.contacts.append, RECORDING)
        node.create_subscription(Vector3Stamped, "applied_push", self.pushes.append, RECORDING)
        node.create_subscription(WalkingState, "walking_state", self.states.append, latched)
        node.create_subscription(String, "run_result", lambda m: self.results.append(json.loads(m.data)), latched)

    @property
    def doing(self) -> str:
        return self.states[-1].state if self.states else ""

    def ask(self, service: str) -> tuple[bool, str]:
        answer = self.peer.call(Trigger, service, Trigger.Request())
        return answer.success, answer.message

    def wait_until_doing(self, state: str) -> None:
        self.peer.wait_until(lambda: self.doing == state, state)


@pytest.fixture
def robot(peer: Peer) -> Robot:
    return Robot(peer)


def start_driver(start: StartNode, **parameters: Any) -> NodeProcess:  # noqa: ANN401
    return start(MODULE, parameters={**QUICK, **parameters})


def test_the_script_walks_and_everything_is_told(robot: Robot, start: StartNode) -> None:
    process = start_driver(start, duration_s=2.5, command="0.3,0.0", push_n=20.0, push_every_s=1.0)
    robot.peer.wait_until(lambda: process.exit_code is not None, "the driver's end", 60.0)
    assert process.exit_code == 0, process.last_lines()
    robot.peer.wait_until(lambda: robot.results, "the result")

    assert [state.state for state in robot.states[-4:]] == ["standing_up", "walking", "stopping", "standing"]
    assert list(robot.states[-3].services) == ["stop"]
    (result,) = robot.results
    assert (result["success"], result["falls"], result["missed_ticks"]) == (True, 0, 0)
    assert result["pushes"] == 1
    # Where it begins, and where it ends.
    assert [abs(message.vector.y) for message in robot.pushes] == [20.0, 0.0]
    lasted = nanoseconds(robot.pushes[1].header.stamp) - nanoseconds(robot.pushes[0].header.stamp)
    assert lasted == pytest.approx(30_000_000, abs=1_000_000)
    assert 0.1 < result["distance_m"] < 0.6
    names = {joint.get("name") for joint in ElementTree.fromstring(robot.descriptions[-1]).iter("joint")}
    joints = robot.joints[-1]
    assert len(joints.name) == len(joints.position) == len(joints.velocity) == len(joints.effort) == 20
    assert set(joints.name) <= names
    assert nanoseconds(robot.joints[-1].header.stamp) - nanoseconds(robot.joints[-2].header.stamp) == 20_000_000
    estimate, truth = robot.odometry[-1].pose.pose.position, robot.truth_odometry[-1].pose.pose.position
    assert truth.x > 0.1
    assert estimate.x == pytest.approx(truth.x, abs=0.1)
    assert (robot.odometry[-1].header.frame_id, robot.odometry[-1].child_frame_id) == ("odom", "base_link")
    # It stands at the end, on four feet.
    assert robot.imu[-1].linear_acceleration.z == pytest.approx(9.81, abs=0.5)
    assert robot.imu[-1].orientation.w == pytest.approx(1.0, abs=0.02)
    assert robot.imu[-1].orientation_covariance[0] > 0.0
    assert list(robot.contacts[-1].in_contact) == [True] * 4
    assert sum(robot.contacts[-1].normal_force) == pytest.approx(49.0, abs=8.0)
    assert {len(message.values) for message in (*robot.observations, *robot.truth)} == {25}
    assert {len(message.values) for message in robot.applied} == {20}


def test_services_commands_and_pushes_from_outside(robot: Robot, start: StartNode) -> None:
    start_driver(start, autonomous=False)
    robot.meet()
    robot.wait_until_doing("sitting")
    assert robot.ask("walk") == (False, "walk refused: the robot is sitting; possible now: stand_up")
    assert robot.ask("stand_up") == (True, "stand_up: standing up")
    robot.wait_until_doing("standing")
    assert robot.ask("walk") == (True, "walk: walking")
    message = Twist()
    message.linear.x, message.angular.z = 0.4, -0.2

    def obeyed() -> bool:
        robot.velocity.publish(message)
        return list(robot.observations[-1].values[22:]) == pytest.approx([0.4, 0.0, -0.2])

    robot.peer.wait_until(obeyed, "the commanded velocity in the observation")
    # Nobody publishes any more: the robot is asked to slow down, and walks on.
    robot.peer.wait_until(lambda: not any(robot.observations[-1].values[22:]), "standstill")
    assert robot.doing == "walking"
    assert robot.ask("stop")[0]
    robot.wait_until_doing("standing")
    robot.push.publish(Vector3(x=0.0, y=2000.0, z=0.0))
    robot.wait_until_doing("damped")
    assert robot.ask("stand_up") == (False, "stand_up refused: the robot is damped (fell); possible now: nothing")
    robot.wait_for("walking_state", "damped", "the diagnostics")


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"command": "fast"}, "command = 'fast': expected VX,WZ"),
        ({"terrain": "stairs", "slope_deg": 5.0}, "slope_deg = 5: must be 0 on terrain 'stairs'"),
    ],
)
def test_a_bad_parameter_ends_it_with_a_clear_line(start: StartNode, parameters: dict[str, Any], told: str) -> None:
    process = start_driver(start, **parameters)
    assert process.wait(20.0)
    assert process.exit_code == 2
    assert any(told in line for line in process.last_lines()), process.last_lines()


def test_an_inclination_alone_is_a_slope(robot: Robot, start: StartNode) -> None:
    process = start_driver(start, slope_deg=7.0)
    robot.wait_until_doing("sitting")
    assert any("sits on ground 'slope 7°'" in line for line in process.last_lines()), process.last_lines()
