"""A driver of a real robot, as a process over DDS, with emulated devices in another process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from demo_msgs.msg import Action
from hardware_support import EmulatedRobot, HardwareCommander, emulated
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_support import Peer, StartNode
from std_msgs.msg import Bool

from demo_control.bringup.process import NodeProcess
from demo_control.hardware.dynamixel.bus import DynamixelSettings
from demo_control.hardware.dynamixel.exchange import Exchange
from demo_control.hardware.serial_port import SerialPort
from demo_control.hardware.wiring import load_wiring

pytestmark = pytest.mark.ros

MODULE = "stoch2_sim.drivers.cartpole_driver"


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[EmulatedRobot]:
    with emulated("cartpole", tmp_path, "--fault", "corrupt=0.01") as one:
        yield one


@pytest.fixture
def commander(peer: Peer) -> HardwareCommander:
    return HardwareCommander(peer, "cartpole_driver")


def start_driver(start: StartNode, robot: EmulatedRobot, **parameters: object) -> NodeProcess:
    return start(MODULE, parameters={"wiring": str(robot.wiring), "command_timeout_s": 0.5, **parameters})


def gentle(_observation: np.ndarray) -> float:
    return 0.3


def test_arming_commanding_stopping_resetting(
    commander: HardwareCommander, start: StartNode, robot: EmulatedRobot
) -> None:
    process = start_driver(start, robot)
    commander.meet()
    commander.policy = gentle
    commander.wait_for_state("idle")
    assert commander.safety[-1].services == ["arm", "emergency_stop"]
    assert not commander.told
    assert commander.ask("arm") == (True, "arm: engaging")
    commander.wait_for_state("armed")
    commander.peer.wait_until(lambda: commander.told and commander.told[-1].source == "script", "commands on the wire")
    last = commander.told[-1]
    assert (list(last.names), list(last.limited_by)) == (["cart"], [""])
    # What went out is what the servo's current can tell apart.
    assert last.sent[0] == pytest.approx(0.3, abs=0.05)
    assert last.wanted[0] == 0.3

    commander.button.publish(Bool(data=True))
    commander.wait_for_state("fault")
    assert commander.safety[-1].reason == "emergency stop by topic emergency_stop"
    assert commander.ask("arm")[0] is False
    assert commander.ask("reset") == (False, "reset refused: the emergency stop is pressed")
    commander.button.publish(Bool(data=False))
    commander.peer.wait_until(lambda: commander.ask("reset")[0], "the reset")
    assert commander.state == "idle"
    assert commander.ask("arm")[0]
    commander.wait_for_state("armed")
    # A run that is ended from outside stops gently, and switches off.
    process.send(signal.SIGINT)
    assert process.wait(15.0)
    assert process.exit_code == 0, process.last_lines()
    commander.wait_for_state("idle")
    assert commander.safety[-1].reason == "stopped (the driver ends)"
    verdict = robot.end()
    assert verdict["plant"]["force_at_the_end_n"] == 0.0
    assert verdict["lines"]["motor"]["to_host"]["corrupt"] + verdict["lines"]["motor"]["to_device"]["corrupt"] > 0


@pytest.mark.parametrize("ends", ["signal", "run over"])
def test_the_emergency_stop_is_heard_while_the_driver_brings_its_robot_to_rest(
    commander: HardwareCommander, start: StartNode, robot: EmulatedRobot, ends: str
) -> None:
    wiring = yaml.safe_load(robot.wiring.read_text())
    wiring["safety"] |= {"stop": "robot", "stop_s": 8.0}
    robot.wiring.write_text(yaml.safe_dump(wiring))
    process = start_driver(start, robot, arm_by_itself=True, duration_s=1.0 if ends == "run over" else 0.0)
    commander.meet()
    commander.policy = gentle
    commander.wait_for_state("armed")
    if ends == "signal":
        process.send(signal.SIGTERM)
    commander.wait_for_state("stopping")
    commander.button.publish(Bool(data=True))
    commander.wait_for_state("fault")
    assert commander.safety[-1].reason == "emergency stop by topic emergency_stop"
    assert commander.ask("reset") == (False, "reset refused: the emergency stop is pressed")
    assert process.wait(15.0)
    assert process.exit_code == 0, process.last_lines()


def test_an_emergency_stop_that_is_not_sent_reliably_is_heard(
    commander: HardwareCommander, start: StartNode, robot: EmulatedRobot
) -> None:
    start_driver(start, robot, arm_by_itself=True)
    commander.meet()
    commander.policy = gentle
    commander.wait_for_state("armed")
    quality = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    button = commander.peer.node.create_publisher(Bool, "emergency_stop", quality)
    commander.peer.wait_until(button.get_subscription_count, "the button is heard")
    button.publish(Bool(data=True))
    commander.wait_for_state("fault")
    assert commander.safety[-1].reason == "emergency stop by topic emergency_stop"


def test_a_driver_that_is_killed_leaves_a_robot_that_stops_by_itself(
    commander: HardwareCommander, start: StartNode, robot: EmulatedRobot
) -> None:
    process = start_driver(start, robot, arm_by_itself=True)
    commander.meet()
    commander.policy = lambda _observation: 1.0
    commander.peer.wait_until(lambda: commander.told and commander.told[-1].sent[0] > 0.5, "force on the cart")
    process.send(signal.SIGKILL)
    assert process.wait(10.0)
    # The servo's own watchdog: no other program is left that could have stopped it.
    settings = load_wiring(robot.wiring).buses[0].settings
    assert isinstance(settings, DynamixelSettings)
    port = SerialPort(settings.port, settings.baud_rate)

    def has_tripped() -> bool:
        # Asking keeps the watchdog quiet: not again within its time.
        commander.peer.executor.spin_once(timeout_sec=1.5e-3 * settings.watchdog_ms)
        return Exchange(port).read(1, "bus_watchdog") == -1

    commander.peer.wait_until(has_tripped, "the servo stops by itself")
    port.close()
    verdict = robot.end()
    assert verdict["plant"]["largest_force_n"] > 0.5
    assert verdict["plant"]["force_at_the_end_n"] == 0.0


def test_a_second_publisher_changes_nothing(
    commander: HardwareCommander, start: StartNode, robot: EmulatedRobot
) -> None:
    start_driver(start, robot, arm_by_itself=True)
    commander.meet()
    commander.policy = gentle
    commander.peer.wait_until(lambda: commander.told and commander.told[-1].source == "script", "commands on the wire")
    rival = commander.peer.node.create_publisher(Action, "action", 10)

    def disturb(observation: np.ndarray) -> float:
        newest = commander.observations[-1]
        message = Action(observation_sequence=newest.sequence, source="rival", values=[-9.0])
        message.observation_stamp = newest.header.stamp
        rival.publish(message)
        return gentle(observation)

    commander.peer.wait_until(rival.get_subscription_count, "the rival is heard")
    commander.policy = disturb
    rejected = "rejected_second_publisher"
    commander.peer.wait_until(lambda: int(commander.latest(rejected) or 0) > 20, "the rival is rejected")
    assert all(command.source != "rival" for command in commander.told)


def test_a_wiring_that_is_no_good_ends_the_driver_with_one_line(start: StartNode, tmp_path: Path) -> None:
    path = tmp_path / "wiring.yaml"
    path.write_text("robot: x\ntask: cartpole\nbuses: {motor: {kind: dynamixl}}\n")
    process = start(MODULE, parameters={"wiring": str(path)})
    assert process.wait(60.0)
    assert process.exit_code == 2
    assert process.last_lines()[-1].startswith(f"error: {path}: buses.motor.kind = 'dynamixl': must be one of")
