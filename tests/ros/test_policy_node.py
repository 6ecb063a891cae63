"""policy_node over DDS: answers, refusals, bundle swaps, a clean end."""

from __future__ import annotations

import math
import random
import signal
import time
from pathlib import Path

import pytest
from demo_msgs.msg import Action, Observation
from demo_msgs.srv import LoadBundle
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rclpy.serialization import serialize_message
from ros_support import Peer, StartNode

pytestmark = pytest.mark.ros

MODULE = "demo_control.nodes.policy_node"
STATE = [0.1, 2.0, -1.0, 0.0, 0.3]


class Conversation:
    """Sends observations and gathers the answers."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.answers: list[Action] = []
        self.publisher = peer.node.create_publisher(Observation, "observation", 10)
        peer.node.create_subscription(Action, "nominal_action", self.answers.append, 50)

    def meet(self) -> None:
        self.peer.wait_until(
            lambda: self.publisher.get_subscription_count() and self.peer.node.count_publishers("nominal_action"),
            "policy node matched",
        )

    def send(self, sequence: int, values: list[float]) -> None:
        message = Observation(sequence=sequence, values=values)
        message.header.stamp.sec = 1000 + sequence
        self.publisher.publish(message)

    def ask(self, sequence: int, values: list[float]) -> Action:
        """Send until answered: the node subscribes best effort."""
        before = len(self.answers)

        def answered() -> bool:
            if len(self.answers) == before:
                self.send(sequence, values)
                self.peer.executor.spin_once(timeout_sec=0.05)
            return len(self.answers) > before

        self.peer.wait_until(answered, f"answer to {values}")
        return self.answers[-1]


@pytest.fixture
def conversation(peer: Peer, start: StartNode, bundle_directory: Path) -> Conversation:
    start(MODULE, parameters={"task": "cartpole", "bundle_directory": str(bundle_directory)})
    talk = Conversation(peer)
    peer.bring_up("policy_node")
    talk.meet()
    return talk


def test_answers_each_observation_with_the_policys_action(conversation: Conversation) -> None:
    answer = conversation.ask(7, STATE)

    assert answer.values == pytest.approx([-0.1 * 2.0 * 10.0])
    assert (answer.observation_sequence, answer.observation_stamp.sec, answer.source) == (7, 1007, "policy")
    assert answer.header.stamp.sec > 0


JUNK = [[], [1.0], STATE * 2, [math.nan] * 5, [math.inf, 0.0, 0.0, 0.0, 0.0], [1e308] * 4 + [-math.inf], [1e30] * 5]


def test_unusable_observations_get_no_answer_and_are_counted(conversation: Conversation) -> None:
    reports: list[str] = []

    def on_diagnostics(message: DiagnosticArray) -> None:
        reports.extend(status.message for status in message.status)

    conversation.peer.node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    for sequence, junk in enumerate(JUNK):
        conversation.ask(1000 + sequence, STATE)
        conversation.send(sequence, junk)
        conversation.peer.executor.spin_once(timeout_sec=0.05)
    conversation.ask(2000, STATE)
    conversation.peer.wait_until(
        lambda: any(all(why in text for why in ("wrong_shape", "non_finite", "implausible")) for text in reports),
        "diagnostics",
    )

    assert min(answer.observation_sequence for answer in conversation.answers) >= 1000


def test_garbage_on_the_wire_and_impossible_transitions_do_not_end_the_node(conversation: Conversation) -> None:
    good = serialize_message(Observation(values=STATE))
    generator = random.Random(1)
    for garbage in [b"", b"\0", good[:11], b"\0\1\0\0" + b"\xff" * 90, generator.randbytes(120)]:
        conversation.publisher.publish(garbage)
    assert not conversation.peer.change_state("policy_node", Transition.TRANSITION_CONFIGURE)
    assert not conversation.peer.change_state("policy_node", 250)

    assert conversation.ask(1, STATE).values


def test_inactive_node_is_silent_and_a_second_activation_works(conversation: Conversation) -> None:
    conversation.ask(1, STATE)
    assert conversation.peer.change_state("policy_node", Transition.TRANSITION_DEACTIVATE)
    conversation.send(2, STATE)
    assert conversation.peer.state("policy_node") == "inactive"
    assert conversation.peer.change_state("policy_node", Transition.TRANSITION_CLEANUP)
    conversation.peer.bring_up("policy_node")
    conversation.meet()

    assert conversation.ask(3, STATE).observation_sequence == 3
    assert 2 not in [answer.observation_sequence for answer in conversation.answers]


def test_swaps_the_bundle_and_keeps_the_old_one_if_the_new_is_bad(
    conversation: Conversation, other_bundle_directory: Path, tmp_path: Path
) -> None:
    def load(directory: Path) -> LoadBundle.Response:
        request = LoadBundle.Request(directory=str(directory))
        return conversation.peer.call(LoadBundle, "/policy_node/load_bundle", request)

    refused = load(tmp_path / "nowhere")
    assert not refused.success
    assert "nowhere" in refused.message
    assert conversation.ask(1, STATE).values == pytest.approx([-2.0])

    taken = load(other_bundle_directory)
    assert taken.success
    assert taken.bundle_sha256 != refused.bundle_sha256
    conversation.answers.clear()
    assert conversation.ask(2, STATE).values == pytest.approx([-4.0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly_within_a_second(
    peer: Peer, start: StartNode, bundle_directory: Path, number: signal.Signals
) -> None:
    process = start(MODULE, parameters={"task": "cartpole", "bundle_directory": str(bundle_directory)})
    peer.bring_up("policy_node")
    began = time.monotonic()
    process.send(number)

    assert process.wait(10.0)
    assert time.monotonic() - began < 1.0
    assert process.exit_code == 0
    assert "Traceback" not in "\n".join(process.last_lines())
