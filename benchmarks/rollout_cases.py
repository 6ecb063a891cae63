"""Planning problems of known size with random networks, and those of the shipped bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import onnx

from demo_control.bundle import Bundle, default_bundle, load_bundle, make_bundle
from demo_control.layer.settings import LayerSettings
from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout import RolloutShape
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


@dataclass(frozen=True)
class Case:
    """A plan's rollouts.

    Attributes:
        task: The planning problem.
        bundle: Networks.
        shape: Of the rollouts.
        rows: Samples per member.
        arguments: Of ``roll_out``.
    """

    task: Task
    bundle: Bundle
    shape: RolloutShape
    rows: int
    arguments: tuple[Any, ...]


def make_case(name: str) -> Case:
    """One of :data:`NETWORKS` or :data:`SHIPPED`, with samples drawn from a fixed seed."""
    if name in SHIPPED:
        task = load_task(name)
        bundle = load_bundle(default_bundle(name), task)
        settings = LayerSettings.for_task(task)
        horizon, samples, task = settings.horizon, settings.num_samples, task.planning_problem
    else:
        network = NETWORKS[name]
        task = _random_task(network)
        bundle = _random_bundle(task, network)
        horizon, samples = network.horizon, network.samples
    members = bundle.contract.members
    shape = RolloutShape(horizon, average_members=False, with_policy=False, with_trajectory=False, with_controls=False)
    return Case(task, bundle, shape, samples // members, _arguments(task, horizon, members, samples // members))


def _arguments(task: Task, horizon: int, members: int, rows: int) -> tuple[Any, ...]:
    """What a planner would hand over, near the middle of the ranges."""
    generator = np.random.default_rng(0)
    low = np.array([quantity.minimum for quantity in task.observation])
    high = np.array([quantity.maximum for quantity in task.observation])
    start = (low + high) / 2.0 + 0.1 * (high - low) * generator.uniform(-1.0, 1.0, low.shape)
    observations = np.broadcast_to(start, (members, rows, len(low))).astype(np.float32)
    spread = (task.action_maximum - task.action_minimum) / 4.0
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


def _random_bundle(task: Task, network: Network) -> Bundle:
    """Random weights that keep the state within its range for the horizon."""
    generator = np.random.default_rng(1)
    members, n, m = network.members, network.observation, network.action
    sizes = [n + m, *[network.hidden] * network.layers, n]
    graph = GraphBuilder("dynamics")
    observation = graph.input("observation", (members, "batch", n))
    action = graph.input("action", (members, "batch", m))
    hidden = graph.node("Concat", observation, action, axis=-1)
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = index == network.layers
        scale = (0.1 if last else 1.0) / np.sqrt(inputs)
        hidden = _layer(graph, hidden, generator.normal(size=(members, inputs, outputs)) * scale, generator)
        hidden = hidden if last else _activated(graph, hidden, network.activation)
    graph.output("next_observation", graph.node("Add", observation, hidden), (members, "batch", n))
    graph.output("log_variance", graph.node("Mul", hidden, graph.constant(0.0)), (members, "batch", n))
    policy = GraphBuilder("policy")
    seen = policy.input("observation", ("batch", n))
    policy.output("action", policy.node("MatMul", seen, policy.constant(np.zeros((n, m)))), ("batch", m))
    value = None if members > 1 else _random_value(n, generator)
    return make_bundle(task, policy=policy.build(), dynamics=graph.build(), value=value)


def _random_value(n: int, generator: np.random.Generator) -> onnx.ModelProto:
    """A value function of two hidden layers of ReLU."""
    graph = GraphBuilder("value")
    hidden = graph.input("observation", ("batch", n))
    for inputs, outputs in ((n, VALUE_UNITS), (VALUE_UNITS, VALUE_UNITS)):
        weights = generator.normal(size=(inputs, outputs)) / np.sqrt(inputs)
        hidden = graph.node("Relu", _layer(graph, hidden, weights, generator))
    weights = generator.normal(size=(VALUE_UNITS, 1)) / np.sqrt(VALUE_UNITS)
    graph.output("value", _layer(graph, hidden, weights, generator), ("batch", 1))
    return graph.build()


def _layer(graph: GraphBuilder, value: str, weights: Array, generator: np.random.Generator) -> str:
    bias = 0.1 * generator.normal(size=(*weights.shape[:-2], 1, weights.shape[-1]))
    return graph.node("Add", graph.node("MatMul", value, graph.constant(weights)), graph.constant(bias))


def _activated(graph: GraphBuilder, value: str, activation: str) -> str:
    if activation == "silu":
        return graph.node("Mul", value, graph.node("Sigmoid", value))
    return graph.node({"relu": "Relu", "tanh": "Tanh"}[activation], value)
