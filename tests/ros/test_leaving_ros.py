"""A node that was destroyed has left ROS: no thread of Fast DDS is left for the exit of the process to trip over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from demo_control.nodes.demo_layer_node import DemoLayerNode
from demo_control.nodes.policy_node import PolicyNode

pytestmark = pytest.mark.ros


def participant_threads() -> int:
    """How many participants' event threads this process has."""
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    return sum(name.startswith("dds.ev") for name in names)


@pytest.mark.parametrize("make_node", [DemoLayerNode, PolicyNode])
def test_a_destroyed_node_has_no_participant(make_node: Callable[..., Node]) -> None:
    context = Context()
    rclpy.init(context=context, args=[])
    before = participant_threads()
    node = make_node(context=context)
    try:
        assert participant_threads() == before + 1
        node.destroy_node()
        assert participant_threads() == before
    finally:
        rclpy.try_shutdown(context=context)
