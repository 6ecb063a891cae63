"""Deadline, liveliness and lifespan over DDS, and that everybody who listens without asking for them still hears."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from demo_msgs.msg import Action
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile
from ros_support import Peer

from demo_control.nodes.control_loop import ControlLoop
from demo_control.nodes.control_topic_settings import ControlTopicSettings
from demo_control.nodes.control_topics import ControlInput, ControlPath
from demo_control.nodes.quality import CONTROL_PUBLISHER, RECORDING

pytestmark = pytest.mark.ros

PERIOD_S = 0.05
TALKER = f"""
import sys, time, rclpy
from demo_msgs.msg import Action
from demo_control.nodes.control_topics import ControlPath, ControlTopicSettings
rclpy.init()
node = rclpy.create_node("talker")
publisher = ControlPath(node, {PERIOD_S}, ControlTopicSettings()).publisher(Action, "action")
number = 0
while True:
    number += 1
    publisher.publish(Action(observation_sequence=number))
    time.sleep({PERIOD_S} / 2)
"""


class Listener:
    """A control input in a loop of its own."""

    def __init__(self, peer: Peer, settings: ControlTopicSettings) -> None:
        self.peer = peer
        self.heard: list[int] = []
        path = ControlPath(peer.node, PERIOD_S, settings)
        self.input: ControlInput = path.input(Action, "action", lambda m: self.heard.append(m.observation_sequence))
        peer.executor.remove_node(peer.node)
        self.loop = ControlLoop(peer.node, context=peer.context)

    def wait_until(self, condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> float:
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > timeout_s:
                pytest.fail(f"not within {timeout_s:g} s: {what}")
            self.loop.spin_once(0.02)
        return time.monotonic() - started


@pytest.fixture
def listener(peer: Peer) -> Iterator[Listener]:
    listener = Listener(peer, ControlTopicSettings(deadline_periods=2.0, lifespan_s=0.2))
    yield listener
    listener.loop.close()


@pytest.fixture
def talker() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", TALKER], env=dict(os.environ))
    yield process
    process.kill()
    process.wait()


def test_a_publisher_that_stands_still_is_missed_at_once_and_found_again(
    listener: Listener, talker: subprocess.Popen[bytes]
) -> None:
    listener.wait_until(lambda: len(listener.heard) > 5, "messages")
    talker.send_signal(signal.SIGSTOP)
    # A busy machine may have held it up before.
    missed, lost = listener.input.deadlines_missed, listener.input.lost
    listener.wait_until(lambda: listener.input.deadlines_missed > missed, "a missed deadline")
    listener.wait_until(lambda: not listener.input.is_alive, "loss of the publisher")
    assert listener.input.lost > lost
    talker.send_signal(signal.SIGCONT)
    heard = len(listener.heard)
    listener.wait_until(lambda: listener.input.is_alive and len(listener.heard) > heard, "the publisher back")


def test_a_publisher_that_is_killed_is_lost(listener: Listener, talker: subprocess.Popen[bytes]) -> None:
    listener.wait_until(lambda: len(listener.heard) > 5, "messages")
    talker.kill()
    talker.wait()
    listener.wait_until(lambda: not listener.input.is_alive, "loss of the publisher")

    assert listener.input.values()["action.publisher_lost"] == listener.input.lost >= 1


def test_an_old_command_is_never_delivered_but_is_recorded(listener: Listener, talker: subprocess.Popen[bytes]) -> None:
    """A recorder asks for no lifespan; it hears what is too old for those who act."""
    recorded: list[int] = []
    listener.peer.node.create_subscription(
        Action, "action", lambda m: recorded.append(m.observation_sequence), RECORDING
    )
    listener.wait_until(lambda: len(listener.heard) > 5 and len(recorded) > 5, "messages")
    talker.send_signal(signal.SIGSTOP)
    # Nobody takes what comes last; it is then older than its lifespan.
    time.sleep(0.4)
    last = listener.heard[-1]
    listener.wait_until(lambda: not listener.input.is_alive, "loss of the publisher")

    assert listener.heard[-1] == last
    listener.wait_until(lambda: recorded[-1] >= last, "the message that the recorder takes")


def test_default_subscribers_hear_our_publishers_and_are_not_refused(peer: Peer) -> None:
    """As `ros2 topic echo`, whatever it asks for: best effort, reliable, or our recorder."""
    refused: list[object] = []
    heard: dict[str, list[int]] = {"default": [], "recording": [], "control": []}
    events = SubscriptionEventCallbacks(incompatible_qos=refused.append)
    for name, quality in (("default", QoSProfile(depth=10)), ("recording", RECORDING), ("control", CONTROL_PUBLISHER)):
        peer.node.create_subscription(
            Action, "action", lambda m, n=name: heard[n].append(m.observation_sequence), quality, event_callbacks=events
        )
    publisher = ControlPath(peer.node, PERIOD_S, ControlTopicSettings()).publisher(Action, "action")
    peer.wait_until(lambda: publisher.get_subscription_count() == 3, "all matched")
    publisher.publish(Action(observation_sequence=7))
    peer.wait_until(lambda: all(heard.values()), "the message everywhere")

    assert refused == []
    assert heard == {"default": [7], "recording": [7], "control": [7]}


def test_a_publisher_that_offers_no_deadline_is_heard_if_it_is_the_only_one(listener: Listener) -> None:
    publisher = listener.peer.node.create_publisher(Action, "action", 10)

    def sent_until_heard() -> bool:
        publisher.publish(Action(observation_sequence=3))
        return bool(listener.heard)

    listener.wait_until(sent_until_heard, "a message")
    assert listener.input.refused == 1
    assert listener.input.deadlines_missed == 0


def test_beside_one_that_keeps_its_promises_another_is_refused(
    listener: Listener, talker: subprocess.Popen[bytes]
) -> None:
    listener.wait_until(lambda: len(listener.heard) > 5, "messages")
    rival = listener.peer.node.create_publisher(Action, "action", 10)
    listener.wait_until(lambda: listener.input.refused == 1, "the rival noticed")
    heard = len(listener.heard)

    def sent() -> bool:
        rival.publish(Action(observation_sequence=2**40))
        return len(listener.heard) > heard + 20

    listener.wait_until(sent, "more messages")
    assert 2**40 not in listener.heard


def test_without_a_deadline_all_are_heard_and_nothing_is_watched(peer: Peer) -> None:
    listener = Listener(peer, ControlTopicSettings(deadline_periods=0.0, lifespan_s=0.0))
    publisher = peer.node.create_publisher(Action, "action", 10)

    def sent_until_heard() -> bool:
        publisher.publish(Action(observation_sequence=3))
        return bool(listener.heard)

    listener.wait_until(sent_until_heard, "a message")
    assert set(listener.input.values().values()) == {0}
    listener.loop.close()
