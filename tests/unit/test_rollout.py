"""The composed ONNX graph computes what the equations say, in every shape of rollouts."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.bundle import Bundle, make_bundle
from demo_control.onnx_graph import GraphBuilder, make_session
from demo_control.rollout import NumpyEngine, OnnxEngine
from demo_control.rollout.cost_graph import GraphNamespace, GraphValue
from demo_control.rollout.engine import RolloutShape
from demo_control.tasks import Array, CostTerm, Quantity, Task, load_task

from .conftest import (
    INPUT_MATRIX,
    MEMBER_SHIFTS,
    POLICY_GAIN,
    STATE_MATRIX,
    linear_dynamics_model,
    linear_policy,
    linear_value,
)

HORIZON = 6
ROWS = 5


def step(states: Array, controls: Array, member: int | None) -> Array:
    shift = np.mean(MEMBER_SHIFTS) if member is None else MEMBER_SHIFTS[member]
    return states @ STATE_MATRIX.T + controls @ INPUT_MATRIX.T + np.array([0.0, shift])


def inputs(lanes: int) -> tuple[Array, Array, Array, Array, Array, Array]:
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(lanes, ROWS, 2)),
        generator.normal(size=(HORIZON, lanes, ROWS, 1)),
        generator.integers(0, 2, size=(HORIZON, lanes, ROWS, 1)).astype(float),
        generator.uniform(0.5, 2.0, size=HORIZON + 1),
        generator.uniform(0.7, 1.3, size=(ROWS, 2)),
        generator.normal(scale=0.2, size=(ROWS, 2)),
    )


@pytest.mark.parametrize("average", [True, False])
def test_agrees_with_the_numpy_engine(linear_task: Task, linear_bundle: Bundle, average: bool) -> None:
    shape = RolloutShape(HORIZON, average_members=average, with_policy=True, with_trajectory=True)
    engine = OnnxEngine(linear_task, linear_bundle, shape)
    lanes = 1 if average else engine.num_members
    starts, controls, feedback, weights, *adapted = inputs(lanes)
    found = engine.roll_out(starts, controls, feedback, weights, *adapted)
    for lane in range(lanes):
        member = None if average else lane

        def dynamics(x: Array, u: Array, member: int | None = member) -> Array:
            return step(x, u, member)

        reference = NumpyEngine(linear_task, dynamics, lambda x: x @ POLICY_GAIN.T, shape)
        one = slice(lane, lane + 1)
        expected = reference.roll_out(starts[one], controls[:, one], feedback[:, one], weights, *adapted)
        np.testing.assert_allclose(found.term_costs[one], expected.term_costs, rtol=1e-5)
        np.testing.assert_allclose(found.controls[:, one], expected.controls, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.policy_actions[:, one], expected.policy_actions, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.observations[:, one], expected.observations, rtol=1e-4, atol=1e-6)


def test_every_members_prediction_is_reported(linear_task: Task, linear_bundle: Bundle) -> None:
    shape = RolloutShape(HORIZON, average_members=True, with_policy=True, with_trajectory=True)
    found = OnnxEngine(linear_task, linear_bundle, shape).roll_out(*inputs(1))
    assert found.predictions.shape == (HORIZON, len(MEMBER_SHIFTS), ROWS, 2)
    np.testing.assert_allclose(found.predictions.mean(axis=1), found.observations[1:, 0], rtol=1e-5, atol=1e-6)
    spread = found.predictions[:, :, :, 1] - found.predictions[:, 1:2, :, 1]
    expected = np.array(MEMBER_SHIFTS)[None, :, None] * inputs(1)[-2][:, 1] * np.ones((HORIZON, 1, 1))
    np.testing.assert_allclose(spread, expected, atol=1e-6)


def test_controls_are_clipped_to_the_limits(linear_task: Task, linear_bundle: Bundle) -> None:
    shape = RolloutShape(HORIZON, average_members=False, with_policy=False, with_trajectory=False)
    engine = OnnxEngine(linear_task, linear_bundle, shape)
    starts, controls, _, weights, *adapted = inputs(engine.num_members)
    found = engine.roll_out(starts, 1e3 * controls, None, weights, *adapted)
    assert np.abs(found.controls).max() == linear_task.action_maximum[0]


def test_a_value_function_adds_a_terminal_cost(linear_task: Task) -> None:
    bundle = make_bundle(
        linear_task, policy=linear_policy(linear_task), dynamics=linear_dynamics_model(), value=linear_value()
    )
    shape = RolloutShape(HORIZON, average_members=True, with_policy=True, with_trajectory=True)
    engine = OnnxEngine(linear_task, bundle, shape)
    found = engine.roll_out(*inputs(1))
    assert engine.num_terms == 4
    np.testing.assert_allclose(found.term_costs[..., 3], -(found.observations[-1] @ np.array([2.0, -1.0])), rtol=1e-5)


def test_the_last_state_costs_as_under_a_zero_action(linear_task: Task, linear_bundle: Bundle) -> None:
    shape = RolloutShape(HORIZON, average_members=True, with_policy=True, with_trajectory=True)
    engine = OnnxEngine(linear_task, linear_bundle, shape)
    starts, controls, feedback, _, *adapted = inputs(1)
    last_only = np.zeros(HORIZON + 1)
    last_only[-1] = 7.0
    found = engine.roll_out(starts, controls, feedback, last_only, *adapted)
    expected = 7.0 * linear_task.stage_costs(found.observations[-1], np.zeros((1, ROWS, 1)))
    np.testing.assert_allclose(found.term_costs, expected, rtol=1e-5)


def test_cost_functions_draw_the_graph_that_numpy_computes() -> None:
    """One function with every operation that a cost term may use, for NumPy and for ONNX."""

    def function(x: dict[str, Array], u: dict[str, Array], xp: object) -> Array:
        a, b, c = x["a"], x["b"], u["c"]
        terms = (1.0 - a) * 2.0 + b / 3.0 - 1.5 / (2.0 + xp.abs(c)) + (-a) ** 2 + 0.5 * (a - b) - (3.0 + c)
        smooth = xp.cos(a) + xp.sin(b) + xp.exp(-0.1 * c) + xp.sqrt(xp.abs(a) + 1.0) + xp.abs(b) ** 1.5
        return terms + smooth + xp.maximum(0.0, a - 0.2) + xp.minimum(b, 0.3) + xp.maximum(a, b)

    graph = GraphBuilder("cost")
    names = ("a", "b", "c")
    values = {name: GraphValue(graph, graph.input(name, ("rows",))) for name in names}
    graph.output("cost", function(values, values, GraphNamespace()).name, ("rows",))
    data = {name: np.random.default_rng(i).normal(size=20).astype(np.float32) for i, name in enumerate(names)}
    found = make_session(graph.build()).run(["cost"], data)[0]
    np.testing.assert_allclose(found, function(data, data, np), rtol=1e-5, atol=1e-5)


def test_the_cart_poles_costs_are_the_same_in_both(linear_task: Task) -> None:
    """The shipped task's cost terms, graph against NumPy, over the whole range of states."""
    task = load_task("cartpole")
    graph = GraphBuilder("costs")

    def columns(name: str, quantities: tuple[Quantity, ...]) -> dict[str, GraphValue]:
        value = graph.input(name, ("rows", len(quantities)))
        parts = graph.split_node("Split", [value], len(quantities), axis=1) if len(quantities) > 1 else [value]
        return {q.name: GraphValue(graph, part) for q, part in zip(quantities, parts, strict=True)}

    x, u = columns("x", task.observation), columns("u", task.action)
    terms: tuple[CostTerm, ...] = task.cost_terms
    joined = graph.node("Concat", *(t.function(x, u, GraphNamespace()).name for t in terms), axis=1)
    graph.output("costs", joined, ("rows", len(terms)))
    generator = np.random.default_rng(0)
    low = np.array([q.minimum for q in task.observation])
    high = np.array([q.maximum for q in task.observation])
    states = generator.uniform(low, high, size=(200, task.observation_dim))
    actions = generator.uniform(task.action_minimum, task.action_maximum, size=(200, task.action_dim))
    feeds = {"x": states.astype(np.float32), "u": actions.astype(np.float32)}
    found = make_session(graph.build()).run(["costs"], feeds)[0]
    np.testing.assert_allclose(found, task.stage_costs(states, actions), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("average", [True, False])
def test_threads_share_the_rows(
    linear_task: Task, linear_bundle: Bundle, average: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo_control.rollout.onnx_engine.WORK_PER_THREAD", 1)
    shape = RolloutShape(HORIZON, average_members=average, with_policy=True, with_trajectory=True)
    alone, shared = (OnnxEngine(linear_task, linear_bundle, shape, threads) for threads in (1, 3))
    assert shared.threads_for(ROWS) == 3
    given = inputs(1 if average else alone.num_members)
    expected, found = alone.roll_out(*given), shared.roll_out(*given)
    for name in ("term_costs", "controls", "policy_actions", "observations", "predictions"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-6)


def test_dynamics_that_cannot_be_taken_apart_stay_a_stack(linear_task: Task) -> None:
    """A transition that reshapes knows how many axes there are."""
    graph = GraphBuilder("dynamics")
    x, u = graph.input("observation", (1, "batch", 2)), graph.input("action", (1, "batch", 1))
    following = graph.reshape(graph.reshape(x, (1, -1, 2, 1)), (1, -1, 2))
    graph.output("next_observation", graph.node("Add", following, u), (1, "batch", 2))
    graph.output("log_variance", graph.node("Mul", following, u), (1, "batch", 2))
    bundle = make_bundle(linear_task, policy=linear_policy(linear_task), dynamics=graph.build())
    shape = RolloutShape(HORIZON, average_members=False, with_policy=False, with_trajectory=True)
    starts, controls, _, weights, scale, offset = inputs(1)
    found = OnnxEngine(linear_task, bundle, shape).roll_out(starts, controls, None, weights, scale * 0 + 1, offset * 0)
    assert found.observations is not None
    np.testing.assert_allclose(found.observations[-1], starts + controls.sum(axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("average", "policy", "trajectory"), [(True, True, True), (False, False, False), (False, True, True)]
)
@pytest.mark.parametrize("shifts", [MEMBER_SHIFTS, (0.01,)])
def test_a_repeated_step_computes_the_same_as_unrolled_ones(
    linear_task: Task,
    average: bool,
    policy: bool,
    trajectory: bool,
    shifts: tuple[float, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dynamics = linear_dynamics_model(shifts)
    bundle = make_bundle(linear_task, policy=linear_policy(linear_task), dynamics=dynamics)
    shape = RolloutShape(HORIZON, average, policy, trajectory)
    starts, controls, feedback, *others = inputs(1 if average else len(shifts))
    given = (starts, controls, feedback if policy else None, *others)
    unrolled = OnnxEngine(linear_task, bundle, shape).roll_out(*given)
    monkeypatch.setattr("demo_control.rollout.composition.LONGEST_UNROLLED", 1)
    repeated = OnnxEngine(linear_task, bundle, shape).roll_out(*given)
    for name in ("term_costs", "controls", "policy_actions", "observations", "predictions"):
        expected, found = getattr(unrolled, name), getattr(repeated, name)
        assert (expected is None) == (found is None)
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
