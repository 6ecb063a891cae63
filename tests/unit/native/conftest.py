"""The kernel of this installation, or one compiled for the tests; and problems to try it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest

from demo_control.bundle import Bundle, make_bundle
from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout import OnnxEngine, Rollouts, RolloutShape
from demo_control.rollout.native import KernelError, NativeEngine, load_kernel
from demo_control.rollout.native.build import BuildError, build
from demo_control.rollout.native.library import Kernel, open_kernel
from demo_control.tasks import Array, CostTerm, Quantity, Task

TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    try:
        return load_kernel()
    except KernelError:
        path = tmp_path_factory.mktemp("kernel") / "_kernel.so"
        try:
            build(path)
        except BuildError as error:
            pytest.skip(str(error))
        return open_kernel(path)


def make_task(
    observation: int, action: int, costs: Mapping[str, Callable[[Any, Any, Any], Any]], counts: Sequence[str] = ()
) -> Task:
    def none(*_: object) -> Any:  # noqa: ANN401 - never called
        raise NotImplementedError

    counts = [*counts, *["always"] * (len(costs) - len(counts))]
    return Task(
        name="native",
        observation=tuple(Quantity(f"x{i}", "1", -2.0, 2.0) for i in range(observation)),
        action=tuple(Quantity(f"u{i}", "1", -1.0 - 0.1 * i, 1.0) for i in range(action)),
        control_period_s=0.1,
        episode_s=1.0,
        cost_terms=tuple(
            CostTerm(name, 1.0, function, "A term.", counts=count)
            for (name, function), count in zip(costs.items(), counts, strict=True)
        ),
        model_inputs=tuple(f"x{i}" for i in range(observation)),
        simulators=("none",),
        make_plants=none,
        make_score=none,
    )


def quadratic(x: Mapping[str, Any], u: Mapping[str, Any], _xp: object) -> Any:  # noqa: ANN401 - columns of any kind
    return sum((column**2 for column in [*x.values(), *u.values()][1:]), start=x["x0"] ** 2)


def network(
    graph: GraphBuilder, value: str, sizes: Sequence[int], activation: str, members: int | None, seed: int
) -> str:
    """Layers with random weights; ``members`` None for weights without a member axis."""
    generator = np.random.default_rng(seed)
    lead = () if members is None else (members,)
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        weights = generator.normal(size=(*lead, inputs, outputs)) / np.sqrt(inputs)
        bias = 0.2 * generator.normal(size=(*lead, *(() if members is None else (1,)), outputs))
        value = graph.node("Add", graph.node("MatMul", value, graph.constant(weights)), graph.constant(bias))
        if index < len(sizes) - 2:
            value = (
                graph.node("Mul", value, graph.node("Sigmoid", value))
                if activation == "Silu"
                else graph.node(activation, value)
            )
    return value


def network_bundle(
    task: Task, hidden: Sequence[int], activation: str, members: int, seed: int = 0, with_value: bool = False
) -> Bundle:
    n, m = task.observation_dim, task.action_dim
    graph = GraphBuilder("dynamics")
    x, u = graph.input("observation", (members, "batch", n)), graph.input("action", (members, "batch", m))
    joined = graph.node("Concat", x, u, axis=-1)
    change = network(graph, joined, [n + m, *hidden, n], activation, members, seed)
    following = graph.node("Add", x, graph.node("Mul", change, graph.constant(0.1)))
    graph.output("next_observation", following, (members, "batch", n))
    graph.output("log_variance", graph.node("Neg", change), (members, "batch", n))
    return make_bundle(
        task,
        policy=small_model("policy", task, "action", m, activation, seed + 1),
        dynamics=graph.build(),
        value=small_model("value", task, "value", 1, activation, seed + 2) if with_value else None,
    )


def small_model(name: str, task: Task, output: str, outputs: int, activation: str, seed: int) -> onnx.ModelProto:
    graph = GraphBuilder(name)
    x = graph.input("observation", ("batch", task.observation_dim))
    graph.output(
        output, network(graph, x, [task.observation_dim, 7, outputs], activation, None, seed), ("batch", outputs)
    )
    return graph.build()


def arguments(task: Task, shape: RolloutShape, members: int, rows: int, seed: int = 0) -> tuple[Any, ...]:
    """All arguments of ``roll_out``, none of them trivial."""
    generator = np.random.default_rng(seed)
    lanes = 1 if shape.average_members else members
    low = np.array([quantity.minimum for quantity in task.observation])
    high = np.array([quantity.maximum for quantity in task.observation])
    spread = 0.3 * (high - low) / 2.0
    controls_shape = (shape.horizon, lanes, rows, task.action_dim)
    follow = generator.integers(0, 2, (*controls_shape[:3], 1)).astype(float)
    return (
        (low + high) / 2.0 + spread * generator.standard_normal((lanes, rows, task.observation_dim)),
        generator.uniform(1.2 * task.action_minimum, 1.2 * task.action_maximum, controls_shape),
        follow if shape.with_policy else None,
        generator.uniform(0.5, 2.0, shape.horizon + 1),
        generator.uniform(0.8, 1.2, (rows, task.observation_dim)),
        0.01 * spread * generator.standard_normal((rows, task.observation_dim)),
    )


def both(
    kernel: Kernel, task: Task, bundle: Bundle, shape: RolloutShape, given: tuple[Any, ...], variant: str | None = None
) -> tuple[Rollouts, Rollouts]:
    """What the native engine and ONNX Runtime make of the same arguments."""
    native = NativeEngine(task, bundle, shape, kernel=kernel, variant=variant)
    return native.roll_out(*given), OnnxEngine(task, bundle, shape).roll_out(*given)


def assert_same(native: Rollouts, onnx_: Rollouts, weights: Array, scale: Array) -> None:
    """Costs within :data:`TOLERANCE`, relative; the rest within as much of its scale."""
    found, expected = native.term_costs @ weights, onnx_.term_costs @ weights
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)
    np.testing.assert_allclose(native.controls, onnx_.controls, rtol=TOLERANCE, atol=TOLERANCE)
    for one, other in ((native.observations, onnx_.observations), (native.predictions, onnx_.predictions)):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.shape == other.shape
            assert np.all(np.abs(one - other) <= TOLERANCE * (scale + np.abs(other)))
    assert (native.policy_actions is None) == (onnx_.policy_actions is None)
    if native.policy_actions is not None:
        np.testing.assert_allclose(native.policy_actions, onnx_.policy_actions, rtol=TOLERANCE, atol=TOLERANCE)
