"""demo_layer_node where planning raises: told, counted, and no command is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from demo_msgs.msg import Action, Observation
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_support import NOMINAL, STATE

from demo_control.layer import PlanReport
from demo_control.nodes.demo_layer_node import DemoLayerNode

pytestmark = pytest.mark.ros

SUCCESS = TransitionCallbackReturn.SUCCESS


class Told:
    """In the place of the node's publisher of commands."""

    def __init__(self) -> None:
        self.commands: list[Action] = []

    def publish(self, command: Action) -> None:
        self.commands.append(command)


@pytest.fixture
def node(bundle_directory: Path) -> Iterator[DemoLayerNode]:
    context = Context()
    rclpy.init(context=context, args=[])
    parameters = {"task": "cartpole", "bundle_directory": str(bundle_directory), "minimum_gain": -1e9}
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    made = DemoLayerNode(context=context, parameter_overrides=overrides)
    assert (made.trigger_configure(), made.trigger_activate()) == (SUCCESS, SUCCESS)
    yield made
    made.destroy_node()
    context.try_shutdown()


def tick(node: DemoLayerNode, sequence: int) -> None:
    """One period: an observation and its nominal action, and the plan after them."""
    node._on_observation(Observation(sequence=sequence, values=STATE))
    node._on_nominal_action(Action(observation_sequence=sequence, values=NOMINAL))
    deadline_s = time.monotonic() + 10.0
    while node._planning is not None and not node._planning.done():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def test_an_error_in_planning_is_told_and_the_nominal_action_goes_through(
    node: DemoLayerNode, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    told = Told()
    layer = node._layer
    assert layer is not None

    def no_memory(*_: object) -> PlanReport:
        raise MemoryError("no memory for the workspace")

    with monkeypatch.context() as patch:
        patch.setattr(node, "_action", told)
        patch.setattr(layer._planner, "plan", no_memory)
        for sequence in range(5):
            tick(node, sequence)
        health = node._overall_health()

        assert health.level == "error"
        assert health.message == "active, but plans fail: MemoryError: no memory for the workspace"
        assert health.values["failed_plans"] == 5
        assert [(list(c.values), c.source) for c in told.commands] == [(NOMINAL, "policy:no_plan")] * 5
        assert capfd.readouterr().err.count("plan from observation") == 1, "throttled"

        patch.undo()
        patch.setattr(node, "_action", told)
        tick(node, 5)
        tick(node, 6)
        assert told.commands[-1].source == "demo_layer"

    health = node._overall_health()
    assert (health.level, health.message, health.values["failed_plans"]) == ("ok", "active", 5)
