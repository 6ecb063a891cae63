"""A policy that diverges on the model is a candidate like a good one: it must not spoil what the other leads to."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.bundle import Bundle, make_bundle
from demo_control.mpc import Planner, PlannerSettings, PlanningResult, Previous, Situations
from demo_control.mpc.lanes import cheapest_candidates
from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout import NumpyEngine, RolloutEngine, RolloutShape
from demo_control.rollout.native import NativeEngine
from demo_control.rollout.native.library import Kernel
from demo_control.tasks import Array, Task

from .conftest import make_task, quadratic

HORIZON = 8
WALL, BEYOND = 0.2, 1e30
"""Beyond the wall the model's state grows without bound, and the policy's answer is no number."""


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(1, 1, {"squares": quadratic})


def diverging_bundle(task: Task) -> Bundle:
    """x ← x + u / 10 before the wall, which the policy, that pushes with all its might, passes in three steps."""
    graph = GraphBuilder("dynamics")
    x, u = graph.input("observation", (1, "batch", 1)), graph.input("action", (1, "batch", 1))
    beyond = graph.node("Relu", graph.node("Add", x, graph.constant(-WALL)))
    for _ in range(2):
        beyond = graph.node("Mul", beyond, graph.constant(BEYOND))
    moved = graph.node("Add", x, graph.node("Mul", u, graph.constant(0.1)))
    graph.output("next_observation", graph.node("Add", moved, beyond), (1, "batch", 1))
    graph.output("log_variance", graph.node("Neg", x), (1, "batch", 1))
    policy = GraphBuilder("policy")
    x = policy.input("observation", ("batch", 1))
    push = policy.node("Add", policy.node("Mul", x, policy.constant(0.0)), policy.constant(1.0))
    policy.output("action", push, ("batch", 1))
    return make_bundle(task, policy=policy.build(), dynamics=graph.build())


def by_numpy(x: Array, u: Array) -> Array:
    beyond = np.maximum(x - np.float32(WALL), np.float32(0.0)) * np.float32(BEYOND) * np.float32(BEYOND)
    return np.asarray(x + np.float32(0.1) * u + beyond, np.float32)


def plan(planner: Planner) -> PlanningResult:
    """With a plan of before that stays where it is."""
    previous, ones = [Previous(np.zeros((HORIZON + 1, 1)), 1)], np.ones((1, 1))
    pending = np.zeros((1, planner.pending_ticks, 1))
    situations = Situations(0.0 * ones, pending, previous, ones, 0.0 * ones)
    return planner.plan(situations, [np.random.default_rng(0)])


def settings(**changes: object) -> PlannerSettings:
    values = {"shift": "hybrid", "horizon": HORIZON, "num_samples": 64, "noise_standard_deviation": 0.1, **changes}
    return PlannerSettings.from_mapping(values)


def assert_good(made: PlanningResult) -> None:
    assert not np.isfinite(made.nominal_costs).all(), "the policy diverges"
    assert np.isfinite(made.mean).all()
    assert np.isfinite(made.plan_costs).all()
    assert np.isfinite(made.policy_actions).all()
    assert made.proposal_cost == 0.0
    # Of an exponential utility with a high temperature: all samples count, also those that were the policy's.
    assert made.effective_sample_size == pytest.approx(64.0, rel=1e-3)


EVERY_SAMPLE = {"utility": "exponential", "temperature": 1e9, "temperature_scale": "cost"}


def test_by_numpy(task: Task) -> None:
    def make_engine(shape: RolloutShape) -> RolloutEngine:
        return NumpyEngine(task, by_numpy, lambda x: 0.0 * x + 1.0, shape)

    assert_good(plan(Planner(task, settings(**EVERY_SAMPLE), make_engine)))


@pytest.mark.parametrize("in_one_call", [True, False])
def test_by_the_kernel(kernel: Kernel, task: Task, in_one_call: bool) -> None:
    bundle = diverging_bundle(task)

    def make_planner(chosen: PlannerSettings) -> Planner:
        planner = Planner(task, chosen, lambda shape: NativeEngine(task, bundle, shape, threads=1, kernel=kernel))
        assert planner._compiled is not None
        if not in_one_call:
            planner._compiled = None
        return planner

    assert_good(plan(make_planner(settings(**EVERY_SAMPLE))))
    made = plan(make_planner(settings(mirror_steps=2, keep_elites=0.0)))
    assert np.isfinite(made.mean).all()


def test_the_cheapest_that_can_be_carried_out_takes_the_place_of_those_that_cannot() -> None:
    """Robots: all well; the policy diverges; the plan before does, and the policy costs infinitely much; both do."""
    candidates = np.ones((3, 4, 2, 1)) * [[[1.0], [2.0]]]
    candidates[1, [1, 2, 3, 3], [0, 1, 0, 1]] = np.nan
    costs = np.array([[5.0, 3.0], [np.nan, 4.0], [np.inf, np.nan], [np.nan, np.nan]])
    cheapest = cheapest_candidates(candidates, costs)

    assert cheapest[:3].tolist() == [1, 1, 0]
    for step in candidates:
        np.testing.assert_array_equal(step[:3, :, 0], [[1.0, 2.0], [2.0, 2.0], [1.0, 1.0]])
    assert np.isnan(candidates[1, 3]).all()
