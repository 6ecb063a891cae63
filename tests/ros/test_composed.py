"""Several nodes in one process: the same answers, published for all, and a failure that is told and contained."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from demo_msgs.msg import Action, Observation
from ros_support import Peer

from demo_control.bringup.description import NodeDescription
from demo_control.bringup.process import NodeProcess, end_all
from demo_control.bringup.shared_memory import remove_leftovers
from demo_control.bringup.supervisor import write_parameters
from demo_control.nodes.control_topic_settings import ControlTopicSettings
from demo_control.nodes.control_topics import ControlPath
from demo_control.nodes.quality import RECORDING

pytestmark = pytest.mark.ros

PERIOD_S = 0.02
FAILING = """
from demo_control.nodes.policy_node import PolicyNode

class Failing(PolicyNode):
    answers = 0

    def _act(self, observation):
        Failing.answers += 1
        if Failing.answers > 25:
            raise ValueError("the policy is broken")
        return super()._act(observation)

COMPONENT = Failing
"""

Start = Callable[..., NodeProcess]


@pytest.fixture
def start_composed(tmp_path: Path) -> Iterator[Start]:
    """Starts nodes in one process."""
    processes: list[NodeProcess] = []

    def start(*nodes: NodeDescription) -> NodeProcess:
        name = "+".join(node.name for node in nodes)
        description = NodeDescription("p", "e", "demo_control.nodes.composed", name, components=nodes)
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        processes.append(NodeProcess(description, write_parameters(description, tmp_path), environment))
        return processes[-1]

    yield start
    end_all(processes, grace_s=5.0)
    remove_leftovers(set().union(*(process.segments for process in processes)))


def described(name: str, module: str, bundle: Path, **changes: object) -> NodeDescription:
    parameters = {"task": "cartpole", "bundle_directory": str(bundle), **changes}
    return NodeDescription("p", "e", module, name, parameters, lifecycle=True)  # type: ignore[arg-type]


class Ears:
    """Hears what is published of the control path."""

    def __init__(self, peer: Peer, *topics: str) -> None:
        self.heard: dict[str, list[Action]] = {topic: [] for topic in topics}
        for topic in topics:
            peer.node.create_subscription(Action, topic, self.heard[topic].append, RECORDING)


def test_policy_and_layer_answer_by_a_call_and_publish_both(
    peer: Peer, start_composed: Start, bundle_directory: Path
) -> None:
    layer = described(
        "demo_layer_node", "demo_control.nodes.demo_layer_node", bundle_directory, num_samples=32, horizon=10
    )
    policy = described("policy_node", "demo_control.nodes.policy_node", bundle_directory)
    process = start_composed(layer, policy)
    ears = Ears(peer, "nominal_action", "action")
    publisher = ControlPath(peer.node, PERIOD_S, ControlTopicSettings()).publisher(Observation, "observation")
    for name in ("demo_layer_node", "policy_node"):
        peer.bring_up(name)
    peer.wait_until(lambda: publisher.get_subscription_count() == 2, "both hear observations")
    # The hop between the two is no topic: only we listen.
    assert peer.node.count_subscribers("nominal_action") == 1
    sequence = 0

    def answered(times: int) -> Callable[[], bool]:
        def sent() -> bool:
            nonlocal sequence
            sequence += 1
            message = Observation(sequence=sequence, values=[0.1, 2.0, -1.0, 0.0, 0.3])
            message.header.stamp.sec = sequence
            publisher.publish(message)
            peer.executor.spin_once(timeout_sec=PERIOD_S)
            corrected = [m for m in ears.heard["action"] if m.source == "demo_layer"]
            return len(ears.heard["action"]) >= times and bool(corrected)

        return sent

    peer.wait_until(answered(20), "actions, some of them corrected")
    peer.wait_until(lambda: len(ears.heard["nominal_action"]) >= len(ears.heard["action"]), "their nominal actions")

    nominal = {message.observation_sequence: message for message in ears.heard["nominal_action"]}
    for action in ears.heard["action"]:
        origin = nominal[action.observation_sequence]
        assert action.observation_stamp == origin.observation_stamp
        np.testing.assert_allclose(origin.values, [-2.0])
        if action.source != "demo_layer":
            assert action.values == origin.values
    assert process.exit_code is None


def test_a_node_that_fails_is_named_and_the_driver_stops_the_robot_before_the_end(
    peer: Peer, start_composed: Start, bundle_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "failing_policy.py").write_text(FAILING)
    driver = NodeDescription("p", "e", "stoch2_sim.drivers.cartpole_driver", "cartpole_driver")
    policy = described("policy_node", "failing_policy", bundle_directory)
    policy = NodeDescription(**{**vars(policy), "remappings": {"nominal_action": "action"}})
    process = start_composed(driver, policy)
    ears = Ears(peer, "applied_action")
    peer.bring_up("policy_node")
    peer.wait_until(lambda: process.exit_code is not None, "the end of the process")

    sources = [message.source for message in ears.heard["applied_action"]]
    assert process.exit_code == 1
    said = "\n".join(process.last_lines(40))
    assert "node policy_node of this process failed, the others go on" in said
    assert "ValueError: the policy is broken" in said
    assert sources.count("policy") >= 20
    # The cart brakes for as long as the process lives on.
    assert sources.count("driver:command_timeout") >= 10
    assert sources.index("driver:command_timeout") > sources.index("policy")


def test_what_cannot_be_composed_is_one_line(start_composed: Start, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "no_component.py").write_text("pass\n")
    process = start_composed(NodeDescription("p", "e", "no_component", "policy_node"))
    peer.wait_until(lambda: process.exit_code is not None, "its end")

    assert process.exit_code == 2
    assert process.last_lines()[-1].startswith("error: 'no_component' cannot be composed:")
