"""What the middleware really does with the variables: which memory and which sockets a node's process has."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from ros_support import Peer, StartNode

from demo_control.bringup.process import NodeProcess
from demo_control.bringup.shared_memory import segments_of
from demo_control.network import TRANSPORTS

pytestmark = pytest.mark.ros

LOOPBACK_ADDRESS = "0100007F"
ANY_ADDRESS = "00000000"


def udp_addresses(process_id: int) -> set[str]:
    """Addresses, as the kernel writes them, to which a process has bound UDP sockets."""
    inodes = set()
    for entry in os.listdir(f"/proc/{process_id}/fd"):
        if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{process_id}/fd/{entry}")):
            inodes.add(found[1])
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[9] in inodes}


def policy(start: StartNode, peer: Peer) -> NodeProcess:
    """A node that this test's own one, which has stock settings, has met."""
    process = start("demo_control.nodes.policy_node", parameters={"task": "cartpole"})
    peer.wait_until(lambda: "policy_node" in peer.node.get_node_names(), "the node is discovered")
    return process


def test_a_node_of_this_machine_has_sockets_of_this_machine_and_no_shared_memory(start: StartNode, peer: Peer) -> None:
    process = policy(start, peer)
    assert udp_addresses(process.process_id) == {LOOPBACK_ADDRESS}
    assert not segments_of(process.process_id)


def test_a_node_that_other_computers_reach_has_no_shared_memory_either(
    start: StartNode, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    process = policy(start, peer)
    assert ANY_ADDRESS in udp_addresses(process.process_id)
    assert not segments_of(process.process_id)


def test_who_asks_for_shared_memory_gets_it(start: StartNode, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRANSPORTS, "DEFAULT")
    assert segments_of(policy(start, peer).process_id)
