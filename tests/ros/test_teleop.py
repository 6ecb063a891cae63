"""democtl teleop in a terminal of its own, driving a robot that this test plays."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from ros_support import Peer
from std_srvs.srv import Trigger

pytestmark = pytest.mark.ros

COMMAND = [sys.executable, "-m", "demo_control.cli.main", "teleop"]


class Terminal:
    """The program in a pseudo terminal."""

    def __init__(self) -> None:
        self.user, program = pty.openpty()
        self.process = subprocess.Popen(COMMAND, stdin=program, stdout=program, stderr=program, close_fds=True)
        os.close(program)
        self.shown = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self.user, 4096):
                self.shown += data.decode(errors="ignore")
        except OSError:
            pass  # the program has ended

    def press(self, keys: str) -> None:
        os.write(self.user, keys.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(timeout=5.0)
        os.close(self.user)


class Robot:
    """Listens to commands and refuses to stand up."""

    def __init__(self, peer: Peer) -> None:
        self.heard: list[tuple[float, float]] = []
        self.times_s: list[float] = []
        peer.node.create_subscription(Twist, "cmd_vel", self._on_velocity, 50)
        self.odometry = peer.node.create_publisher(Odometry, "odom", 1)
        peer.node.create_service(Trigger, "stand_up", self._stand_up)

    def _on_velocity(self, message: Twist) -> None:
        self.heard.append((message.linear.x, message.angular.z))
        self.times_s.append(time.monotonic())
        told = Odometry()
        told.twist.twist.linear.x = 0.12
        self.odometry.publish(told)

    def _stand_up(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = "stand_up refused: it is asleep"
        return response


@pytest.fixture
def robot(peer: Peer) -> Robot:
    return Robot(peer)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_keys_drive_the_robot_and_the_end_stops_it(peer: Peer, robot: Robot, terminal: Terminal) -> None:
    peer.wait_until(lambda: robot.heard, "commands")
    assert robot.heard[-1] == (0.0, 0.0)
    terminal.press("w\x1b[A\x1b[D")
    peer.wait_until(lambda: robot.heard[-1] == (0.1, 0.1), "the keys' command")
    first = len(robot.heard)
    peer.wait_until(lambda: len(robot.heard) >= first + 40, "40 commands")
    assert (robot.times_s[-1] - robot.times_s[first]) / (len(robot.heard) - 1 - first) == pytest.approx(0.05, abs=0.01)
    peer.wait_until(lambda: "command +0.10 m/s +0.10 rad/s | robot +0.12 m/s" in terminal.shown, "the robot's speed")
    terminal.press("r")
    peer.wait_until(lambda: "stand_up refused: it is asleep" in terminal.shown, "the refusal")
    terminal.press("wq")
    peer.wait_until(lambda: terminal.process.poll() is not None, "its end")
    assert terminal.process.returncode == 0
    peer.wait_until(lambda: robot.heard[-1] == (0.0, 0.0), "standstill")


def test_an_interrupt_stops_the_robot_too(peer: Peer, robot: Robot, terminal: Terminal) -> None:
    peer.wait_until(lambda: robot.heard, "commands")
    terminal.press("ww")
    peer.wait_until(lambda: robot.heard[-1] == (0.1, 0.0), "the keys' command")
    terminal.process.send_signal(signal.SIGINT)
    peer.wait_until(lambda: terminal.process.poll() is not None, "its end")
    peer.wait_until(lambda: robot.heard[-1] == (0.0, 0.0), "standstill")
    assert "Traceback" not in terminal.shown


def test_without_a_terminal_it_refuses() -> None:
    done = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "standard input is no terminal" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
