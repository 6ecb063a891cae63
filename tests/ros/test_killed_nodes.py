"""Every node killed in turn while the robot runs: the driver stops safely in time, and a restart recovers."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_msgs.msg import Action
from ros_support import Peer

from demo_control.bringup.description import load_recipe
from demo_control.bringup.shared_memory import remove_leftovers
from demo_control.bringup.supervisor import Supervisor
from demo_control.nodes.quality import RECORDING

pytestmark = pytest.mark.ros

COMMAND_TIMEOUT_S = 0.1
SAFE = "driver:command_timeout"
LIFECYCLE_NODES = ("demo_layer_node", "policy_node")


class Robot:
    """A running bring-up, and what its driver applies."""

    def __init__(self, supervisor: Supervisor, peer: Peer) -> None:
        self.supervisor = supervisor
        self.peer = peer
        self.applied: list[Action] = []
        peer.node.create_subscription(Action, "applied_action", self.applied.append, RECORDING)

    def wait_for(self, source: str) -> Action:
        """Wait for a newly applied action of a source (of its beginning)."""
        before = len(self.applied)

        def found() -> list[Action]:
            return [action for action in self.applied[before:] if action.source.startswith(source)]

        self.peer.wait_until(found, f"an applied action of '{source}'")
        return found()[0]


@pytest.fixture
def robot(peer: Peer, bundle_directory: Path) -> Iterator[Robot]:
    recipe = load_recipe("cartpole_swingup")
    arguments = recipe.arguments(duration=600.0, bundle=str(bundle_directory))
    supervisor = Supervisor(recipe.make(arguments))
    with supervisor:
        robot = Robot(supervisor, peer)
        for name in LIFECYCLE_NODES:
            peer.bring_up(name)
        robot.wait_for("demo_layer")
        supervisor.note_segments()
        yield robot
    segments = supervisor.segments()
    peer.close()
    remove_leftovers(segments)
    left = {name for name in segments if Path("/dev/shm", name).exists()}
    assert not left, "shared memory of ended nodes"


@pytest.mark.parametrize("name", LIFECYCLE_NODES)
def test_a_killed_controller_stops_the_robot_in_time_and_a_restart_recovers(robot: Robot, name: str) -> None:
    robot.supervisor.process(name).send(signal.SIGKILL)
    stopped = robot.wait_for(SAFE)
    # Two periods of slack: the last command may have been under way, and the driver looks once a period.
    age_s = (stopped.header.stamp.sec - stopped.observation_stamp.sec) + 1e-9 * (
        stopped.header.stamp.nanosec - stopped.observation_stamp.nanosec
    )
    assert COMMAND_TIMEOUT_S - 0.01 <= age_s <= COMMAND_TIMEOUT_S + 0.04
    assert abs(stopped.values[0]) <= 10.0
    assert robot.supervisor.exit_codes()[name] == -signal.SIGKILL
    others = {node: code for node, code in robot.supervisor.exit_codes().items() if node != name}
    assert set(others.values()) == {None}

    robot.supervisor.restart(name)
    robot.peer.bring_up(name)
    robot.wait_for("demo_layer")


def test_a_killed_driver_leaves_the_others_alive_and_a_restart_recovers(robot: Robot) -> None:
    robot.supervisor.process("cartpole_driver").send(signal.SIGKILL)
    robot.peer.wait_until(lambda: robot.supervisor.ended() is not None, "the driver's end")
    robot.supervisor.restart("cartpole_driver")
    robot.wait_for("demo_layer")

    assert set(robot.supervisor.exit_codes().values()) == {None}
    assert robot.peer.state("demo_layer_node") == "active"


def test_a_second_controller_is_not_obeyed_twice(robot: Robot) -> None:
    """A stray publisher's junk changes nothing: the driver goes on with the layer's commands."""
    stray = robot.peer.node.create_publisher(Action, "action", 10)
    robot.peer.wait_until(stray.get_subscription_count, "the stray publisher matched")
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        stray.publish(Action(observation_sequence=2**40, source="stray", values=[10.0]))
        robot.peer.executor.spin_once(timeout_sec=0.02)

    assert not [action for action in robot.applied if action.source == "stray"]
    robot.wait_for("demo_layer")
