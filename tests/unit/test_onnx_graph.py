"""Bundles whose graphs have what no graph of ours has: ONNX Runtime runs them, and so does the graph of a rollout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from demo_control.bundle import Bundle, make_bundle
from demo_control.onnx_graph import OPSET, GraphBuilder
from demo_control.policies import OnnxPolicy
from demo_control.rollout import OnnxEngine, RolloutShape, choose_engine
from demo_control.tasks import Task

ROWS = 3


def _policy(build: Callable[[GraphBuilder, str], str]) -> onnx.ModelProto:
    graph = GraphBuilder("policy")
    hidden = graph.node("MatMul", graph.input("observation", ("batch", 2)), graph.constant([[1.0], [-2.0]]))
    graph.output("action", build(graph, hidden), ("batch", 1))
    return graph.build()


def _replaced(operator: str, domain: str) -> onnx.ModelProto:
    """A policy with a node of another operator set."""
    model = _policy(lambda graph, hidden: graph.node("Neg", hidden))
    (node,) = (node for node in model.graph.node if node.op_type == "Neg")
    node.op_type, node.domain = operator, domain
    model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def of_another_operator_set() -> onnx.ModelProto:
    return _replaced("Gelu", "com.microsoft")


def with_a_function() -> onnx.ModelProto:
    model = _replaced("Thrice", "ours")
    nodes = [helper.make_node("Add", ["a", "a"], ["twice"]), helper.make_node("Add", ["a", "twice"], ["thrice"])]
    opsets = [helper.make_opsetid("", OPSET)]
    model.functions.append(helper.make_function("ours", "Thrice", ["a"], ["thrice"], nodes, opsets))
    return model


def with_branches() -> onnx.ModelProto:
    """Each takes a value and a constant from around it, and names its own as the graph around names others."""

    def build(graph: GraphBuilder, hidden: str) -> str:
        factor, branches = graph.constant([[0.3]]), {}
        for name, operator in (("then_branch", "Mul"), ("else_branch", "Add")):
            nodes = [helper.make_node(operator, [hidden, factor], ["n1"]), helper.make_node("Tanh", ["n1"], ["v9_0"])]
            output = helper.make_tensor_value_info("v9_0", onnx.TensorProto.FLOAT, None)
            branches[name] = helper.make_graph(nodes, name, [], [output])
        above = graph.node("Greater", graph.node("ReduceSum", hidden, keepdims=0), graph.constant(0.0))
        return graph.node("If", above, **branches)

    return _policy(build)


KINDS = [of_another_operator_set, with_a_function, with_branches]


@pytest.mark.parametrize("horizon", [2, 66])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rollout_answers_as_the_policy_itself(
    linear_task: Task, linear_bundle: Bundle, kind: Callable[[], onnx.ModelProto], horizon: int
) -> None:
    bundle = make_bundle(linear_task, policy=kind(), dynamics=linear_bundle.dynamics)
    assert choose_engine(linear_task, bundle).name == "onnx"
    shape = RolloutShape(horizon, average_members=True, with_policy=True, with_trajectory=True)
    engine = OnnxEngine(linear_task, bundle, shape)
    start, ones = np.random.default_rng(0).normal(size=(1, ROWS, 2)), np.ones((ROWS, 2))
    controls, feedback = np.zeros((horizon, 1, ROWS, 1)), np.ones((horizon, 1, ROWS, 1))
    rollouts = engine.roll_out(start, controls, feedback, np.ones(horizon + 1), ones, 0.0 * ones)
    assert rollouts.policy_actions is not None
    assert rollouts.observations is not None
    for step in range(horizon):
        expected = OnnxPolicy(bundle.policy).act(rollouts.observations[step, 0])
        np.testing.assert_allclose(rollouts.policy_actions[step, 0], expected, rtol=1e-5, atol=1e-6)
