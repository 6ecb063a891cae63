"""Every node killed in turn while the robot runs: the driver stops safely in time, and a restart recovers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_msgs.msg import Action
from ros_support import Peer

from demo_control.bringup.description import load_recipe
from demo_control.bringup.shared_memory import remove_leftovers, segments_in_use, segments_of
from demo_control.bringup.supervisor import Supervisor
from demo_control.network import TRANSPORTS
from demo_control.nodes.messages import seconds_between
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
def robot(peer: Peer, bundle_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Robot]:
    # The way on which killed processes leave something behind.
    monkeypatch.setenv(TRANSPORTS, "DEFAULT")
    recipe = load_recipe("cartpole_swingup")
    arguments = recipe.arguments(duration=600.0, bundle=str(bundle_directory))
    own = segments_of("self")
    supervisor = Supervisor(recipe.make(arguments))
    with supervisor:
        robot = Robot(supervisor, peer)
        for name in LIFECYCLE_NODES:
            peer.bring_up(name)
        robot.wait_for("demo_layer")
        supervisor.note_segments()
        yield robot
    segments = supervisor.segments()
    assert segments - own
    peer.close()
    remove_leftovers(segments)
    # Other robots may use the same numbers of ports meanwhile; what they use is not left over.
    left = {name for name in segments - own - segments_in_use() if Path("/dev/shm", name).exists()}
    assert not left, "shared memory of ended nodes"


def test_every_node_killed_in_turn_stops_the_robot_in_time_and_a_restart_recovers(robot: Robot) -> None:
    for name in LIFECYCLE_NODES:
        stopped = kill_and_wait_for_the_safe_stop(robot, name)
        # The driver looks once a period, and at the instant that the command expires.
        assert COMMAND_TIMEOUT_S - 0.01 <= age_s(stopped) <= COMMAND_TIMEOUT_S + 0.04
        assert abs(stopped.values[0]) <= 10.0
        robot.supervisor.restart(name)
        robot.peer.bring_up(name)
        robot.wait_for("demo_layer")

    robot.supervisor.process("cartpole_driver").send(signal.SIGKILL)
    robot.peer.wait_until(lambda: robot.supervisor.ended() is not None, "the driver's end")
    robot.supervisor.restart("cartpole_driver")
    robot.wait_for("demo_layer")
    assert set(robot.supervisor.exit_codes().values()) == {None}
    assert robot.peer.state("demo_layer_node") == "active"


def kill_and_wait_for_the_safe_stop(robot: Robot, name: str) -> Action:
    robot.supervisor.note_segments()
    robot.supervisor.process(name).send(signal.SIGKILL)
    stopped = robot.wait_for(SAFE)
    assert robot.supervisor.exit_codes()[name] == -signal.SIGKILL
    others = [code for node, code in robot.supervisor.exit_codes().items() if node != name]
    assert set(others) == {None}
    return stopped


def age_s(action: Action) -> float:
    """From the observation that it answers to the action's beginning."""
    return seconds_between(action.observation_stamp, action.header.stamp)
