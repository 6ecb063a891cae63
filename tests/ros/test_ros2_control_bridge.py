"""The bridge to a ros2_control stack: names, signs and zeros, stale and broken messages, and a driver on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import yaml
from hardware_support import HardwareCommander, emulated
from ros_support import Peer, StartNode
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from demo_control.hardware.bus import BusError
from demo_control.hardware.composite import open_bus
from demo_control.hardware.emulation.ros2_control_side import Ros2ControlSide
from demo_control.hardware.wiring import load_wiring
from demo_control.network import RANGE, is_local, uses_sockets

pytestmark = pytest.mark.ros


def wiring(folder: Path, command: str, **safety: float) -> Path:
    content: dict[str, Any] = {
        "robot": "lab-cart",
        "task": "cartpole",
        "buses": {
            "cart": {
                "kind": "ros2_control",
                "command": command,
                "command_topic": "controller/commands",
                "joints": {"cart": {"remote_name": "slider", "sign": -1, "pulley_radius_m": 0.5, "force_n": 10.0}},
            },
            "pole": {
                "kind": "ros2_control",
                "command": "none",
                "joints": {"pole": {"remote_name": "hinge", "offset_rad": 3.0}},
            },
        },
        "safety": {"engage_s": 0.2, "stop_s": 0.2, **safety},
    }
    path = folder / "lab.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


class OtherSide:
    """What a ros2_control stack says and hears."""

    def __init__(self, peer: Peer, command: str) -> None:
        self.peer = peer
        self.values: list[list[float]] = []
        self.position, self.velocity = -2.0, 0.5
        self.states = peer.node.create_publisher(JointState, "joint_states", 10)
        kind = JointTrajectory if command == "trajectory" else Float64MultiArray
        peer.node.create_subscription(kind, "controller/commands", self._on_command, 10)
        self.timer: Any = peer.node.create_timer(0.005, self.tell)

    def _on_command(self, message: Any) -> None:  # noqa: ANN401 - either kind
        points = getattr(message, "points", None)
        self.values.append(list(points[0].positions) if points else list(message.data))

    def tell(self) -> None:
        self.states.publish(
            JointState(
                name=["hinge", "slider", "unknown"],
                position=[6.0, self.position, 0.0],
                velocity=[0.0, self.velocity, 0.0],
            )
        )


@pytest.fixture
def own_context() -> Iterator[None]:
    rclpy.init(args=[])
    yield
    rclpy.try_shutdown()


def in_background(peer: Peer, action: Callable[[], object]) -> None:
    """Do something that waits for the other side, which this thread plays."""
    import threading  # noqa: PLC0415

    thread = threading.Thread(target=action)
    thread.start()
    peer.wait_until(lambda: not thread.is_alive(), "the other thread")


@pytest.mark.parametrize(("command", "expected"), [("effort", -2.0), ("position", -8.0), ("trajectory", -8.0)])
@pytest.mark.usefixtures("own_context")
def test_names_signs_zeros_and_gears(peer: Peer, tmp_path: Path, command: str, expected: float) -> None:
    side = OtherSide(peer, command)
    bus = open_bus(load_wiring(wiring(tmp_path, command)))
    in_background(peer, bus.connect)
    peer.wait_until(lambda: bus.read().ages_s.max() < 1.0, "a reading")
    reading = bus.read()
    # cart = -0.5 m/rad * slider; pole = hinge - 3.
    assert reading.positions == pytest.approx([1.0, 3.0])
    assert reading.velocities == pytest.approx([-0.25, 0.0])
    # 4 N are -2 N m at the pulley, 4 m are -8 rad.
    assert bus.write(np.array([4.0])) == pytest.approx([4.0])
    peer.wait_until(lambda: side.values, "the command")
    assert side.values[0] == pytest.approx([expected])
    for side.position, side.velocity in [(float("nan"), 0.5), (1e30, 0.5), (-2.0, -1e30)]:
        # Whatever was said before this may still be on its way.
        count = bus.counters()["cart.implausible"] + 2
        peer.wait_until(lambda: bus.read() and bus.counters()["cart.implausible"] > count, "broken messages")  # noqa: B023
        assert bus.read().positions == pytest.approx([1.0, 3.0])
        assert bus.read().velocities == pytest.approx([-0.25, 0.0])
    bus.disconnect()


@pytest.mark.usefixtures("own_context")
def test_nobody_on_the_other_side_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo_control.hardware.ros2_control._CONNECT_LIMIT_S", 0.2)
    with pytest.raises(BusError, match="cart: joint_states does not tell of joint slider"):
        open_bus(load_wiring(wiring(tmp_path, "effort"))).connect()


def test_commands_that_look_at_it_need_no_driver(tmp_path: Path) -> None:
    with emulated("cartpole_ros2_control", tmp_path) as robot:
        for words in (["check"], ["dry-run", "--seconds", "0.5"]):
            command = [sys.executable, "-m", "demo_control.cli.main", "hardware", *words, str(robot.wiring)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


def test_an_emulated_stack_is_heard_on_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RANGE)
    loaded = load_wiring(Path(str(files("stoch2_sim"))) / "wiring" / "cartpole_ros2_control.yaml")
    side = Ros2ControlSide(loaded.buses[0], (0,))
    try:
        assert uses_sockets(os.environ)
        assert is_local(os.environ)
    finally:
        side.close()


def test_a_driver_commands_it_and_notices_its_silence(peer: Peer, start: StartNode, tmp_path: Path) -> None:
    side = OtherSide(peer, "effort")
    side.velocity = 0.0
    path = wiring(tmp_path, "effort", silence_limit_ms=500.0)
    start("stoch2_sim.drivers.cartpole_driver", parameters={"wiring": str(path), "arm_by_itself": True})
    commander = HardwareCommander(peer, "cartpole_driver")
    commander.meet()
    commander.policy = lambda _observation: 4.0
    peer.wait_until(lambda: side.values and side.values[-1] == pytest.approx([-2.0]), "the force on the other side")
    began_s = time.monotonic()
    side.timer.cancel()
    commander.wait_for_state("fault")
    assert time.monotonic() - began_s > 0.4
    assert "silent" in commander.safety[-1].reason
    # It brakes (the cart rests: by nothing), then gives zero.
    peer.wait_until(lambda: side.values[-1] == [0.0] or abs(side.values[-1][0]) == 0.0, "zero force")
