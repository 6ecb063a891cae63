"""Emulated robots as processes, and what a real robot's driver says besides."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from demo_msgs.msg import JointCommand, SafetyState
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import Commander, Peer
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from demo_control.nodes.quality import RECORDING


def relaxed_wiring(robot: str, folder: Path) -> Path:
    """The shipped wiring, patient: the emulator and the driver share a busy machine with other tests."""
    content: dict[str, Any] = yaml.safe_load(files("stoch2_sim").joinpath("wiring", f"{robot}.yaml").read_text())
    content["safety"] |= {"silence_limit_ms": 1000.0, "engage_s": 0.5, "stop_s": 0.5}
    for bus in content["buses"].values():
        if bus["kind"] == "dynamixel":
            bus["watchdog_ms"] = 400
    path = folder / f"{robot}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


class EmulatedRobot:
    """A running emulator."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.wiring = folder / "wiring.yaml"
        self._process = process
        self._result = folder / "result.json"

    def end(self) -> dict[str, Any]:
        """End it; returns its verdict."""
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(timeout=20.0) == 0
        verdict: dict[str, Any] = json.loads(self._result.read_text())
        return verdict


@contextmanager
def emulated(robot: str, folder: Path, *arguments: str) -> Iterator[EmulatedRobot]:
    """An emulator of a robot's devices in a process of its own."""
    into = folder / "emulated"
    command = ["-m", "demo_control.cli.main", "hardware", "emulate", str(relaxed_wiring(robot, folder))]
    process = subprocess.Popen([sys.executable, *command, "--into", str(into), *arguments], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60.0
        while not (into / "wiring.yaml").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield EmulatedRobot(process, into)
    finally:
        process.kill()
        process.wait()


class HardwareCommander(Commander):
    """All that a real robot's driver says."""

    def __init__(self, peer: Peer, driver: str) -> None:
        super().__init__(peer, driver)
        self.safety: list[SafetyState] = []
        self.told: list[JointCommand] = []
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.button = peer.node.create_publisher(Bool, "emergency_stop", 10)
        peer.node.create_subscription(SafetyState, "safety_state", self.safety.append, latched)
        peer.node.create_subscription(JointCommand, "joint_command", self.told.append, RECORDING)

    @property
    def state(self) -> str:
        return self.safety[-1].state if self.safety else ""

    def wait_for_state(self, state: str) -> None:
        self.peer.wait_until(lambda: self.state == state, f"safety state {state}")

    def ask(self, service: str) -> tuple[bool, str]:
        answer = self.peer.call(Trigger, service, Trigger.Request())
        return answer.success, answer.message
