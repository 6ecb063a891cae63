"""DDS that is secured, for real, where the middleware has the plugins; and what happens where it has not.

With plugins, every process here enforces its enclave's permissions, and whoever has none is not heard.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import rclpy
from demo_msgs.msg import Action, Observation
from hardware_support import emulated
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from demo_control.bringup.description import NodeDescription
from demo_control.bringup.process import NodeProcess, end_all
from demo_control.bringup.shared_memory import remove_leftovers
from demo_control.bringup.supervisor import write_parameters
from demo_control.nodes.quality import CONTROL_PUBLISHER, RECORDING
from demo_control.nodes.running import RosError
from demo_control.security.access import Access
from demo_control.security.middleware import Support, ask_for_plugins
from demo_control.security.roles import find_role, roles_of
from demo_control.security.variables import enclave_path, variables

pytestmark = pytest.mark.ros
pytest.importorskip("cryptography", reason="the extra 'security' is not installed")

from demo_control.security.keystore import Keystore, Origin  # noqa: E402 - needs the extra

YEAR = timedelta(days=365)
INTRUSION_S = 3.0
"""So long intruders try: many times what meeting and a message take."""

EVERYTHING = Access(nodes=("*",), publishes=("*",), subscribes=("*",), offers=("*",), calls=("*",))


@pytest.fixture(scope="module")
def support() -> Support:
    return ask_for_plugins(os.environ)


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Keystore:
    folder = tmp_path_factory.mktemp("keys") / "keystore"
    return Keystore.create(folder, roles_of(["cartpole"]), datetime.now(timezone.utc), YEAR)


@pytest.fixture
def secured(support: Support, keystore: Keystore, monkeypatch: pytest.MonkeyPatch) -> Keystore:
    """The environment, secured."""
    if support.error:
        pytest.skip(f"the middleware has no plugins: {support.error}")
    for name, value in variables(keystore.folder).items():
        monkeypatch.setenv(name, value)
    return keystore


class Member:
    """A node of the test in an enclave, or in none."""

    def __init__(self, enclave: str, name: str) -> None:
        self.context = Context()
        rclpy.init(context=self.context, args=["--ros-args", "--enclave", enclave_path(enclave)] if enclave else [])
        self.node = rclpy.create_node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def wait_until(self, condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout_s:g} s: {what}")
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, name: str) -> Any:  # noqa: ANN401 - of rclpy
        client = self.node.create_client(Trigger, name)
        self.wait_until(client.service_is_ready, f"service {name}")
        future = client.call_async(Trigger.Request())
        self.wait_until(future.done, f"answer of {name}")
        return future.result()

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


Join = Callable[..., Member]


@pytest.fixture
def join() -> Iterator[Join]:
    members: list[Member] = []

    def make(enclave: str, name: str) -> Member:
        members.append(Member(enclave, name))
        return members[-1]

    yield make
    for member in members:
        member.close()


@pytest.fixture
def driver(secured: Keystore, tmp_path: Path) -> Iterator[NodeProcess]:
    """The cart-pole's driver on emulated hardware, in its enclave: it can be stopped and reset."""
    with emulated("cartpole", tmp_path) as robot:
        parameters = {"wiring": str(robot.wiring), "command_timeout_s": 0.5, "arm_by_itself": True}
        module = "stoch2_sim.drivers.cartpole_driver"
        description = NodeDescription("", "", module, "cartpole_driver", parameters)
        process = NodeProcess(description, write_parameters(description, tmp_path), os.environ)
        yield process
        end_all([process], grace_s=5.0)
        remove_leftovers(process.segments)


class Publisher:
    """Answers every observation that it hears with a command; without observations, with one that is made up."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.heard: list[Observation] = []
        self.publisher = member.node.create_publisher(Action, "action", CONTROL_PUBLISHER)

    def listen(self) -> Publisher:
        self.member.node.create_subscription(Observation, "observation", self._answer, CONTROL_PUBLISHER)
        return self

    def _answer(self, message: Observation) -> None:
        self.heard.append(message)
        self.send(message)

    def send(self, message: Observation) -> None:
        action = Action(observation_sequence=message.sequence, source="somebody", values=[3.0])
        action.observation_stamp = action.header.stamp = message.header.stamp
        self.publisher.publish(action)


class Watch:
    """What the robot did, as the recorder is told."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.applied: list[Action] = []
        self.observations: list[Observation] = []
        member.node.create_subscription(Action, "applied_action", self.applied.append, RECORDING)
        member.node.create_subscription(Observation, "observation", self.observations.append, RECORDING)

    def commanded(self) -> list[Action]:
        return [action for action in self.applied if action.source == "somebody"]


def watch(join: Join, driver: NodeProcess) -> Watch:
    one = Watch(join("recorder", "recorder_node"))

    def hears_all() -> bool:
        return bool(one.observations and one.member.node.count_publishers("applied_action")) or bool(driver.exit_code)

    one.member.wait_until(hears_all, "the driver")
    assert driver.exit_code is None, driver.last_lines()
    return one


def intrude(enclave: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Let somebody say what they like for a while, in a process of their own."""
    script = Path(__file__).parent / "intruder.py"
    arguments = ["--ros-args", "--enclave", enclave_path(enclave)] if enclave else []
    command = [sys.executable, str(script), str(INTRUSION_S), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_the_layer_commands_and_nobody_without_its_key_does(
    secured: Keystore, driver: NodeProcess, join: Join, tmp_path: Path
) -> None:
    one = watch(join, driver)
    unsecured = {name: value for name, value in os.environ.items() if not name.startswith("ROS_SECURITY_")}
    # Keys and permissions for everything, signed by another authority.
    now = datetime.now(timezone.utc)
    other = Keystore.create(tmp_path / "other", [], now, YEAR)
    other.add("layer", Origin((), EVERYTHING), now, YEAR)
    intruders = [intrude("", unsecured), intrude("layer", {**unsecured, **variables(other.folder)})]
    try:
        one.member.wait_until(lambda: all(each.poll() is not None for each in intruders), "the intruders' end")
        told = [json.loads(each.communicate()[0]) for each in intruders]
    finally:
        for each in intruders:
            each.kill()
    for each in told:
        assert each["sent"] > 100
        assert (each["matched"], each["heard"]) == (0, 0)
    assert one.observations
    assert one.commanded() == []

    layer = Publisher(join("layer", "demo_layer_node")).listen()

    def commanded() -> bool:
        layer.member.executor.spin_once(timeout_sec=0.0)
        return bool(one.commanded())

    one.member.wait_until(commanded, "a command of the layer applied")


@pytest.mark.parametrize("role", ["recorder", "viewer", "operator", "monitor", "policy", "cartpole_driver"])
@pytest.mark.usefixtures("secured")
def test_a_key_of_another_role_commands_nothing(join: Join, role: str) -> None:
    member = join(role, find_role(role).access.nodes[0])
    with pytest.raises(RosError):
        Publisher(member)


def test_an_operator_stops_and_resets_and_nobody_else_can(driver: NodeProcess, join: Join) -> None:
    recorder = watch(join, driver).member
    with pytest.raises(RosError):
        recorder.node.create_publisher(Bool, "emergency_stop", 10)
    with pytest.raises(RosError):
        recorder.node.create_client(Trigger, "reset")
    operator = join("operator", "teleop")
    assert operator.call("emergency_stop").success
    answer = operator.call("reset")
    assert answer.success, answer.message


@pytest.mark.usefixtures("secured")
def test_a_secured_run_comes_to_its_end(keystore: Keystore, tmp_path: Path) -> None:
    command = ["launch", "cartpole_swingup", "--duration", "3", "--security", str(keystore.folder)]
    done = democtl(*command, "--record", str(tmp_path / "bag"))

    assert done.returncode == 0, done.stderr
    info = democtl("bag", "info", str(tmp_path / "bag"))
    assert "/action" in info.stdout + info.stderr


def test_where_there_are_no_plugins_nothing_runs_unsecured(support: Support, keystore: Keystore) -> None:
    if not support.error:
        pytest.skip("this middleware has the plugins")
    done = democtl("launch", "cartpole_swingup", "--duration", "3", "--security", str(keystore.folder))

    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("democtl: security: no secured node can run here: ")
    assert "librmw" in line
    assert "docs/security.md" in line
    assert done.stdout == ""


def democtl(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo_control.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)
