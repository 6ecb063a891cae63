"""recorder_node over DDS: everything that is said, and all that the layer's answers depend on, whatever changes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from demo_msgs.srv import LoadBundle
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_support import Peer, Robot, StartNode, start_robot
from rosbags.rosbag2 import Reader
from std_msgs.msg import String

from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.info import bag_info
from demo_control.bags.reader import Bag
from demo_control.bags.repair import repair
from demo_control.bringup.process import NodeProcess

pytestmark = pytest.mark.ros

TOPICS = ("/observation", "/nominal_action", "/action", "/planner_status", "/layer_state")


def record(robot: Robot, start: StartNode, folder: Path) -> NodeProcess:
    """Start the recorder and wait until it hears everything."""
    parameters = {"directory": str(folder), "flush_period_s": 0.1}
    process = start("demo_control.nodes.recorder_node", parameters=parameters)
    node = robot.peer.node

    def hears(topic: str) -> bool:
        return any(info.node_name.endswith("_ears") for info in node.get_subscriptions_info_by_topic(topic))

    robot.peer.wait_until(lambda: all(map(hears, TOPICS)), "the recorder hears all topics")
    return process


def set_double(peer: Peer, name: str, value: float) -> None:
    parameter = Parameter(name=name, value=ParameterValue(type=3, double_value=value))
    request = SetParameters.Request(parameters=[parameter])
    assert peer.call(SetParameters, "/demo_layer_node/set_parameters", request).results[0].successful


def test_changes_in_flight_are_answered_again_bit_for_bit(
    peer: Peer, start: StartNode, bundle_directory: Path, other_bundle_directory: Path, tmp_path: Path
) -> None:
    robot, _ = start_robot(peer, start, bundle_directory, minimum_gain=-1e9)
    recorder = record(robot, start, tmp_path / "bag")
    changes = [
        lambda: set_double(peer, "step_size", 0.3),
        lambda: set_double(peer, "cost_weight_upright", 2.0),
        lambda: peer.call(LoadBundle, "/demo_layer_node/load_bundle", LoadBundle.Request(directory=other)),
    ]
    other = str(other_bundle_directory)
    for change in changes:
        for _ in range(15):
            robot.tick()
        change()
    for _ in range(15):
        robot.tick()
    last = robot.ask()
    peer.wait_until(lambda: robot.tick() or robot.answer_to(last.observation_sequence), "the last answer")
    recorder.send(signal.SIGINT)
    assert recorder.wait(10.0)
    assert recorder.exit_code == 0
    assert "recorded" in "\n".join(recorder.last_lines())

    report = evaluate_bag(Request(tmp_path / "bag"))
    assert report["bit_exact"] is True, report
    assert report["complete"] is True
    assert all("several bundles were in use" in warning for warning in report["warnings"]), report["warnings"]
    assert len(report["bundle_sha256"]) == 2
    info = bag_info(tmp_path / "bag")
    assert info["complete"] is True
    parameters = Bag.open(tmp_path / "bag").records["demo_control.parameters /demo_layer_node"]["parameters"]
    assert '"num_samples": 32' in parameters
    with Reader(tmp_path / "bag") as reader:
        offered = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}
    assert offered["/layer_state"].durability.name == "TRANSIENT_LOCAL"
    assert offered["/action"].durability.name == "VOLATILE"
    # A player that offered less would not be heard by the nodes.
    assert (offered["/action"].deadline.sec, offered["/action"].deadline.nsec) == (0, 20_000_000)
    assert offered["/layer_state"].deadline.sec > 10**9


def test_a_killed_recorder_leaves_what_it_wrote_and_control_goes_on(
    peer: Peer, start: StartNode, bundle_directory: Path, tmp_path: Path
) -> None:
    robot, _ = start_robot(peer, start, bundle_directory)
    recorder = record(robot, start, tmp_path / "bag")
    peer.wait_until(lambda: robot.tick() or (tmp_path / "bag" / "bag_0.mcap").stat().st_size > 4000, "a flush")
    recorder.send(signal.SIGKILL)
    assert recorder.wait(10.0)

    assert robot.ask()
    info = bag_info(tmp_path / "bag")
    assert info["messages"] > 0
    assert info["complete"] is False
    assert repair(tmp_path / "bag").messages == info["messages"]


def test_a_publisher_that_comes_later_and_offers_less_is_heard(peer: Peer, start: StartNode, tmp_path: Path) -> None:
    recorder = start("demo_control.nodes.recorder_node", parameters={"directory": str(tmp_path / "bag")})

    def talk(text: str, reliability: ReliabilityPolicy) -> None:
        publisher = peer.node.create_publisher(String, "talk", QoSProfile(depth=10, reliability=reliability))
        peer.wait_until(publisher.get_subscription_count, f"the recorder hears {text}")
        publisher.publish(String(data=text))
        peer.wait_until(lambda: recorded(text), f"{text} is recorded")

    def recorded(text: str) -> bool:
        return any(text.encode() in heard.data for heard in Bag.open(tmp_path / "bag").messages())

    talk("reliable", ReliabilityPolicy.RELIABLE)
    talk("best effort", ReliabilityPolicy.BEST_EFFORT)
    recorder.send(signal.SIGINT)
    assert recorder.wait(10.0)
    assert "/talk: a publisher offers less" in "\n".join(recorder.last_lines())


def test_a_folder_that_holds_something_is_refused(start: StartNode, tmp_path: Path) -> None:
    process = start("demo_control.nodes.recorder_node", parameters={"directory": str(tmp_path)})

    assert process.wait(30.0)
    assert process.exit_code == 2
    assert "not an empty folder" in "\n".join(process.last_lines())
