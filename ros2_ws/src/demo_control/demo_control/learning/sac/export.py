"""Policy and value of soft actor-critic as ONNX graphs, for the bundle and the planner."""

from __future__ import annotations

import numpy as np
import onnx
from torch import Tensor

from demo_control.learning.networks import StackedNetworks
from demo_control.learning.sac.actor_critic import SoftActorCritic
from demo_control.onnx_graph import GraphBuilder
from demo_control.tasks import Array


def policy_model(
    learner: SoftActorCritic, action_minimum: Array, action_maximum: Array, observation_dim: int | None = None
) -> onnx.ModelProto:
    """The deterministic action, middle + half range · tanh(mean).

    Args:
        learner: Whose policy.
        action_minimum: Physical units. Shape=(action_dim,).
        action_maximum: Physical units. Shape=(action_dim,).
        observation_dim: Of the graph's input; entries behind those that the policy knows do not matter to it.

    Returns:
        A model ``observation (batch, n) → action (batch, m)``, physical units.
    """
    width = observation_dim or learner.layout.observation_dim
    graph = GraphBuilder("policy")
    share = _policy(graph, learner, graph.input("observation", ["batch", width]), width)
    half, middle = (action_maximum - action_minimum) / 2.0, (action_maximum + action_minimum) / 2.0
    action = graph.node("Add", graph.node("Mul", share, graph.constant(half)), graph.constant(middle))
    graph.output("action", action, ["batch", learner.layout.action_dim])
    return graph.build()


def value_model(
    learner: SoftActorCritic, observation_dim: int | None = None, alive_entry: int | None = None
) -> onnx.ModelProto:
    """V(x) = min Q(x, π(x)), π(x) being the deterministic action.

    Args:
        learner: Whose value.
        observation_dim: See :func:`policy_model`.
        alive_entry: Entry of the observation that is 1, or 0 where the episode is over: a factor of the value.

    Returns:
        A model ``observation (batch, n) → value (batch, 1)``.
    """
    width = observation_dim or learner.layout.observation_dim
    graph = GraphBuilder("value")
    observation = graph.input("observation", ["batch", width])
    joined = graph.node("Concat", observation, _policy(graph, learner, observation, width), axis=-1)
    rows = width + learner.layout.action_dim
    kept = [*range(learner.layout.observation_dim), *range(width, rows)]
    both = [_network(graph, learner.critics, index, joined, rows, kept) for index in range(2)]
    value = graph.node("Min", *both)
    if alive_entry is not None:
        picked = np.zeros((width, 1))
        picked[alive_entry] = 1.0
        value = graph.node("Mul", value, graph.node("MatMul", observation, graph.constant(picked)))
    graph.output("value", value, ["batch", 1])
    return graph.build()


def _policy(graph: GraphBuilder, learner: SoftActorCritic, observation: str, width: int) -> str:
    """The action as a share of half the range."""
    n, m = learner.layout.observation_dim, learner.layout.action_dim
    mean = _network(graph, learner.policy, 0, observation, width, list(range(n)), m)
    return graph.node("Tanh", mean)


def _network(
    graph: GraphBuilder,
    networks: StackedNetworks,
    index: int,
    value: str,
    width: int,
    kept: list[int],
    outputs: int | None = None,
) -> str:
    """One network of a stack with ReLU, on the ``kept`` of ``width`` inputs; the first ``outputs`` of what it says."""
    last = len(networks.weights) - 1
    for layer, (weight, bias) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        matrix, offset = _numbers(weight[index]), _numbers(bias[index, 0])
        if layer == 0:
            spread = np.zeros((width, matrix.shape[1]))
            spread[kept] = matrix
            matrix = spread
        if layer == last:
            matrix, offset = matrix[:, :outputs], offset[:outputs]
        value = graph.node("Add", graph.node("MatMul", value, graph.constant(matrix)), graph.constant(offset))
        if layer < last:
            value = graph.node("Relu", value)
    return value


def _numbers(tensor: Tensor) -> Array:
    numbers: Array = tensor.detach().numpy().astype(np.float64)
    return numbers
