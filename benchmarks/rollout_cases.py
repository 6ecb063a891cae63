"""Planning problems of known size with random networks, and those of the shipped bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import onnx

from demo_control.bundle import Bundle, default_bundle, load_bundle, make_bundle
from demo_control.configuration import ConfigurationError
from demo_control.layer.settings import LayerSettings
from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout import RolloutShape
from demo_control.rollout.engine import Floats
from demo_control.tasks import Array, CostTerm, Quantity, Task, load_task


@dataclass(frozen=True)
class Network:
    """A network that predicts the change of the observation, and the plan's size.

    Attributes:
        observation: Entries of the observation.
        action: Entries of the action.
        hidden: Units of each of the two hidden layers.
        activation: relu, tanh or silu.
        horizon: Steps.
        samples: Samples of all members together.
        members: Of the ensemble; every sample belongs to one.
        layers: Hidden layers.
    """

    observation: int
    action: int
    hidden: int
    activation: str
    horizon: int
    samples: int
    members: int = 1
    layers: int = 2


NETWORKS: Mapping[str, Network] = {
    "a1": Network(5, 1, 64, "tanh", 20, 256),
    "a2": Network(5, 1, 64, "tanh", 50, 1024),
    "b1": Network(24, 20, 256, "relu", 10, 256),
    "b1t": Network(24, 20, 256, "tanh", 10, 256),
    "b1s": Network(24, 20, 256, "silu", 10, 256),
    "b2": Network(24, 20, 256, "relu", 20, 1000),
    "b3": Network(24, 20, 256, "relu", 5, 64),
    "b4": Network(24, 20, 128, "relu", 10, 256),
    "ensemble": Network(17, 6, 200, "silu", 15, 200, members=5, layers=4),
}
SHIPPED = ("cartpole", "stoch2")
VALUE_UNITS = 64
NOISE = 0.5
"""Spread of the samples as a share of half the action range."""


Layer = tuple[Array, Array]
"""Weights, Shape=(members, inputs, outputs), and bias, Shape=(members, 1, outputs)."""


@dataclass(frozen=True)
class Perceptron:
    """A random network as arrays, for those who cannot read ONNX.

    Attributes:
        layers: The first one first; the last one is linear.
        activation: Of the others: relu, tanh or silu.
    """

    layers: tuple[Layer, ...]
    activation: str


@dataclass(frozen=True)
class Case:
    """A plan's rollouts.

    Attributes:
        task: The planning problem.
        bundle: Networks.
        shape: Of the rollouts.
        rows: Samples per member.
        arguments: Of ``roll_out``.
        dynamics: Predicts the change of the observation; None for a shipped bundle.
        value: The terminal value; None where there is none, and for a shipped bundle.
    """

    task: Task
    bundle: Bundle
    shape: RolloutShape
    rows: int
    arguments: tuple[Any, ...]
    dynamics: Perceptron | None = None
    value: Perceptron | None = None

    @property
    def start(self) -> Array:
        """The state in which all samples start. Shape=(observation_dim,)."""
        return np.asarray(self.arguments[0][0, 0], np.float64)

    @property
    def samples(self) -> Floats:
        """The control sequences. Shape=(horizon, members, rows, action_dim)."""
        samples: Floats = self.arguments[1]
        return samples

    @property
    def noise(self) -> Array:
        """Standard deviation of the samples, a quarter of the range. Shape=(action_dim,)."""
        return NOISE * (self.task.action_maximum - self.task.action_minimum) / 2.0

    @property
    def weights(self) -> Array:
        """Weights of the cost terms that an engine reports. Shape=(num_terms,)."""
        value = [] if self.bundle.value is None else [1.0]
        return np.array([*self.task.cost_weights, *value])


def make_case(name: str) -> Case:
    """One of :data:`NETWORKS` or :data:`SHIPPED`, with samples drawn from a fixed seed.

    Raises:
        ConfigurationError: No such case.
    """
    if name not in NETWORKS and name not in SHIPPED:
        raise ConfigurationError(f"case '{name}': must be one of {', '.join([*NETWORKS, *SHIPPED])}")
    dynamics, value = None, None
    if name in SHIPPED:
        task = load_task(name)
        bundle = load_bundle(default_bundle(name), task)
        settings = LayerSettings.for_task(task)
        horizon, samples, task = settings.horizon, settings.num_samples, task.planning_problem
    else:
        network = NETWORKS[name]
        task = _random_task(network)
        dynamics, value = _random_networks(network)
        bundle = _as_bundle(task, dynamics, value)
        horizon, samples = network.horizon, network.samples
    members = bundle.contract.members
    shape = RolloutShape(horizon, average_members=False, with_policy=False, with_trajectory=False, with_controls=False)
    rows = samples // members
    return Case(task, bundle, shape, rows, _arguments(task, horizon, members, rows), dynamics, value)


def _arguments(task: Task, horizon: int, members: int, rows: int) -> tuple[Any, ...]:
    """What a planner would hand over, near the middle of the ranges."""
    generator = np.random.default_rng(0)
    low = np.array([quantity.minimum for quantity in task.observation])
    high = np.array([quantity.maximum for quantity in task.observation])
    start = (low + high) / 2.0 + 0.1 * (high - low) * generator.uniform(-1.0, 1.0, low.shape)
    observations = np.broadcast_to(start, (members, rows, len(low))).astype(np.float32)
    spread = NOISE * (task.action_maximum - task.action_minimum) / 2.0
    controls = spread * generator.standard_normal((horizon, members, rows, task.action_dim))
    ones = np.ones((rows, len(low)), np.float32)
    return observations, controls.astype(np.float32), None, np.ones(horizon + 1, np.float32), ones, 0.0 * ones


def _random_task(network: Network) -> Task:
    """Costs with squares, an exponential and a cosine."""

    def no_plants(*_: object) -> Any:  # noqa: ANN401 - never called
        raise NotImplementedError

    names = [f"x{index}" for index in range(network.observation)]
    actions = [f"u{index}" for index in range(network.action)]
    return Task(
        name="benchmark",
        observation=tuple(Quantity(name, "1", -3.0, 3.0) for name in names),
        action=tuple(Quantity(name, "1", -1.0, 1.0) for name in actions),
        control_period_s=0.02,
        episode_s=1.0,
        cost_terms=(
            CostTerm("state", 1.0, lambda x, u, xp: _squares(x), "Squares."),
            CostTerm("effort", 0.1, lambda x, u, xp: _squares(u), "Squares."),
            CostTerm("near", 1.0, lambda x, u, xp: 1.0 - xp.exp(x["x0"] ** 2 * -0.5), "Bounded."),
            CostTerm("upright", 1.0, lambda x, u, xp: 1.0 - xp.cos(x["x1"]), "Periodic."),
        ),
        model_inputs=tuple(names),
        simulators=("none",),
        make_plants=no_plants,
        make_score=no_plants,
    )  # fmt: skip


def _squares(columns: Mapping[str, Any]) -> Any:  # noqa: ANN401 - columns of any kind
    first, *others = columns.values()
    return sum((column * column for column in others), start=first * first)


def _random_networks(network: Network) -> tuple[Perceptron, Perceptron | None]:
    """Dynamics whose weights keep the state within its range for the horizon, and a value where there is one member."""
    generator = np.random.default_rng(1)
    n, m = network.observation, network.action
    sizes = [n + m, *[network.hidden] * network.layers, n]
    layers = [_random_layer(network.members, *size, generator) for size in pairwise(sizes)]
    # Small changes of the state.
    layers[-1] = (0.1 * layers[-1][0], layers[-1][1])
    dynamics = Perceptron(tuple(layers), network.activation)
    if network.members > 1:
        return dynamics, None
    sizes = [n, VALUE_UNITS, VALUE_UNITS, 1]
    return dynamics, Perceptron(tuple(_random_layer(1, *size, generator) for size in pairwise(sizes)), "relu")


def _random_layer(members: int, inputs: int, outputs: int, generator: np.random.Generator) -> Layer:
    weights = generator.normal(size=(members, inputs, outputs)) / np.sqrt(inputs)
    return weights.astype(np.float32), (0.1 * generator.normal(size=(members, 1, outputs))).astype(np.float32)


def _as_bundle(task: Task, dynamics: Perceptron, value: Perceptron | None) -> Bundle:
    """The networks as ONNX graphs, with a policy that always answers zero."""
    members, n, m = len(dynamics.layers[0][0]), task.observation_dim, task.action_dim
    graph = GraphBuilder("dynamics")
    observation = graph.input("observation", (members, "batch", n))
    action = graph.input("action", (members, "batch", m))
    change = _perceptron(graph, graph.node("Concat", observation, action, axis=-1), dynamics)
    graph.output("next_observation", graph.node("Add", observation, change), (members, "batch", n))
    graph.output("log_variance", graph.node("Mul", change, graph.constant(0.0)), (members, "batch", n))
    policy = GraphBuilder("policy")
    seen = policy.input("observation", ("batch", n))
    policy.output("action", policy.node("MatMul", seen, policy.constant(np.zeros((n, m)))), ("batch", m))
    return make_bundle(task, policy=policy.build(), dynamics=graph.build(), value=value and _as_value(value, n))


def _as_value(value: Perceptron, observation_dim: int) -> onnx.ModelProto:
    graph = GraphBuilder("value")
    flat = Perceptron(tuple((weights[0], bias[0]) for weights, bias in value.layers), value.activation)
    graph.output(
        "value", _perceptron(graph, graph.input("observation", ("batch", observation_dim)), flat), ("batch", 1)
    )
    return graph.build()


def _perceptron(graph: GraphBuilder, value: str, perceptron: Perceptron) -> str:
    """Nodes of a network; returns the output's name."""
    for index, (weights, bias) in enumerate(perceptron.layers):
        product = graph.node("MatMul", value, graph.constant(weights))
        value = graph.node("Add", product, graph.constant(bias))
        if index < len(perceptron.layers) - 1:
            value = _activated(graph, value, perceptron.activation)
    return value


def _activated(graph: GraphBuilder, value: str, activation: str) -> str:
    if activation == "silu":
        return graph.node("Mul", value, graph.node("Sigmoid", value))
    return graph.node({"relu": "Relu", "tanh": "Tanh"}[activation], value)
