"""Policy and value of soft actor-critic as ONNX graphs, for the bundle and the planner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from torch import Tensor

from demo_control.learning.networks import StackedNetworks
from demo_control.learning.sac.actor_critic import SoftActorCritic
from demo_control.learning.sac.base_policy import BasePolicy
from demo_control.learning.sac.inputs import NetworkInputs
from demo_control.onnx_graph import GraphBuilder
from demo_control.tasks import Array


def policy_model(
    learner: SoftActorCritic,
    action_minimum: Array,
    action_maximum: Array,
    observation_dim: int | None = None,
    inputs: NetworkInputs | None = None,
    base: BasePolicy | None = None,
) -> onnx.ModelProto:
    """The deterministic action, middle + half range · tanh(mean), or what ``base`` makes of tanh(mean).

    Args:
        learner: Whose policy.
        action_minimum: Physical units. Shape=(action_dim,).
        action_maximum: Physical units. Shape=(action_dim,).
        observation_dim: Of the graph's input; entries that the policy does not know do not matter to it.
        inputs: What the learner's networks see of it; None: its first entries as they are.
        base: What the network's answers are added to.

    Returns:
        A model ``observation (batch, n) → action (batch, m)``, physical units.
    """
    width = observation_dim or learner.layout.observation_dim
    graph = GraphBuilder("policy")
    first = _FirstLayer.of(learner, width, inputs)
    observation = graph.input("observation", ["batch", width])
    share = _policy(graph, learner, observation, first)
    if base is not None and base.weights is not None:
        nominal = graph.node("MatMul", observation, graph.constant(base.weights.T))
        residual = graph.node("Mul", share, graph.constant(np.array([base.residual_share])))
        limits = [graph.constant(np.full(learner.layout.action_dim, limit)) for limit in (-1.0, 1.0)]
        share = graph.node("Min", graph.node("Max", graph.node("Add", nominal, residual), limits[0]), limits[1])
    half, middle = (action_maximum - action_minimum) / 2.0, (action_maximum + action_minimum) / 2.0
    action = graph.node("Add", graph.node("Mul", share, graph.constant(half)), graph.constant(middle))
    graph.output("action", action, ["batch", learner.layout.action_dim])
    return graph.build()


def value_model(
    learner: SoftActorCritic,
    observation_dim: int | None = None,
    alive_entry: int | None = None,
    inputs: NetworkInputs | None = None,
    unit: float = 1.0,
    offset: float = 0.0,
) -> onnx.ModelProto:
    """V(x) = min Q(x, π(x)), π(x) being the deterministic action.

    Args:
        learner: Whose value.
        observation_dim: See :func:`policy_model`.
        alive_entry: Entry of the observation that is 1, or 0 where the episode is over: a factor of the value.
        inputs: See :func:`policy_model`.
        unit: What a reward of 1 was to the learner; the value is in units of rewards.
        offset: What is added to that.

    Returns:
        A model ``observation (batch, n) → value (batch, 1)``.
    """
    width, m = observation_dim or learner.layout.observation_dim, learner.layout.action_dim
    graph = GraphBuilder("value")
    observation = graph.input("observation", ["batch", width])
    first = _FirstLayer.of(learner, width, inputs)
    joined = graph.node("Concat", observation, _policy(graph, learner, observation, first), axis=-1)
    of_both = first.with_actions(m)
    both = [_network(graph, learner.critics, index, joined, of_both) for index in range(2)]
    value = graph.node("Min", *both)
    if unit != 1.0:
        value = graph.node("Mul", value, graph.constant(np.array([1.0 / unit])))
    if offset != 0.0:
        value = graph.node("Add", value, graph.constant(np.array([offset])))
    if alive_entry is not None:
        picked = np.zeros((width, 1))
        picked[alive_entry] = 1.0
        value = graph.node("Mul", value, graph.node("MatMul", observation, graph.constant(picked)))
    graph.output("value", value, ["batch", 1])
    return graph.build()


@dataclass(frozen=True)
class _FirstLayer:
    """How a graph's input becomes that of a network: z = x P + c, folded into the network's first layer.

    Attributes:
        matrix: P. Shape=(width, inputs of the network).
        offset: c. Shape=(inputs of the network,).
    """

    matrix: Array
    offset: Array

    @classmethod
    def of(cls, learner: SoftActorCritic, width: int, inputs: NetworkInputs | None) -> _FirstLayer:
        n = learner.layout.observation_dim
        matrix, offset = np.zeros((width, n)), np.zeros(n)
        if inputs is None:
            matrix[range(n), range(n)] = 1.0
        else:
            matrix[list(inputs.entries), range(n)] = 1.0 / inputs.half_range
            offset = -inputs.middle / inputs.half_range
        return cls(matrix, offset)

    def with_actions(self, action_dim: int) -> _FirstLayer:
        """The same for an input that is followed by actions, which go in as they are."""
        (width, n), m = self.matrix.shape, action_dim
        matrix = np.zeros((width + m, n + m))
        matrix[:width, :n], matrix[width:, n:] = self.matrix, np.eye(m)
        return _FirstLayer(matrix, np.concatenate([self.offset, np.zeros(m)]))


def _policy(graph: GraphBuilder, learner: SoftActorCritic, observation: str, first: _FirstLayer) -> str:
    """The action as a share of half the range."""
    return graph.node("Tanh", _network(graph, learner.policy, 0, observation, first, learner.layout.action_dim))


def _network(
    graph: GraphBuilder,
    networks: StackedNetworks,
    index: int,
    value: str,
    first: _FirstLayer,
    outputs: int | None = None,
) -> str:
    """One network of a stack with ReLU; the first ``outputs`` of what it says."""
    last = len(networks.weights) - 1
    for layer, (weight, bias) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        matrix, offset = _numbers(weight[index]), _numbers(bias[index, 0])
        if layer == 0:
            matrix, offset = first.matrix @ matrix, offset + first.offset @ matrix
        if layer == last:
            matrix, offset = matrix[:, :outputs], offset[:outputs]
        value = graph.node("Add", graph.node("MatMul", value, graph.constant(matrix)), graph.constant(offset))
        if layer < last:
            value = graph.node("Relu", value)
    return value


def _numbers(tensor: Tensor) -> Array:
    numbers: Array = tensor.detach().numpy().astype(np.float64)
    return numbers
