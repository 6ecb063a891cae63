"""What holds for every setting of the frame: limits, shapes, seeds, units, and costs that are no numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo_control.bundle import Bundle, make_bundle
from demo_control.configuration import ConfigurationError
from demo_control.mpc import (
    PRESETS,
    SHIFT_MODELS,
    Planner,
    PlannerSettings,
    PlanningResult,
    ShiftModel,
    Situations,
    preset,
)
from demo_control.mpc.distribution import BOUNDS, COVARIANCES
from demo_control.mpc.ensemble_use import ENSEMBLE_USES
from demo_control.mpc.mirror_step import STEP_SIZES
from demo_control.mpc.noise import NOISES
from demo_control.mpc.utilities import UTILITIES
from demo_control.rollout import NumpyEngine, OnnxEngine, Rollouts
from demo_control.tasks import Array, CostTerm, Quantity, Task

from .conftest import linear_dynamics_model, linear_policy
from .linear_planning import HORIZON, PENDING, START, here, make_planner, situation


def any_task(action_dim: int, limit: float = 1.0, scale: float = 1.0) -> Task:
    """A point pushed by ``scale`` times its actions, whose goal is out of reach in one step."""
    names = [f"x{index}" for index in range(action_dim)]
    return Task(
        name="points",
        observation=tuple(Quantity(name, "m", -9.0, 9.0) for name in names),
        action=tuple(Quantity(f"u{index}", "m", -limit, limit) for index in range(action_dim)),
        control_period_s=0.1,
        episode_s=1.0,
        cost_terms=(
            CostTerm("distance", 1.0, lambda x, u, xp: sum((x[name] - 1.5) ** 2 for name in names), "Squared."),
        ),
        model_inputs=tuple(names),
        simulators=("none",),
        make_plants=lambda *_: None,  # type: ignore[arg-type,return-value]
        make_score=lambda: None,  # type: ignore[arg-type,return-value]
        unmodelled_ticks=0,
    )


def any_planner(task: Task, scale: float = 1.0, gain: float = 0.1, **values: object) -> Planner:
    def policy(x: Array) -> Array:
        return gain * (1.5 - x) / scale

    def dynamics(x: Array, u: Array) -> Array:
        return x + 0.5 * scale * u

    return Planner(task, PlannerSettings.from_mapping(values), lambda shape: NumpyEngine(task, dynamics, policy, shape))


def plan_twice(planner: Planner, task: Task, seed: int = 0) -> PlanningResult:
    """A plan, and one that remembers it, one step later."""
    generators = [np.random.default_rng(seed)]
    start, pending = np.zeros((1, task.observation_dim)), np.zeros((1, planner.pending_ticks, task.action_dim))
    first = planner.plan(situation(start, pending), generators)
    return planner.plan(situation(start, pending, [first.previous(0, 1)]), generators)


frames = st.fixed_dictionaries(
    {
        "shift": st.sampled_from([name for name in SHIFT_MODELS if name != "policy_feedback"]),
        "utility": st.sampled_from(sorted(UTILITIES)),
        "num_samples": st.integers(1, 20),
        "sample_decay": st.sampled_from([1.0, 1.5]),
        "horizon": st.integers(1, 6),
        "step_size": st.floats(0.0, 1.0),
        "step_size_schedule": st.sampled_from(sorted(STEP_SIZES)),
        "mirror_steps": st.integers(0, 3),
        "mirror_step_tolerance": st.sampled_from([0.0, 0.2]),
        "answer": st.sampled_from(["mean", "best"]),
        "bounds": st.sampled_from(sorted(BOUNDS)),
        "noise": st.sampled_from(sorted(NOISES)),
        "noise_standard_deviation": st.sampled_from([0.0, 0.3, 3.0]),
        "noise_last_share": st.sampled_from([0.2, 1.0, 3.0]),
        "noise_held_share": st.sampled_from([0.0, 0.5, 1.0]),
        "noise_smallest_share": st.sampled_from([0.1, 1.0]),
        "covariance": st.sampled_from(sorted(COVARIANCES)),
        "carry_covariance": st.booleans(),
        "keep_elites": st.sampled_from([0.0, 0.5, 1.0]),
        "elite_fraction": st.sampled_from([1e-6, 0.3, 1.0]),
        "elite_weighting": st.sampled_from(["uniform", "return"]),
        "temperature": st.sampled_from([0.01, 0.5]),
        "temperature_scale": st.sampled_from(["cost", "standard_deviation", "effective_share"]),
        "ensemble": st.sampled_from(sorted(ENSEMBLE_USES)),
        "discount": st.sampled_from([0.0, 0.9, 1.0]),
    }
)


@settings(max_examples=150, deadline=None)
@given(values=frames, action_dim=st.integers(1, 3), limit=st.sampled_from([0.1, 1.0]))
def test_any_frame_plans_within_the_limits(values: dict[str, Any], action_dim: int, limit: float) -> None:
    """Also with one sample, one step, one action, no noise; and the same seed gives the same plan."""
    task = any_task(action_dim, limit)
    planner = any_planner(task, **values)
    result = plan_twice(planner, task)
    horizon = values["horizon"]
    for controls in (result.controls, result.mean):
        assert controls.shape == (1, horizon, action_dim)
        assert (np.abs(controls) <= limit).all()
    assert np.isfinite(result.plan_costs).all()
    assert np.isfinite(result.deviation).all()
    assert (result.deviation >= 0.0).all()
    assert (result.effective_sample_size <= values["num_samples"] * (1.0 + 1e-9)).all()
    assert result.path_step.shape == result.proposal_cost.shape == (1,)
    again = plan_twice(any_planner(task, **values), task)
    np.testing.assert_array_equal(again.controls, result.controls)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_equivariant_under_rescaled_actions(name: str) -> None:
    """Actions in other units give the same plan in other units."""
    plans = []
    for scale in (1.0, 0.25):
        task = any_task(2, 1.0 / scale)
        plans.append(scale * plan_twice(any_planner(task, scale, **{**preset(name), "num_samples": 40}), task).controls)
    np.testing.assert_allclose(plans[1], plans[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_alpha_zero_is_the_proposal(linear_task: Task, bounds: str) -> None:
    planner = make_planner(linear_task, shift="policy", step_size=0.0, mirror_steps=2, bounds=bounds, num_samples=20)
    result = planner.plan(here(), [np.random.default_rng(0)])
    np.testing.assert_allclose(result.controls, result.policy_actions, rtol=1e-9)
    np.testing.assert_allclose(result.plan_costs, result.nominal_costs, rtol=1e-9)
    assert result.path_step[0] == pytest.approx(0.0, abs=1e-9)


def broken_planner(task: Task, broken: Callable[[Array], Array], **values: object) -> Planner:
    """Costs are what ``broken`` makes of them."""

    class Engine(NumpyEngine):
        def roll_out(self, *arguments: Array) -> Rollouts:  # type: ignore[override]
            found = super().roll_out(*arguments)
            return found if self.shape.with_trajectory else replace(found, term_costs=broken(found.term_costs))

    settings_ = PlannerSettings.from_mapping({"horizon": 4, "num_samples": 20, **values})
    return Planner(
        task, settings_, lambda shape: Engine(task, lambda x, u: x + 0.5 * u, lambda x: 0.1 - 0.1 * x, shape)
    )


@pytest.mark.parametrize("utility", UTILITIES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_without_a_cost_have_no_weight(utility: str, value: float) -> None:
    task = any_task(1)

    def spoiled(costs: Array) -> Array:
        costs = costs.copy()
        costs[:, ::2] = value
        return costs

    def dear(costs: Array) -> Array:
        return np.where(np.arange(costs.shape[1])[:, None] % 2 == 0, 1e15, costs)

    names = {"utility": utility, "shift": "shift_and_zero", "step_size": 1.0}
    result = plan_twice(broken_planner(task, spoiled, **names), task)
    assert np.isfinite(result.controls).all()
    if utility == "elite_fraction":
        np.testing.assert_allclose(result.controls, plan_twice(broken_planner(task, dear, **names), task).controls)


@pytest.mark.parametrize("name", PRESETS)
def test_without_any_cost_the_plan_is_the_proposal(name: str) -> None:
    """The layer sees from the plan's own cost whether it may be used."""
    task = any_task(1)
    planner = broken_planner(task, lambda costs: np.full_like(costs, np.nan), **{**preset(name), "num_samples": 20})
    result = plan_twice(planner, task)
    assert result.path_step[0] == pytest.approx(0.0, abs=1e-6)
    assert result.effective_sample_size[0] == 0.0


def test_equal_costs_weigh_the_same() -> None:
    task = any_task(1)
    values = {"utility": "exponential", "shift": "shift_and_zero", "step_size": 1.0, "temperature_scale": "cost"}
    result = plan_twice(broken_planner(task, np.ones_like, **values), task)
    assert result.effective_sample_size[0] == pytest.approx(20.0)


def test_a_diverging_policy_spoils_its_samples_only() -> None:
    """Samples that follow the policy have no weight where it is no number, and leave no trace in the mean."""
    task = any_task(1)

    def policy(x: Array) -> Array:
        return np.where(x > 0.05, np.nan, -0.1 * np.ones_like(x))

    values = {
        "horizon": 4,
        "num_samples": 64,
        "shift": "policy_feedback",
        "step_size": 1.0,
        "noise_standard_deviation": 0.3,
    }
    planner = Planner(
        task,
        PlannerSettings.from_mapping(values),
        lambda shape: NumpyEngine(task, lambda x, u: x + 0.5 * u, policy, shape),
    )
    result = planner.plan(situation(np.zeros((1, 1)), np.zeros((1, 0, 1))), [np.random.default_rng(0)])
    assert np.isfinite(result.controls).all()
    assert 0.0 < result.effective_sample_size[0] < 64.0


@pytest.mark.parametrize("scale", ["effective_share", "cost"])
def test_steps_however_long_leave_squashed_plans_where_tanh_ends(scale: str) -> None:
    """A temperature near zero makes steps of a billion deviations; the next ones go on from where they lead."""
    task = any_task(2)
    values = {"utility": "expected_cost", "temperature_scale": scale, "temperature": 1e-9, "bounds": "squash"}
    planner = any_planner(task, **values, num_samples=6, mirror_steps=8, horizon=4, covariance="adapted")
    result = plan_twice(planner, task)
    assert np.isfinite(result.controls).all()
    assert (result.deviation < 20.0).all()


# Ensembles


def test_mean_and_worst_of_the_members(linear_task: Task) -> None:
    """One member is pushed away hard: 'worst' plans for it, 'mean' for what happens on average."""
    dynamics = linear_dynamics_model((0.0, 0.0, 0.4))
    bundle = make_bundle(linear_task, policy=linear_policy(linear_task), dynamics=dynamics)
    found = {}
    for use in ENSEMBLE_USES:
        values = {"horizon": HORIZON, "num_samples": 600, "ensemble": use, "shift": "shift_and_zero",
                  "noise_standard_deviation": 0.03, "mirror_steps": 30}  # fmt: skip
        planner = Planner(
            linear_task, PlannerSettings.from_mapping(values), lambda s: OnnxEngine(linear_task, bundle, s)
        )
        found[use] = planner.plan(here(), [np.random.default_rng(0)]).controls[0, :, 0]
    # The member that is pushed needs more pull. Elites of single members come from those that flatter: optimism.
    assert (found["worst"] - found["mean"]).mean() < -0.4
    assert (found["split"] - found["mean"]).mean() > 0.5


def test_the_worst_member_decides() -> None:
    costs = np.array([[1.0, 5.0, np.nan, 2.0], [3.0, 1.0, 1.0, 2.0]])
    np.testing.assert_array_equal(ENSEMBLE_USES["worst"](costs), [3.0, 5.0, np.inf, 2.0])
    np.testing.assert_array_equal(ENSEMBLE_USES["mean"](costs)[:2], [2.0, 3.0])


@pytest.mark.parametrize("use", ["mean", "worst"])
def test_any_number_of_samples_meets_all_members(linear_task: Task, linear_bundle: Bundle, use: str) -> None:
    values = {"horizon": HORIZON, "num_samples": 7, "ensemble": use}
    planner = Planner(
        linear_task, PlannerSettings.from_mapping(values), lambda s: OnnxEngine(linear_task, linear_bundle, s)
    )
    assert np.isfinite(planner.plan(here(), [np.random.default_rng(0)]).controls).all()
    with pytest.raises(ConfigurationError, match="num_samples = 7: must be a multiple of the model's 3 members"):
        Planner(
            linear_task,
            PlannerSettings.from_mapping({**values, "ensemble": "split"}),
            lambda s: OnnxEngine(linear_task, linear_bundle, s),
        )


# Settings


@pytest.mark.parametrize("values", [{"bounds": "squash"}, {"keep_elites": 0.5}])
def test_what_does_not_go_together_is_told(linear_task: Task, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="must be clip and 0 with shift 'policy_feedback'"):
        make_planner(linear_task, shift="policy_feedback", **values)


def test_a_carried_spread_moves_on_with_the_plan(linear_task: Task) -> None:
    planner = make_planner(
        linear_task,
        num_samples=200,
        mirror_steps=3,
        covariance="adapted",
        carry_covariance=True,
        covariance_step_size=0.5,
    )
    generators = [np.random.default_rng(0)]
    first = planner.plan(here(), generators)
    # With no further mirror step the second plan's spread is the first one's, moved on by two steps.
    planner.settings = replace(planner.settings, mirror_steps=0)
    second = planner.plan(here(first.previous(0, 2)), generators)
    np.testing.assert_array_equal(second.deviation[0, :-2], first.deviation[0, 2:])
    np.testing.assert_allclose(second.deviation[0, -2:], 2.5)


def test_the_step_size_diminishes_with_the_plans(linear_task: Task) -> None:
    planner = make_planner(linear_task, num_samples=50, mirror_steps=1, step_size_schedule="diminishing", step_size=1.0)
    generators, previous, plans = [np.random.default_rng(0)], None, []
    for _ in range(3):
        result = planner.plan(here(previous), generators)
        previous = result.previous(0, 0)
        plans.append(int(result.plans[0]))
    assert plans == [1, 2, 3]


def test_parts_of_ones_own(linear_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """A utility and a shift model added in two lines are known to the settings and used by the planner."""

    def cheapest(costs: Array, _settings: PlannerSettings) -> Array:
        return (np.arange(costs.shape[-1]) == costs.argmin(axis=-1, keepdims=True)).astype(float)

    with pytest.raises(ConfigurationError, match="utility = 'cheapest': must be one of"):
        PlannerSettings(utility="cheapest")
    monkeypatch.setitem(UTILITIES, "cheapest", cheapest)
    own = ShiftModel("shift_and_two", False, True, lambda plan, middle: 2.0 + 0.0 * middle, False, "Two appended.")
    monkeypatch.setitem(SHIFT_MODELS, "shift_and_two", own)
    planner = make_planner(linear_task, utility="cheapest", shift="shift_and_two", step_size=1.0, mirror_steps=1)
    result = planner.plan(here(), [np.random.default_rng(0)])
    assert result.effective_sample_size[0] == 1.0
    planner.settings = replace(planner.settings, mirror_steps=0)
    np.testing.assert_array_equal(planner.plan(here(), [np.random.default_rng(0)]).controls, 2.0)


def test_the_path_is_how_far_the_search_moved(linear_task: Task) -> None:
    """In units of half the action range, over all entries."""
    planner = make_planner(linear_task, shift="policy", num_samples=50, mirror_steps=1)
    result = planner.plan(here(), [np.random.default_rng(0)])
    planner.settings = replace(planner.settings, mirror_steps=0)
    proposal = planner.plan(here(), [np.random.default_rng(0)])
    expected = np.sqrt(np.square((result.controls - proposal.controls) / 50.0).sum())
    assert result.path_step[0] == pytest.approx(expected)
    assert result.proposal_cost[0] == pytest.approx(proposal.plan_costs.sum())


def test_situations_of_many_robots_are_independent(linear_task: Task) -> None:
    planner = make_planner(linear_task, num_samples=30, mirror_steps=2, covariance="adapted", keep_elites=1.0)
    starts = np.array([START, 1e9 * START])
    ones = np.ones_like(starts)
    both = Situations(starts, np.stack([PENDING, PENDING]), [None, None], ones, 0.0 * ones)
    result = planner.plan(both, [np.random.default_rng(0), np.random.default_rng(1)])
    alone = planner.plan(here(), [np.random.default_rng(0)])
    np.testing.assert_allclose(result.controls[0], alone.controls[0], rtol=1e-9)


@pytest.mark.parametrize("shift", ["shift_and_repeat", "shift_and_mean", "shift_and_zero", "shift_and_middle"])
def test_candidates_that_wait_for_the_plan_give_the_same_result(
    linear_task: Task, shift: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing of the proposal depends on the model, it is rolled out with the plan, not before."""
    task = replace(linear_task, unmodelled_ticks=0)
    starts = np.array([[1.0, -0.5], [0.3, 0.2], [-0.7, 0.4]])

    def plans() -> list[PlanningResult]:
        planner = make_planner(task, shift=shift, mirror_steps=2, num_samples=20)
        generators, previous, made = [np.random.default_rng(i) for i in range(3)], [None] * 3, []
        for _ in range(3):
            made.append(planner.plan(situation(starts, np.zeros((3, 0, 1)), previous), generators))
            previous = [made[-1].previous(robot, 1) for robot in range(3)]
        return made

    waited = plans()
    monkeypatch.setattr(Planner, "_may_wait", lambda _: False)
    for one, other in zip(waited, plans(), strict=True):
        for field in fields(PlanningResult):
            np.testing.assert_allclose(getattr(one, field.name), getattr(other, field.name), rtol=1e-9, atol=1e-12)
