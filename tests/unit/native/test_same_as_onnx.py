"""The kernel and ONNX Runtime compute the same, on what is shipped and on random problems."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo_control.bundle import default_bundle, load_bundle, make_bundle
from demo_control.layer import LayerSettings
from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout import OnnxEngine, RolloutShape
from demo_control.rollout.native import NativeEngine
from demo_control.rollout.native.library import Kernel
from demo_control.tasks import load_task

from .conftest import arguments, assert_same, both, make_task, network_bundle, quadratic, small_model

SHAPES = [(average, policy) for average in (True, False) for policy in (True, False)]


@pytest.mark.parametrize(("average", "policy"), SHAPES)
@pytest.mark.parametrize("name", ["cartpole", "stoch2"])
def test_on_the_shipped_bundles(kernel: Kernel, name: str, average: bool, policy: bool) -> None:
    task = load_task(name)
    bundle = load_bundle(default_bundle(name), task)
    problem, planned = task.planning_problem, LayerSettings.for_task(task)
    shape = RolloutShape(planned.horizon, average_members=average, with_policy=policy, with_trajectory=True)
    scale = np.array([(quantity.maximum - quantity.minimum) / 2.0 for quantity in problem.observation])
    for variant in kernel.variants:
        for rows in (1, 3, 70) if average else (planned.num_samples // bundle.contract.members,):
            passed = arguments(problem, shape, bundle.contract.members, rows)
            native, onnx = both(kernel, problem, bundle, shape, passed, variant)
            # Long horizons of the cart-pole fall over: differences of rounding grow as the poles do.
            assert_same(native, onnx, problem.cost_weights, 4.0 * scale)


@settings(max_examples=60)
@given(
    hidden=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    activation=st.sampled_from(["Relu", "Tanh", "Silu", "Sigmoid"]),
    members=st.integers(1, 5),
    rows=st.integers(1, 90),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 7)),
    horizon=st.integers(1, 6),
    kind=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
def test_on_random_networks(
    kernel: Kernel,
    hidden: list[int],
    activation: str,
    members: int,
    rows: int,
    sizes: tuple[int, int],
    horizon: int,
    kind: tuple[bool, bool, bool, bool],
) -> None:
    average, policy, trajectory, value = kind
    costs = {"squares": quadratic, "near": lambda x, u, xp: 2.0 - xp.exp(x["x0"] ** 2 * -0.5) + xp.cos(u["u0"])}
    task = make_task(*sizes, costs, ["stages"])
    bundle = network_bundle(task, hidden, activation, members, with_value=value)
    shape = RolloutShape(horizon, average, policy, trajectory)
    passed = arguments(task, shape, members, rows)
    native, onnx = both(kernel, task, bundle, shape, passed)
    # A value may be near zero: it counts little, so that a sum of costs has a relative error.
    assert_same(native, onnx, np.array([1.0, 1.0, 0.01][: 2 + value]), np.ones(sizes[0]))


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Silu", "Sigmoid"])
@pytest.mark.parametrize(
    ("sizes", "hidden"), [((24, 20), [256, 256]), ((17, 6), [200, 129, 31]), ((34, 1), [65, 300]), ((63, 1), [96, 97])]
)
def test_wide_layers(kernel: Kernel, sizes: tuple[int, int], hidden: list[int], activation: str) -> None:
    """Which a processor's matrix unit takes, in tiles that are seldom full."""
    task = make_task(*sizes, {"squares": quadratic})
    bundle = network_bundle(task, hidden, activation, 2)
    shape = RolloutShape(5, average_members=False, with_policy=False, with_trajectory=True)
    for variant in kernel.variants:
        for rows in (1, 16, 50, 64, 97):
            passed = arguments(task, shape, 2, rows)
            native, onnx = both(kernel, task, bundle, shape, passed, variant)
            assert_same(native, onnx, np.ones(1), np.ones(sizes[0]))


@pytest.mark.parametrize("far", [np.inf, -np.inf, np.nan, 3e38])
def test_numbers_without_end_go_the_same_ways_through_wide_layers(kernel: Kernel, far: float) -> None:
    """The pieces of which a matrix unit makes its products have opposite signs; infinite ones cannot be added."""
    task = make_task(40, 3, {"first": lambda x, u, xp: x["x0"], "last": lambda x, u, xp: x["x39"]})
    bundle = network_bundle(task, [128, 128], "Relu", 1)
    shape = RolloutShape(1, average_members=False, with_policy=False, with_trajectory=True)
    observations, *others = arguments(task, shape, 1, 70)
    for column in (0, 21, 39):  # in full tiles of inputs, and in what is left
        observations[0, 5 + column, column] = far
    with np.errstate(over="ignore", invalid="ignore"):
        for variant in kernel.variants:
            native, onnx = both(kernel, task, bundle, shape, (observations, *others), variant)
            assert native.predictions is not None
            assert onnx.predictions is not None
            strange = ~np.isfinite(onnx.predictions)
            assert strange.any() != np.isfinite(far)
            np.testing.assert_array_equal(native.predictions[strange], onnx.predictions[strange])
            largest = np.abs(np.where(strange, 0.0, onnx.predictions)).max(axis=-1, keepdims=True)
            difference = np.abs(np.where(strange, 0.0, native.predictions - onnx.predictions))
            assert np.all(difference <= 1e-5 * (1.0 + largest))


@pytest.mark.parametrize("policy", [True, False])
def test_controls_are_only_reported_where_they_are_wanted(kernel: Kernel, policy: bool) -> None:
    task = make_task(3, 2, {"squares": quadratic})
    bundle = network_bundle(task, [9], "Relu", 2)
    shape = RolloutShape(4, average_members=False, with_policy=policy, with_trajectory=False)
    without = replace(shape, with_controls=False)
    passed = arguments(task, shape, 2, 20)
    for wanted, silent in zip(
        both(kernel, task, bundle, shape, passed), both(kernel, task, bundle, without, passed), strict=True
    ):
        assert wanted.controls is not None
        assert silent.controls is None
        np.testing.assert_array_equal(silent.term_costs, wanted.term_costs)


UNARY = ("Abs", "Atan", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "LeakyRelu", "Neg", "Reciprocal", "Relu", "Round",
         "Sigmoid", "Sin", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "Log", "Identity")  # fmt: skip
BINARY = ("Add", "Div", "Max", "Min", "Mul", "Sub", "Sum", "Pow")
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, 1e-30, 90.0, -90.0, 1e30, np.inf, -np.inf, np.nan]


def through_a_policy(kernel: Kernel, graph: GraphBuilder, result: str, points: np.ndarray) -> tuple[Any, Any]:
    """What both engines say a policy (of ``points`` as observations) answers in the first step."""
    n = points.shape[1]
    task = make_task(n, n, {"one": lambda x, u, xp: x["x0"] * 0.0 + 1.0})
    graph.output("action", result, ("batch", n))
    dynamics = network_bundle(task, [3], "Tanh", 1).dynamics
    bundle = make_bundle(task, policy=small_model("policy", task, "action", n, "Tanh", 0), dynamics=dynamics)
    object.__setattr__(bundle, "policy", graph.build())  # not finite in the middle of the range, which is what is tried
    shape = RolloutShape(1, average_members=False, with_policy=True, with_trajectory=False)
    rows = len(points)
    ones = np.ones((rows, n))
    passed = (points[None], np.zeros((1, 1, rows, n)), np.ones((1, 1, rows, 1)), np.ones(2), ones, 0.0 * ones)
    native = NativeEngine(task, bundle, shape, kernel=kernel).roll_out(*passed)
    onnx = OnnxEngine(task, bundle, shape).roll_out(*passed)
    np.testing.assert_allclose(native.controls, onnx.controls, rtol=1e-5, atol=1e-6)
    assert native.policy_actions is not None
    assert onnx.policy_actions is not None
    return native.policy_actions[0, 0], onnx.policy_actions[0, 0]


def assert_equal_numbers(found: np.ndarray, expected: np.ndarray) -> None:
    """Close where finite, the same infinity or no number at all elsewhere."""
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("op", UNARY)
def test_operators_of_one_operand(kernel: Kernel, op: str) -> None:
    points = np.array([*SPECIAL, *np.linspace(-4.0, 4.0, 25)], np.float32)[:, None]
    if op in ("Cos", "Sin", "Tan"):
        points = points[np.abs(np.nan_to_num(points[:, 0], posinf=0.0)) < 1e6]
    graph = GraphBuilder("policy")
    result = graph.node(op, graph.input("observation", ("batch", 1)))
    assert_equal_numbers(*through_a_policy(kernel, graph, result, points))


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("constant", [None, 2.0, 3.0, 0.7, np.nan, np.inf])
def test_operators_of_two_operands(kernel: Kernel, op: str, constant: float | None) -> None:
    one, other = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    points = np.stack([one, other], axis=1).astype(np.float32)
    graph = GraphBuilder("policy")
    x = graph.input("observation", ("batch", 2))
    first, second = graph.split_node("Split", [x], 2, axis=-1)
    if constant is not None:
        second = graph.constant(constant)
    forwards, backwards = graph.node(op, first, second), graph.node(op, second, first)
    result = graph.node("Concat", forwards, backwards, axis=1)
    assert_equal_numbers(*through_a_policy(kernel, graph, result, points))


@pytest.mark.parametrize("limits", [(), (0.0,), ("", 0.0), (-1.0, 1.0), (1.0, -1.0)])
def test_limits_of_which_an_end_may_be_missing(kernel: Kernel, limits: tuple[float | str, ...]) -> None:
    graph = GraphBuilder("policy")
    ends = [end if isinstance(end, str) else graph.constant(end) for end in limits]
    result = graph.node("Clip", graph.input("observation", ("batch", 1)), *ends)
    assert_equal_numbers(*through_a_policy(kernel, graph, result, np.array(SPECIAL, np.float32)[:, None]))


def test_operators_that_move_columns(kernel: Kernel) -> None:
    graph = GraphBuilder("policy")
    x = graph.input("observation", ("batch", 5))
    left, right = graph.split_node("Split", [x, graph.constant([2, 3], np.int64)], 2, axis=1)
    gathered = graph.node("Gather", right, graph.constant([2, 0, -1], np.int64), axis=-1)
    mean = graph.node("ReduceMean", x, axes=[-1], keepdims=1)
    total = graph.node("ReduceSum", left, graph.constant([1], np.int64), keepdims=1)
    clipped = graph.node("Clip", gathered, graph.constant(-0.4), graph.constant(0.3))
    result = graph.node("Concat", mean, clipped, total, axis=-1)
    points = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    assert_equal_numbers(*through_a_policy(kernel, graph, result, points))


@pytest.mark.parametrize("transposed", [0, 1])
def test_layers_as_gemm(kernel: Kernel, transposed: int) -> None:
    generator = np.random.default_rng(0)
    graph = GraphBuilder("policy")
    x = graph.input("observation", ("batch", 4))
    for inputs, outputs in ((4, 9), (9, 4)):
        weights = generator.normal(size=(inputs, outputs))
        weights = weights.T if transposed else weights
        bias = graph.constant(generator.normal(size=outputs))
        x = graph.node("Tanh", graph.node("Gemm", x, graph.constant(weights), bias, transB=transposed))
    points = generator.normal(size=(21, 4)).astype(np.float32)
    assert_equal_numbers(*through_a_policy(kernel, graph, x, points))


def test_a_layer_whose_sum_is_used_twice_is_not_fused(kernel: Kernel) -> None:
    graph = GraphBuilder("policy")
    x = graph.input("observation", ("batch", 3))
    product = graph.node("MatMul", x, graph.constant(np.eye(3)[::-1]))
    bent = graph.node("Tanh", product)
    points = np.random.default_rng(0).normal(size=(21, 3)).astype(np.float32)
    assert_equal_numbers(*through_a_policy(kernel, graph, graph.node("Sub", bent, product), points))


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Silu"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("where", ["observation", "control", "scale"])
def test_what_is_not_finite_goes_the_same_ways(kernel: Kernel, activation: str, bad: float, where: str) -> None:
    """Also through limits, layers, weights of zero, and terms that do not count; other samples stay as they were."""
    task = make_task(3, 2, {"all": quadratic, "end": quadratic, "stages": quadratic}, ["always", "end", "stages"])
    bundle = network_bundle(task, [9, 6], activation, 2, with_value=True)
    shape = RolloutShape(4, average_members=False, with_policy=True, with_trajectory=True)
    observations, controls, feedback, weights, scale, offset = arguments(task, shape, 2, 20)
    spoiled = {"observation": observations[0, 3], "control": controls[1, 0, 3], "scale": scale[3]}[where]
    spoiled[1] = bad
    weights[1] = 0.0
    given_ = (observations, controls, feedback, weights, scale, offset)
    native, onnx = both(kernel, task, bundle, shape, given_)
    clean = np.ones(20, bool)
    clean[3] = False
    np.testing.assert_allclose(native.term_costs[:, clean], onnx.term_costs[:, clean], rtol=2e-5, atol=1e-5)
    for one, other in (
        (native.term_costs, onnx.term_costs), (native.controls, onnx.controls),
        (native.observations, onnx.observations), (native.policy_actions, onnx.policy_actions),
    ):  # fmt: skip
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(other))
