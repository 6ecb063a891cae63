"""Ground truth of the planner: on a linear-quadratic problem the best plan is known from the Riccati recursion."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from demo_control.mpc import Planner, PlanningResult
from demo_control.tasks import Task

from .conftest import INPUT_MATRIX, POLICY_GAIN, STATE_MATRIX
from .linear_planning import (
    HORIZON,
    PENDING,
    PLANNED_FROM,
    START,
    RecordingEngine,
    here,
    make_planner,
    plan_cost,
    riccati_controls,
    situation,
)


def plan_error(planner: Planner, seed: int) -> float:
    """Root mean square distance of the plan from the Riccati solution."""
    result = planner.plan(situation(START[None], PENDING[None]), [np.random.default_rng(seed)])
    best = riccati_controls(STATE_MATRIX @ START + INPUT_MATRIX @ PENDING[0])
    return float(np.sqrt(np.mean(np.square(result.controls[0] - best))))


UTILITIES = {
    "elite_fraction": {"utility": "elite_fraction", "elite_fraction": 0.3, "step_size": 0.3},
    "elite_fraction_by_return": {
        "utility": "elite_fraction", "elite_fraction": 0.3, "elite_weighting": "return", "step_size": 0.3,
    },
    "exponential": {
        "utility": "exponential", "temperature": 3.0, "temperature_scale": "cost", "step_size": 0.3,
    },
    "expected_cost": {"utility": "expected_cost", "temperature": 0.5, "step_size": 0.5},
    "exponential_of_a_share": {
        "utility": "exponential", "temperature": 0.3, "temperature_scale": "effective_share", "step_size": 0.3,
    },
    "exponential_relative": {
        "utility": "exponential", "temperature": 0.5, "temperature_scale": "standard_deviation", "step_size": 0.3,
    },
}  # fmt: skip


@pytest.mark.parametrize("utility", UTILITIES)
def test_converges_to_the_riccati_solution(linear_task: Task, utility: str) -> None:
    errors = []
    for num_samples in (32, 512, 8192):
        planner = make_planner(linear_task, num_samples=num_samples, **UTILITIES[utility])
        seeds = range(4) if num_samples > 2000 else range(12)
        errors.append(np.mean([plan_error(planner, seed) for seed in seeds]))
    scale = float(np.abs(riccati_controls(STATE_MATRIX @ START + INPUT_MATRIX @ PENDING[0])).max())
    assert scale > 1.0
    # The noise of a mean over M samples falls as 1/√M: a factor 4 from one count to the next.
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 0.4 * errors[1]
    assert errors[2] < 0.03 * scale


def test_plans_from_where_the_robot_will_be(linear_task: Task) -> None:
    """With a delay the plan starts behind all commands that are already on their way."""
    planner = make_planner(linear_task, num_samples=4096, command_delay_ticks=2, **UTILITIES["exponential_relative"])
    pending = np.array([[2.0], [-1.0], [0.5]])
    state = START
    for command in pending:
        state = STATE_MATRIX @ state + INPUT_MATRIX @ command
    result = planner.plan(situation(START[None], pending[None]), [np.random.default_rng(0)])
    best = riccati_controls(state)
    assert planner.pending_ticks == 3
    assert np.sqrt(np.mean(np.square(result.controls[0] - best))) < 0.05 * np.abs(best).max()


def test_the_policys_answers_are_those_along_the_plan(linear_task: Task) -> None:
    """The policy is predicted on the observations it will see: one period after the planner's, and so on."""
    planner = make_planner(linear_task, num_samples=64, command_delay_ticks=1)
    pending = np.array([[1.0], [0.3]])
    result = planner.plan(situation(START[None], pending[None]), [np.random.default_rng(0)])
    state, answers = START, []
    for control in [*pending, *result.controls[0]][:HORIZON]:
        state = STATE_MATRIX @ state + INPUT_MATRIX @ control
        answers.append(POLICY_GAIN @ state)
    np.testing.assert_allclose(result.policy_actions[0], answers, atol=1e-12)


@pytest.mark.parametrize("shift", ["policy", "policy_feedback", "hybrid", "policy_tail"])
def test_without_a_mirror_step_the_plan_is_the_proposal(linear_task: Task, shift: str) -> None:
    """α = 0 returns what Φ proposed: here the policy's own rollout, which costs what the policy costs."""
    planner = make_planner(linear_task, num_samples=64, shift=shift, step_size=0.0, mirror_steps=1)
    result = planner.plan(situation(START[None], PENDING[None]), [np.random.default_rng(0)])
    state = STATE_MATRIX @ START + INPUT_MATRIX @ PENDING[0]
    for control in result.controls[0]:
        np.testing.assert_allclose(control, POLICY_GAIN @ state, atol=1e-12)
        state = STATE_MATRIX @ state + INPUT_MATRIX @ control
    np.testing.assert_allclose(result.plan_costs, result.nominal_costs, rtol=1e-12)
    np.testing.assert_allclose(result.controls, result.policy_actions, atol=1e-12)


@pytest.mark.parametrize("shift", ["policy", "policy_feedback", "hybrid", "policy_tail", "shift_and_repeat"])
def test_a_plan_improves_on_the_policy(linear_task: Task, shift: str) -> None:
    planner = make_planner(linear_task, num_samples=512, shift=shift, mirror_steps=5)
    result = planner.plan(situation(START[None], PENDING[None]), [np.random.default_rng(0)])
    assert result.plan_costs.sum() < result.nominal_costs.sum()


def test_robots_planned_together_get_the_plans_they_get_alone(linear_task: Task) -> None:
    planner = make_planner(linear_task, num_samples=64, shift="hybrid", mirror_steps=2)
    starts = np.array([START, -START, 2.0 * START])
    pending = np.stack([PENDING, -PENDING, PENDING])
    together = planner.plan(situation(starts, pending), [np.random.default_rng(i) for i in range(3)])
    for i in range(3):
        alone = planner.plan(situation(starts[i : i + 1], pending[i : i + 1]), [np.random.default_rng(i)])
        np.testing.assert_allclose(alone.controls[0], together.controls[i], rtol=1e-9)
        np.testing.assert_allclose(alone.plan_costs[0], together.plan_costs[i], rtol=1e-9)


def test_same_seed_same_plan(linear_task: Task) -> None:
    planner = make_planner(linear_task, num_samples=64, mirror_steps=2)
    plans = [planner.plan(situation(START[None], PENDING[None]), [np.random.default_rng(3)]).controls for _ in range(2)]
    np.testing.assert_array_equal(plans[0], plans[1])


def test_a_plan_that_has_settled_is_not_searched_further(linear_task: Task) -> None:
    """The spread shrinks with the elites, so that mirror steps become shorter."""
    values = {"num_samples": 512, "covariance": "adapted", "elite_fraction": 0.1, "mirror_steps": 60}

    def planned(**changed: float) -> tuple[PlanningResult, int]:
        engines: list[RecordingEngine] = []
        planner = make_planner(linear_task, engines, **{**values, "noise_standard_deviation": 0.5, **changed})
        return planner.plan(here(), [np.random.default_rng(0)]), len(engines[1].results)

    whole, steps = planned(mirror_step_tolerance=1e-12)
    assert steps == 60
    np.testing.assert_array_equal(whole.controls, planned()[0].controls)
    settled, steps = planned(mirror_step_tolerance=0.01)
    assert 5 <= steps <= 30
    best = plan_cost(PLANNED_FROM, riccati_controls(PLANNED_FROM))
    assert settled.plan_costs.sum() == pytest.approx(best, rel=0.01)
    # The step that is too short is the last one, and it counts.
    shortest, steps = planned(mirror_step_tolerance=1e6)
    assert steps == 1
    np.testing.assert_array_equal(shortest.controls, planned(mirror_steps=1)[0].controls)


@pytest.mark.parametrize("shift", ["hybrid", "policy_feedback"])
def test_robots_planned_together_settle_each_by_itself(linear_task: Task, shift: str) -> None:
    values = {"covariance": "adapted", "mirror_steps": 30, "mirror_step_tolerance": 0.05, "shift": shift}
    planner = make_planner(linear_task, num_samples=64, noise_standard_deviation=0.5, **values)
    starts = np.array([START, 0.0 * START, -3.0 * START])
    pending = np.stack([PENDING, 0.0 * PENDING, PENDING])
    generators = [np.random.default_rng(robot) for robot in range(3)]
    together = planner.plan(situation(starts, pending), generators)
    for robot in range(3):
        generator = np.random.default_rng(robot)
        alone = planner.plan(situation(starts[robot : robot + 1], pending[robot : robot + 1]), [generator])
        for field in fields(PlanningResult):
            np.testing.assert_array_equal(getattr(alone, field.name)[0], getattr(together, field.name)[robot])
        assert generator.bit_generator.state == generators[robot].bit_generator.state
