"""A mirror step in one call of the kernel is the one that the planner makes call by call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from demo_control.mpc import Planner, PlannerSettings, PlanningResult, Previous, Situations
from demo_control.mpc.utilities import UTILITIES
from demo_control.rollout import RolloutEngine, Rollouts, RolloutShape
from demo_control.rollout.native import NativeEngine
from demo_control.rollout.native.library import Kernel

from .conftest import make_task, network_bundle, quadratic

COSTS = {"squares": quadratic, "waves": lambda x, u, xp: xp.sin(x["x0"]) + 0.1 * xp.exp(u["u0"])}
ONE_BY_ONE = {
    "squashed samples": {"bounds": "squash"},
    "kept elites": {"keep_elites": 0.5},
    "every sample on every member": {"ensemble": "worst"},
    "samples that follow the policy": {"shift": "policy_feedback"},
    "weights of both signs": {"utility": "expected_cost"},
}


class CountingEngine(NativeEngine):
    """Counts how often it is asked for rollouts."""

    calls = 0

    def roll_out(self, *arguments: Any) -> Rollouts:  # noqa: ANN401 - as they come
        self.calls += 1
        return super().roll_out(*arguments)


def make_planner(
    kernel: Kernel,
    members: int = 3,
    actions: int = 2,
    in_one_call: bool = True,
    value: bool = False,
    **values: Any,  # noqa: ANN401 - settings of any kind
) -> tuple[Planner, CountingEngine]:
    """A planner, and the engine of its samples."""
    task = make_task(4, actions, COSTS)
    bundle = network_bundle(task, (19, 21), "Tanh", members, with_value=value)
    engines: list[CountingEngine] = []

    def make_engine(shape: RolloutShape) -> RolloutEngine:
        engines.append(CountingEngine(task, bundle, shape, threads=1, kernel=kernel))
        return engines[-1]

    settings = PlannerSettings.from_mapping({"horizon": 5, "num_samples": 48, **values})
    planner = Planner(task, settings, make_engine)
    if not in_one_call:
        planner._compiled = None
    return planner, engines[1]


def plans(planner: Planner, num_robots: int = 1, start: float = 0.3, count: int = 3) -> list[PlanningResult]:
    """Plans in turn, each from the one before."""
    generators = [np.random.default_rng(robot) for robot in range(num_robots)]
    observations = np.full((num_robots, 4), start) + 0.1 * np.arange(4)
    pending = np.zeros((num_robots, planner.pending_ticks, planner._task.action_dim))
    previous: list[Previous | None] = [None] * num_robots
    made = []
    for _ in range(count):
        situations = Situations(
            observations, pending, previous, np.full((1, 4), 1.1).repeat(num_robots, 0), 0.01 * observations
        )
        made.append(planner.plan(situations, generators))
        previous = [made[-1].previous(robot, 1) for robot in range(num_robots)]
    return made


def assert_same(found: list[PlanningResult], expected: list[PlanningResult]) -> None:
    for one, other in zip(found, expected, strict=True):
        for name in ("controls", "mean", "deviation", "effective_sample_size", "plan_costs", "path_step"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"elite_weighting": "return", "elite_fraction": 0.3},
        {"utility": "exponential", "temperature": 0.3},
        {"utility": "exponential", "temperature": 2.0, "temperature_scale": "cost"},
        {"utility": "exponential", "temperature": 0.2, "temperature_scale": "effective_share"},
        {"mirror_steps": 3, "covariance": "adapted", "sample_decay": 1.5, "carry_covariance": True},
        {"noise_held_share": 0.2, "noise_smallest_share": 0.1, "answer": "best"},
        {"step_size_schedule": "diminishing", "shift": "shift_and_repeat"},
        {"shift": "policy", "ensemble": "mean", "members": 1, "value": True},
        {"actions": 70, "noise_last_share": 0.5, "discount": 0.9},
        {"actions": 1, "members": 1, "num_samples": 1},
    ],
    ids=str,
)  # fmt: skip
def test_is_the_same_as_call_by_call(kernel: Kernel, values: dict[str, Any]) -> None:
    planner, engine = make_planner(kernel, **values)
    found = plans(planner)
    assert engine.calls == 0
    one_by_one, engine = make_planner(kernel, in_one_call=False, **values)
    assert_same(found, plans(one_by_one))
    assert engine.calls == 3 * values.get("mirror_steps", 1)


@pytest.mark.parametrize("values", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
def test_what_it_cannot_do_is_done_call_by_call(kernel: Kernel, values: dict[str, Any]) -> None:
    planner, engine = make_planner(kernel, **values)
    plans(planner)
    assert engine.calls == 3


def test_a_utility_of_ones_own_may_have_a_known_name(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, _ = make_planner(kernel, utility="exponential")
    expected = plans(usual)
    monkeypatch.setitem(UTILITIES, "exponential", lambda costs, settings: UTILITIES["elite_fraction"](-costs, settings))
    planner, engine = make_planner(kernel, utility="exponential")
    found = plans(planner)
    assert engine.calls == 3
    assert (found[0].plan_costs > expected[0].plan_costs).all()


def test_several_robots_are_planned_for_call_by_call(kernel: Kernel) -> None:
    planner, engine = make_planner(kernel)
    alone, together = plans(planner), plans(planner, num_robots=2)
    assert engine.calls == 3
    np.testing.assert_allclose(together[-1].mean[0], alone[-1].mean[0], rtol=2e-5, atol=1e-6)


def test_settings_changed_between_plans_are_taken_over(kernel: Kernel) -> None:
    changed = PlannerSettings.from_mapping(
        {"horizon": 5, "num_samples": 48, "utility": "exponential", "temperature": 0.5, "step_size": 0.9}
    )
    found = []
    for in_one_call in (True, False):
        planner, _ = make_planner(kernel, in_one_call=in_one_call)
        plans(planner)
        planner.settings = changed
        planner.cost_weights = np.array([0.2, 3.0])
        found.append(plans(planner))
    assert_same(*found)
    unchanged, _ = make_planner(kernel)
    assert np.abs(plans(unchanged)[0].mean - found[0][0].mean).max() > 1e-3


@pytest.mark.parametrize("utility", ["elite_fraction", "exponential"])
def test_costs_that_are_no_numbers_move_nothing(kernel: Kernel, utility: str) -> None:
    planner, engine = make_planner(kernel, utility=utility)
    planner.cost_weights = np.array([np.nan, 1.0])
    (plan,) = plans(planner, count=1)
    assert engine.calls == 0
    assert np.isfinite(plan.mean).all()
    assert plan.path_step == 0.0
    assert plan.effective_sample_size == 0.0


@pytest.mark.parametrize("utility", ["elite_fraction", "exponential"])
@pytest.mark.parametrize("start", [np.nan, np.inf, 1e300])
def test_an_observation_that_is_no_number_gives_no_plan(kernel: Kernel, utility: str, start: float) -> None:
    found, expected = (
        plans(make_planner(kernel, utility=utility, in_one_call=in_one_call)[0], start=start, count=1)[0]
        for in_one_call in (True, False)
    )
    assert found.effective_sample_size == expected.effective_sample_size == 0.0
    assert not np.isfinite(found.plan_costs).all()
    np.testing.assert_array_equal(found.mean, expected.mean)


def test_samples_lie_within_the_limits_and_so_does_the_plan(kernel: Kernel) -> None:
    planner, _ = make_planner(kernel, noise_standard_deviation=5.0, step_size=1.0)
    plan = plans(planner)[-1]
    task, (step,) = planner._task, planner._compiled._steps.values()
    for controls in (step.samples, plan.mean):
        assert np.all(controls >= task.action_minimum.astype(np.float32))
        assert np.all(controls <= task.action_maximum.astype(np.float32))
    assert np.abs(plan.mean).max() > 0.5
