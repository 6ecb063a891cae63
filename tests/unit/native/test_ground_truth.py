"""The kernel against what can be calculated by hand: linear dynamics, quadratic costs, known functions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from demo_control.bundle import Bundle, make_bundle
from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout import NumpyEngine, RolloutShape
from demo_control.rollout.native import NativeEngine
from demo_control.rollout.native.library import Kernel
from demo_control.tasks import Array, Task

from ..conftest import INPUT_MATRIX, MEMBER_SHIFTS, POLICY_GAIN, STATE_MATRIX, linear_dynamics_model, linear_policy
from .conftest import arguments, make_task, small_model

HORIZON = 6
EVERYTHING = RolloutShape(HORIZON, average_members=True, with_policy=True, with_trajectory=True)


def linear_step(states: Array, controls: Array, shift: float) -> Array:
    return states @ STATE_MATRIX.T + controls @ INPUT_MATRIX.T + np.array([0.0, shift])


def test_a_constant_acceleration_in_closed_form(kernel: Kernel, linear_task: Task) -> None:
    """v_h = v_0 + a h dt, and the sum of v² and a² over the steps by the formulas for sums."""
    bundle = make_bundle(linear_task, policy=linear_policy(linear_task), dynamics=linear_dynamics_model((0.0,)))
    shape = RolloutShape(20, average_members=False, with_policy=False, with_trajectory=True)
    speed, acceleration, period = 0.3, -1.5, 0.1
    ones = np.ones((1, 2))
    found = NativeEngine(linear_task, bundle, shape, kernel=kernel).roll_out(
        np.array([[[0.0, speed]]]), np.full((20, 1, 1, 1), acceleration), None, np.ones(21), ones, 0.0 * ones
    )
    gain, last = acceleration * period, 20
    squares = last * (last + 1) * (2 * last + 1) / 6
    speeds = (last + 1) * speed**2 + 2 * speed * gain * last * (last + 1) / 2 + gain**2 * squares
    assert found.term_costs[0, 0, 1] == pytest.approx(speeds, rel=1e-6)
    assert found.term_costs[0, 0, 2] == pytest.approx(20 * acceleration**2, rel=1e-6)
    assert found.observations is not None
    np.testing.assert_allclose(found.observations[:, 0, 0, 1], speed + gain * np.arange(21), atol=1e-6)


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 17, 70])
def test_agrees_with_the_numpy_engine(
    kernel: Kernel, linear_task: Task, linear_bundle: Bundle, average: bool, rows: int
) -> None:
    shape = RolloutShape(HORIZON, average_members=average, with_policy=True, with_trajectory=True)
    engine = NativeEngine(linear_task, linear_bundle, shape, kernel=kernel)
    starts, controls, feedback, weights, *adapted = arguments(linear_task, shape, len(MEMBER_SHIFTS), rows)
    found = engine.roll_out(starts, controls, feedback, weights, *adapted)
    for lane, shift in enumerate([float(np.mean(MEMBER_SHIFTS))] if average else MEMBER_SHIFTS):
        reference = NumpyEngine(
            linear_task, lambda x, u, shift=shift: linear_step(x, u, shift), lambda x: x @ POLICY_GAIN.T, shape
        )
        one = slice(lane, lane + 1)
        expected = reference.roll_out(starts[one], controls[:, one], feedback[:, one], weights, *adapted)
        np.testing.assert_allclose(found.term_costs[one], expected.term_costs, rtol=1e-5)
        np.testing.assert_allclose(found.controls[:, one], expected.controls, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.policy_actions[:, one], expected.policy_actions, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.observations[:, one], expected.observations, rtol=1e-4, atol=1e-6)


def test_a_value_function_adds_a_terminal_cost(kernel: Kernel, linear_task: Task) -> None:
    graph = GraphBuilder("value")
    observation = graph.input("observation", ("batch", 2))
    graph.output("value", graph.node("MatMul", observation, graph.constant([[2.0], [-1.0]])), ("batch", 1))
    bundle = make_bundle(
        linear_task, policy=linear_policy(linear_task), dynamics=linear_dynamics_model(), value=graph.build()
    )
    engine = NativeEngine(linear_task, bundle, EVERYTHING, kernel=kernel)
    found = engine.roll_out(*arguments(linear_task, EVERYTHING, 3, 5))
    assert engine.num_terms == 4
    assert found.observations is not None
    expected = -(found.observations[-1] @ np.array([2.0, -1.0]))
    np.testing.assert_allclose(found.term_costs[..., 3], expected, rtol=1e-5)


def test_a_next_state_of_columns_as_they_are(kernel: Kernel) -> None:
    """Columns that already lie side by side, where the next state is written over some of them."""
    task = make_task(3, 2, {"x": lambda x, u, xp: x["x0"] ** 2})
    graph = GraphBuilder("dynamics")
    x, u = graph.input("observation", (1, "batch", 3)), graph.input("action", (1, "batch", 2))
    joined = graph.node("Concat", x, u, axis=-1)
    following = graph.node("Gather", joined, graph.constant([1, 2, 3], np.int64), axis=-1)
    graph.output("next_observation", following, (1, "batch", 3))
    graph.output("log_variance", graph.node("Neg", x), (1, "batch", 3))
    bundle = make_bundle(task, policy=small_model("policy", task, "action", 2, "Tanh", 0), dynamics=graph.build())
    for rows in (2, 40):
        for trajectory in (True, False):
            shape = RolloutShape(4, average_members=False, with_policy=False, with_trajectory=trajectory)
            starts, controls, _, weights, scale, offset = arguments(task, shape, 1, rows)
            found = NativeEngine(task, bundle, shape, kernel=kernel).roll_out(
                starts, controls, None, weights, scale, offset
            )
            states = [starts[0]]
            for control in np.clip(controls[:, 0], task.action_minimum, task.action_maximum):
                change = np.column_stack([states[-1][:, 1:], control[:, 0]]) - states[-1]
                states.append(states[-1] + change * scale + offset)
            expected = weights @ np.array(states)[..., 0] ** 2
            np.testing.assert_allclose(found.term_costs[0, :, 0], expected, rtol=1e-5)


def test_terms_count_where_they_say(kernel: Kernel) -> None:
    costs = {"always": lambda x, u, xp: x["x0"], "stages": lambda x, u, xp: x["x0"], "end": lambda x, u, xp: x["x0"]}
    task = make_task(1, 1, costs, ["always", "stages", "end"])
    graph = GraphBuilder("dynamics")
    x, u = graph.input("observation", (1, "batch", 1)), graph.input("action", (1, "batch", 1))
    graph.output("next_observation", graph.node("Add", x, u), (1, "batch", 1))
    graph.output("log_variance", graph.node("Add", x, u), (1, "batch", 1))
    bundle = make_bundle(task, policy=small_model("policy", task, "action", 1, "Tanh", 0), dynamics=graph.build())
    shape = RolloutShape(3, average_members=False, with_policy=False, with_trajectory=False)
    ones = np.ones((1, 1))
    weights = np.array([1.0, 10.0, 100.0, 1000.0])
    found = NativeEngine(task, bundle, shape, kernel=kernel).roll_out(
        np.array([[[1.0]]]), np.ones((3, 1, 1, 1)), None, weights, ones, 0.0 * ones
    )
    np.testing.assert_allclose(found.term_costs[0, 0], [1 + 20 + 300 + 4000, 1 + 20 + 300, 4000], rtol=1e-6)


FUNCTIONS = {
    "exp": (lambda x, u, xp: xp.exp(x["x0"]), np.exp, 80.0),
    "sin": (lambda x, u, xp: xp.sin(x["x0"]), np.sin, 6000.0),
    "sin of large angles": (lambda x, u, xp: xp.sin(x["x0"]), np.sin, 1e6),
    "cos": (lambda x, u, xp: xp.cos(x["x0"]), np.cos, 6000.0),
    "cos of large angles": (lambda x, u, xp: xp.cos(x["x0"]), np.cos, 1e6),
    "sqrt": (lambda x, u, xp: xp.sqrt(xp.abs(x["x0"])), lambda x: np.sqrt(np.abs(x)), 1e4),
    "power": (lambda x, u, xp: xp.abs(x["x0"]) ** 1.5, lambda x: np.abs(x) ** 1.5, 30.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_as_exact_as_float32(kernel: Kernel, name: str) -> None:
    function, truth, limit = FUNCTIONS[name]
    task = make_task(1, 1, {"f": function})
    bundle = make_bundle(task, policy=small_model("policy", task, "action", 1, "Tanh", 0), dynamics=_standing())
    shape = RolloutShape(1, average_members=False, with_policy=False, with_trajectory=False)
    exponents = np.linspace(-12.0, 0.0, 1500)
    points = np.concatenate([np.linspace(-limit, limit, 4001), limit * 10.0**exponents, -limit * 10.0**exponents])
    points = points.astype(np.float32)
    ones = np.ones((len(points), 1))
    for variant in kernel.variants:
        found = NativeEngine(task, bundle, shape, kernel=kernel, variant=variant).roll_out(
            points[None, :, None], np.zeros((1, 1, len(points), 1)), None, np.array([1.0, 0.0]), ones, 0.0 * ones
        )
        expected = truth(points.astype(np.float64))
        np.testing.assert_allclose(found.term_costs[0, :, 0], expected, rtol=4e-7, atol=3e-7)


@pytest.mark.parametrize("activation", ["Tanh", "Sigmoid", "Relu", "Silu"])
def test_activations_are_as_exact_as_float32(kernel: Kernel, activation: str) -> None:
    """Through a layer of one unit; near zero, where they bend, and where they saturate."""
    truth = {
        "Tanh": np.tanh,
        "Sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
        "Relu": lambda x: np.maximum(x, 0.0),
        "Silu": lambda x: x / (1.0 + np.exp(-x)),
    }[activation]
    task = make_task(1, 1, {"x": lambda x, u, xp: x["x0"]})
    graph = GraphBuilder("dynamics")
    x, u = graph.input("observation", (1, "batch", 1)), graph.input("action", (1, "batch", 1))
    product = graph.node("Add", graph.node("MatMul", x, graph.constant([[1.0]])), graph.constant([0.0]))
    bent = product
    for op in {"Silu": ["Sigmoid", "Mul"]}.get(activation, [activation]):
        bent = graph.node(op, product, bent) if op == "Mul" else graph.node(op, bent)
    graph.output("next_observation", bent, (1, "batch", 1))
    graph.output("log_variance", graph.node("Add", x, u), (1, "batch", 1))
    bundle = make_bundle(task, policy=small_model("policy", task, "action", 1, "Tanh", 0), dynamics=graph.build())
    shape = RolloutShape(1, average_members=False, with_policy=False, with_trajectory=True)
    points = np.concatenate([np.linspace(-30.0, 30.0, 4001), np.geomspace(1e-6, 1.0, 500)]).astype(np.float32)
    for count in (len(points), 3):
        some = points[:: len(points) // count][:count]
        # The change is scaled by 1 and added to the observation: take it from where that is zero.
        found = NativeEngine(task, bundle, shape, kernel=kernel).roll_out(
            some[None, :, None], np.zeros((1, 1, count, 1)), None, np.ones(2), np.ones((count, 1)), -some[:, None]
        )
        expected = truth(some.astype(np.float64)) - some
        assert found.observations is not None
        np.testing.assert_allclose(found.observations[1, 0, :, 0], expected, rtol=1e-6, atol=4e-6)


def test_tanh_is_exact_to_a_few_units_and_never_beyond_one(kernel: Kernel) -> None:
    """Squashed controls are its multiples, and must not pass their limits."""
    task = make_task(1, 1, {"x": lambda x, u, xp: x["x0"]})
    graph = GraphBuilder("dynamics")
    x, u = graph.input("observation", (1, "batch", 1)), graph.input("action", (1, "batch", 1))
    layer = graph.node("Add", graph.node("MatMul", u, graph.constant([[32.0]])), graph.constant([0.0]))
    graph.output("next_observation", graph.node("Tanh", layer), (1, "batch", 1))
    graph.output("log_variance", graph.node("Add", x, u), (1, "batch", 1))
    bundle = make_bundle(task, policy=small_model("policy", task, "action", 1, "Tanh", 0), dynamics=graph.build())
    shape = RolloutShape(1, average_members=False, with_policy=False, with_trajectory=True)
    controls = np.concatenate([np.linspace(-1.0, 1.0, 100_001), np.geomspace(1e-20, 0.1, 5000)]).astype(np.float32)
    for variant in kernel.variants:
        found = NativeEngine(task, bundle, shape, kernel=kernel, variant=variant).roll_out(
            np.zeros((1, 1, 1)), controls[None, None, :, None], None, np.ones(2), np.ones((1, 1)), np.zeros((1, 1))
        )
        assert found.observations is not None
        results = found.observations[1, 0, :, 0]
        np.testing.assert_allclose(results, np.tanh(32.0 * controls.astype(np.float64)), rtol=5e-7)
        assert np.max(np.abs(results)) <= 1.0


def _standing() -> object:
    graph = GraphBuilder("dynamics")
    x, u = graph.input("observation", (1, "batch", 1)), graph.input("action", (1, "batch", 1))
    graph.output("next_observation", graph.node("Identity", x), (1, "batch", 1))
    graph.output("log_variance", graph.node("Add", x, u), (1, "batch", 1))
    return graph.build()


def test_the_limit_of_exponentials(kernel: Kernel) -> None:
    task = make_task(1, 1, {"f": lambda x, u, xp: xp.exp(x["x0"])})
    bundle = make_bundle(task, policy=small_model("policy", task, "action", 1, "Tanh", 0), dynamics=_standing())
    shape = RolloutShape(1, average_members=False, with_policy=False, with_trajectory=False)
    points = np.array([-math.inf, -110.0, -88.0, 0.0, 88.0, 89.0, math.inf, math.nan], np.float32)
    ones = np.ones((len(points), 1))
    found = NativeEngine(task, bundle, shape, kernel=kernel).roll_out(
        points[None, :, None], np.zeros((1, 1, len(points), 1)), None, np.array([1.0, 1e-30]), ones, 0.0 * ones
    )
    with np.errstate(over="ignore"):
        expected = np.exp(points)
    # The state of the second step is x + (x - x): not a number where x is not finite.
    finite = np.isfinite(points)
    np.testing.assert_allclose(found.term_costs[0, finite, 0], expected[finite], rtol=1e-6, atol=1e-44)
    assert np.isnan(found.term_costs[0, ~finite, 0]).all()
