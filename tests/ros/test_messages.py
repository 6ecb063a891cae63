"""demo_msgs between two processes over DDS, started without sourcing anything."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("demo_msgs")

import rclpy
from demo_msgs.msg import Action, Observation, PlannerStatus
from demo_msgs.srv import LoadBundle
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

pytestmark = pytest.mark.ros

DEADLINE_S = 30.0
# Each is far from what a default-constructed message holds, and 2**53 + 1 does not survive a float.
SEQUENCE = 2**53 + 1
VALUES = [1.5, -0.1, 1e-300]

ANSWERING_PROCESS = """
import rclpy
from demo_msgs.msg import Action, Observation
from demo_msgs.srv import LoadBundle

rclpy.init()
node = rclpy.create_node("answering")
actions = node.create_publisher(Action, "action", 10)


def answer(observation):
    actions.publish(Action(
        observation_sequence=observation.sequence,
        observation_stamp=observation.header.stamp,
        source="answering",
        values=[-value for value in observation.values],
    ))


def load(request, response):
    response.success, response.message = False, "no bundle in " + request.directory
    response.bundle_sha256 = "0" * 64
    return response


node.create_subscription(Observation, "observation", answer, 10)
node.create_service(LoadBundle, "load_bundle", load)
rclpy.spin(node)
"""


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 101)))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("asking", context=context)
    yield node
    node.destroy_node()
    context.shutdown()


@pytest.fixture
def answering(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", ANSWERING_PROCESS])
    yield process
    process.kill()
    process.wait()


def spin_until(node: Node, condition: Callable[[], bool]) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing came in time"
        executor.spin_once(timeout_sec=0.05)
    executor.remove_node(node)


@pytest.mark.usefixtures("answering")
def test_observation_goes_out_and_action_comes_back(node: Node) -> None:
    received: list[Action] = []
    publisher = node.create_publisher(Observation, "observation", 10)
    subscription = node.create_subscription(Action, "action", received.append, 10)
    spin_until(
        node,
        lambda: bool(publisher.get_subscription_count() and subscription.get_publisher_count()),
    )
    sent = Observation(sequence=SEQUENCE, values=VALUES)
    sent.header.stamp.sec = 7
    publisher.publish(sent)
    spin_until(node, lambda: bool(received))
    assert received[0].observation_sequence == SEQUENCE
    assert received[0].observation_stamp.sec == sent.header.stamp.sec
    assert received[0].source == "answering"
    assert list(received[0].values) == [-value for value in VALUES]


@pytest.mark.usefixtures("answering")
def test_bundle_service_answers(node: Node) -> None:
    client = node.create_client(LoadBundle, "load_bundle")
    spin_until(node, client.service_is_ready)
    future = client.call_async(LoadBundle.Request(directory="models/nowhere"))
    spin_until(node, future.done)
    response = future.result()
    assert (response.success, response.message) == (False, "no bundle in models/nowhere")
    assert response.bundle_sha256 == "0" * 64


@pytest.mark.parametrize("message", [Action, Observation, PlannerStatus])
def test_real_numbers_are_doubles(message: type) -> None:
    for field, kind in message.get_fields_and_field_types().items():
        assert "float" not in kind, f"{field}: {kind}"


def test_interfaces_document_every_field() -> None:
    package = Path(__file__).parents[2] / "ros2_ws" / "src" / "demo_msgs"
    for path in [*package.glob("msg/*.msg"), *package.glob("srv/*.srv")]:
        for line in path.read_text().splitlines():
            assert not line or line == "---" or "#" in line, f"{path.name}: {line}"
