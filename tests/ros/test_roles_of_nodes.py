"""The roles against the running nodes: whatever a node uses is permitted, and whatever is permitted is used.

A topic or service that is new in a node fails here until its role names it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from hardware_support import emulated
from lifecycle_msgs.msg import Transition
from rclpy.node import Node
from ros_support import Peer

from demo_control.bringup.description import BringUp, load_recipe
from demo_control.bringup.monitor import Monitor
from demo_control.bringup.shared_memory import remove_leftovers
from demo_control.bringup.supervisor import Supervisor
from demo_control.bundle import default_bundle
from demo_control.security.access import Access, Topics
from demo_control.security.roles import find_role
from demo_control.teleop.node import Teleop

pytestmark = pytest.mark.ros

Ask = Callable[[Node, str], list[tuple[str, list[str]]]]
QUESTIONS: dict[str, Ask] = {
    "publishes": lambda node, name: node.get_publisher_names_and_types_by_node(name, "/"),
    "subscribes": lambda node, name: node.get_subscriber_names_and_types_by_node(name, "/"),
    "offers": lambda node, name: node.get_service_names_and_types_by_node(name, "/"),
    "calls": lambda node, name: node.get_client_names_and_types_by_node(name, "/"),
}
Used = dict[str, set[str]]

# A driver has the topics of a simulated or of a real robot, which the monitor judges by what is measured, and /clock
# where time is simulated; launch_ros has names of its own.
ELSEWHERE = {
    "cartpole_driver": {"safety_state", "joint_command", "emergency_stop", "arm", "disarm", "reset", "clock"},
    "stoch2_driver": {"push", "clock", "tf"},
    "monitor": {"observation", "*/transition_event"},
}


def used_by(peer: Peer, name: str) -> Used:
    """What a node has in the ROS graph, once that is complete."""
    found: Used = {}

    def settled() -> bool:
        before = dict(found)
        try:
            found.update({kind: {topic for topic, _ in ask(peer.node, name)} for kind, ask in QUESTIONS.items()})
        except RuntimeError:  # not heard of yet
            return False
        return before == found and bool(found["offers"])

    peer.wait_until(settled, f"all of {name} in the graph")
    return found


def of_dds(used: Used) -> Topics:
    """The same as DDS calls it."""
    offers, calls = used["offers"], used["calls"]
    return Topics(
        publish=(
            *(f"rt{topic}" for topic in used["publishes"]),
            *(f"rr{service}Reply" for service in offers),
            *(f"rq{service}Request" for service in calls),
        ),
        subscribe=(
            *(f"rt{topic}" for topic in used["subscribes"]),
            *(f"rq{service}Request" for service in offers),
            *(f"rr{service}Reply" for service in calls),
        ),
    )


def check(peer: Peer, role: str, *nodes: str) -> Used:
    """Hold a process against its role; returns what it uses."""
    permitted = find_role(role).access.topics()
    total: Used = defaultdict(set)
    for name in nodes:
        used = used_by(peer, name)
        for topic in of_dds(used).publish:
            assert permitted.may_publish(topic), f"{name} publishes {topic}, which role '{role}' does not name"
        for topic in of_dds(used).subscribe:
            assert permitted.may_subscribe(topic), f"{name} subscribes to {topic}, which role '{role}' does not name"
        for kind, names in used.items():
            total[kind] |= {topic.lstrip("/") for topic in names}
    return total


def unused(role: str, used: Used) -> set[str]:
    """What a role permits and no node of it uses; services of nodes of any name are looked at by their last part."""
    access: Access = find_role(role).access
    missing = set()
    for kind in QUESTIONS:
        names = used[kind] | {f"*/{name.rpartition('/')[2]}" for name in used[kind]}
        missing |= set(getattr(access, kind)) - names - {"*"}
    return missing - ELSEWHERE.get(role, set())


class Running:
    """A bring-up's processes, configured, with the monitor of `democtl launch`."""

    def __init__(self, bringup: BringUp, peer: Peer) -> None:
        self.bringup = bringup
        self.peer = peer
        self.supervisor = Supervisor(bringup)
        self.monitor: Monitor | None = None

    def __enter__(self) -> Running:
        self.supervisor.__enter__()
        self.monitor = Monitor(self.bringup)
        for node in self.bringup.nodes:
            if node.lifecycle:
                assert self.peer.change_state(node.name, Transition.TRANSITION_CONFIGURE)
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.note_segments()
        segments = self.supervisor.segments()
        self.supervisor.stop()
        if self.monitor is not None:
            self.monitor.close()
        remove_leftovers(segments)


@pytest.fixture(scope="module", autouse=True)
def bundles() -> None:
    for task in ("cartpole", "stoch2"):
        if not default_bundle(task).is_dir():
            pytest.skip(f"no bundle of {task} is shipped")


def bringup_of(name: str, **arguments: Any) -> BringUp:  # noqa: ANN401 - of any type
    recipe = load_recipe(name)
    made: BringUp = recipe.make(recipe.arguments(duration=3600.0, **arguments))
    return made


@pytest.fixture
def teleop() -> Iterator[Teleop]:
    one = Teleop()
    yield one
    one.close()


def test_a_recorded_simulated_robot_with_its_operator_and_monitor(peer: Peer, teleop: Teleop, tmp_path: Path) -> None:
    bringup = bringup_of("cartpole_swingup", record=str(tmp_path / "bag"))
    with Running(bringup, peer):
        nodes = {"recorder": ("recorder_node", "recorder_node_ears")}
        heard_s = time.monotonic() + 30.0
        # The recorder asks the others for their parameters once it has found them.
        while not used_by(peer, "recorder_node")["calls"]:
            assert time.monotonic() < heard_s
        for process in bringup.processes:
            used = check(peer, process.enclave, *nodes.get(process.enclave, (process.name,)))
            assert unused(process.enclave, used) == set(), process.enclave
        used = check(peer, "monitor", "democtl_monitor", "democtl_recorder")
        assert unused("monitor", used) == set()
        teleop.spin()
        assert unused("operator", check(peer, "operator", "teleop")) == set()


def test_a_real_robot_without_the_layer(peer: Peer, tmp_path: Path) -> None:
    with emulated("stoch2", tmp_path) as robot:
        bringup = bringup_of("stoch2_walk", hardware=str(robot.wiring), use_layer=False)
        with Running(bringup, peer):
            real = check(peer, "stoch2_driver", "stoch2_driver")
            alone = check(peer, "policy_alone", "policy_node")
            watching = check(peer, "monitor", "democtl_monitor", "democtl_recorder")
    assert unused("policy_alone", alone) == set()
    assert "observation" in watching["subscribes"]
    # The rest is what a simulated one has besides.
    assert unused("stoch2_driver", real) == {"ground_truth_odom"}


def test_a_simulated_robot_that_has_its_own_time(peer: Peer) -> None:
    bringup = bringup_of("stoch2_walk", real_time_factor=2.0)
    with Running(bringup, peer):
        for process in bringup.processes:
            used = check(peer, process.enclave, process.name)
            if process.ends_run:
                assert {"clock", "ground_truth_odom"} <= used["publishes"]
                assert "push" in used["subscribes"]
            else:
                assert "clock" in used["subscribes"]


def test_the_viewer(peer: Peer) -> None:
    rr = pytest.importorskip("rerun", reason="the extra 'view' is not installed")
    from demo_control.nodes.viewer_node import ViewerNode  # noqa: PLC0415 - needs the extra

    rclpy.init(args=[])
    node = ViewerNode(rr.RecordingStream("roles"))
    try:
        used = check(peer, "viewer", "viewer_node", "viewer_node_ears")
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    assert unused("viewer", used) == set()
