"""Nodes of one process that are in real time: what they share of Python."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from demo_control.configuration import ConfigurationError
from demo_control.nodes.managed_node import ManagedNode

pytestmark = pytest.mark.ros

SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.fixture(autouse=True)
def collection() -> Iterator[None]:
    """Python collects its garbage again in the next test."""
    yield
    gc.enable()
    gc.unfreeze()


@pytest.fixture
def nodes(context: Context) -> Iterator[list[ManagedNode]]:
    made = [ManagedNode(name, context=context) for name in ("policy", "layer")]
    for node in made:
        assert (node.trigger_configure(), node.trigger_activate()) == (SUCCESS, SUCCESS)
    yield made
    for node in made:
        node.destroy_node()


def test_garbage_is_collected_again_when_the_last_node_is_inactive(nodes: list[ManagedNode]) -> None:
    first, second = nodes
    assert not gc.isenabled()
    assert first.trigger_deactivate() == SUCCESS
    assert not gc.isenabled(), "the other one is in real time"
    assert first.trigger_activate() == SUCCESS
    assert second.trigger_deactivate() == SUCCESS
    assert not gc.isenabled()
    first.destroy_node()
    assert gc.isenabled()


def test_a_node_that_does_not_mind_leaves_the_others_alone(nodes: list[ManagedNode], context: Context) -> None:
    careless = ManagedNode("careless", context=context, parameter_overrides=[Parameter("collect_garbage", value=True)])
    assert (careless.trigger_configure(), careless.trigger_activate()) == (SUCCESS, SUCCESS)
    careless.destroy_node()
    assert not gc.isenabled()
    for node in nodes:
        node.trigger_deactivate()
    assert gc.isenabled()


def test_a_node_that_cannot_be_activated_is_not_in_real_time(context: Context) -> None:
    class Refusing(ManagedNode):
        def activate(self) -> None:
            raise ConfigurationError("not today")

    node = Refusing("refusing", context=context)
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() != SUCCESS
    assert gc.isenabled()
    assert not node.active
    node.destroy_node()
