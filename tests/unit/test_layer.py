"""The DeMo layer: what it answers, when it passes the nominal action through, and what it tells."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.bundle import Bundle, BundleError, make_bundle
from demo_control.configuration import ConfigurationError
from demo_control.layer import Corrector, DemoLayer, LayerSettings, Plan
from demo_control.mpc import PRESETS, PlanningResult, Situations, preset
from demo_control.policies import OnnxPolicy
from demo_control.tasks import CostTerm, Quantity, Task

from .conftest import INPUT_MATRIX, STATE_MATRIX, linear_dynamics_model, linear_policy, make_linear_task

STATE = np.array([1.0, -0.5])
NOMINAL = np.array([0.2])


@pytest.fixture
def layer(linear_task: Task, linear_bundle: Bundle) -> DemoLayer:
    return DemoLayer(linear_task, linear_bundle, LayerSettings.for_task(linear_task), seed=0)


def with_settings(layer: DemoLayer, **changes: object) -> None:
    layer.update_settings(dataclasses.replace(layer.settings, **changes))


def test_settings_come_from_the_task(layer: DemoLayer) -> None:
    assert layer.settings.horizon == 10
    assert layer.settings.step_size == 0.6


def test_answers_with_the_plan_where_the_prediction_holds(linear_task: Task, linear_bundle: Bundle) -> None:
    """On a robot that moves as predicted, the corrected action is the plan itself."""
    policy = OnnxPolicy(linear_bundle.policy)
    bundle = make_bundle(linear_task, policy=linear_bundle.policy, dynamics=linear_dynamics_model((0.0, 0.0, 0.0)))
    layer = DemoLayer(linear_task, bundle, LayerSettings.for_task(linear_task), seed=0)
    state = STATE
    command = layer.correct(0, policy.act(state[None])[0]).values
    report = layer.plan(0, state)
    plan = layer._corrector.plan
    assert report.accepted
    assert plan is not None
    for sequence in range(1, 5):
        state = STATE_MATRIX @ state + INPUT_MATRIX @ command
        correction = layer.correct(sequence, policy.act(state[None])[0])
        command = correction.values
        assert (correction.source, correction.reason) == ("demo_layer", "")
        np.testing.assert_allclose(command, plan.controls[sequence - 1], atol=1e-4)


def test_the_policys_reaction_to_a_difference_is_kept(layer: DemoLayer) -> None:
    layer.correct(0, NOMINAL)
    layer.plan(0, STATE)
    usual = layer.correct(1, NOMINAL).values
    layer.reset()
    layer.correct(0, NOMINAL)
    layer.plan(0, STATE)
    np.testing.assert_allclose(layer.correct(1, NOMINAL + 0.125).values, usual + 0.125)


def test_passes_through_before_the_first_plan(layer: DemoLayer) -> None:
    correction = layer.correct(0, NOMINAL)
    assert (correction.source, correction.reason) == ("policy", "no_plan")
    np.testing.assert_array_equal(correction.values, NOMINAL)
    assert layer.counters.fallbacks == {"no_plan": 1}
    assert layer.counters.commands == 1


@pytest.mark.parametrize("gap", [12, 100, 10**9])
def test_an_old_plan_is_stale(layer: DemoLayer, gap: int) -> None:
    layer.correct(0, NOMINAL)
    layer.plan(0, STATE)
    assert layer.correct(10, NOMINAL).reason == ""
    correction = layer.correct(gap, NOMINAL)
    assert correction.reason == "stale_plan"
    np.testing.assert_array_equal(correction.values, NOMINAL)


def test_a_plan_is_not_used_before_its_time(layer: DemoLayer) -> None:
    layer.correct(5, NOMINAL)
    layer.plan(5, STATE)
    assert layer.correct(5, NOMINAL).reason == "stale_plan"


def test_disabled(layer: DemoLayer) -> None:
    layer.correct(0, NOMINAL)
    layer.plan(0, STATE)
    with_settings(layer, use_layer=False)
    assert layer.correct(1, NOMINAL).reason == "disabled"
    with_settings(layer, use_layer=True)
    assert layer.correct(1, NOMINAL).reason == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"minimum_gain": 1e6}, "no_gain"), ({"maximum_disagreement": 1e-9}, "disagreement")],
)
def test_a_rejected_plan_is_not_used(layer: DemoLayer, change: dict[str, float], reason: str) -> None:
    with_settings(layer, **change)
    layer.correct(0, NOMINAL)
    report = layer.plan(0, STATE)
    assert (report.accepted, report.rejection_reason) == (False, reason)
    correction = layer.correct(1, NOMINAL)
    assert correction.reason == "plan_rejected"
    np.testing.assert_array_equal(correction.values, NOMINAL)


@pytest.mark.parametrize("full_gain", [-1e9, 5.0])
@pytest.mark.parametrize(("nominal_cost", "accepted"), [(-np.inf, False), (np.inf, True), (np.nan, True)])
def test_a_policy_that_diverges_on_the_model_loses_unless_it_gains_beyond_all_numbers(
    layer: DemoLayer, monkeypatch: pytest.MonkeyPatch, nominal_cost: float, accepted: bool, full_gain: float
) -> None:
    """A value function may praise a state that the policy's rollout diverges to."""
    with_settings(layer, full_gain=full_gain)
    make_plan = layer._planner.plan

    def plan(situations: Situations, generators: Sequence[np.random.Generator]) -> PlanningResult:
        result = make_plan(situations, generators)
        return dataclasses.replace(result, nominal_costs=np.full_like(result.nominal_costs, nominal_cost))

    monkeypatch.setattr(layer._planner, "plan", plan)
    layer.correct(0, NOMINAL)
    report = layer.plan(0, STATE)
    assert (report.accepted, report.rejection_reason) == (accepted, "" if accepted else "no_gain")
    assert report.followed_share == float(accepted)
    correction = layer.correct(1, NOMINAL)
    assert correction.values is not None
    if not accepted:
        np.testing.assert_array_equal(correction.values, NOMINAL)


@pytest.mark.parametrize(
    ("nominal", "reason"),
    [
        (np.array([np.nan]), "non_finite_nominal"),
        (np.array([np.inf]), "non_finite_nominal"),
        (np.array([0.0, 1.0]), "wrong_shape"),
        (np.array([]), "wrong_shape"),
    ],
)
def test_a_nominal_action_that_is_no_action_is_not_answered(layer: DemoLayer, nominal: np.ndarray, reason: str) -> None:
    correction = layer.correct(0, nominal)
    assert correction.values is None
    assert correction.reason == reason
    assert layer.counters.fallbacks == {reason: 1}
    assert layer.counters.commands == 0


@pytest.mark.parametrize("observation", [[np.nan, 0.0], [np.inf, 0.0], [1e30, -1e30], [-3e38, 3e38]])
def test_an_observation_beyond_all_numbers_gives_a_rejected_plan(layer: DemoLayer, observation: list[float]) -> None:
    layer.correct(0, NOMINAL)
    report = layer.plan(0, np.array(observation))
    if not report.accepted:
        assert report.rejection_reason in {"not_finite", "cost_not_finite", "no_gain", "disagreement"}
    values = layer.correct(1, NOMINAL).values
    assert np.isfinite(values).all()


@given(
    controls=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=4),
    answers=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=4, max_size=4),
    nominal=st.floats(allow_nan=False, allow_infinity=False),
)
def test_no_correction_leaves_the_limits(controls: list[float], answers: list[float], nominal: float) -> None:
    task = make_linear_task()
    corrector = Corrector(task, LayerSettings.for_task(task), 10)
    with np.errstate(all="ignore"):
        planned = np.array(controls)[:, None]
        corrector.plan = Plan(1, planned, np.array(answers)[: len(controls), None], planned)
        correction = corrector.correct(1, np.array([nominal]))
    if correction.source == "demo_layer":
        assert correction.values is not None
        assert (np.abs(correction.values) <= task.action_maximum).all()


def test_pending_commands_are_those_in_force(linear_task: Task) -> None:
    corrector = Corrector(linear_task, LayerSettings.for_task(linear_task), 10)
    np.testing.assert_array_equal(corrector.pending(3, 2), [[0.0], [0.0]])
    for sequence, value in ((1, 1.0), (2, 2.0), (4, 4.0)):
        corrector.correct(sequence, np.array([value]))
    # Observation 3 was never answered: the command before stays in force.
    np.testing.assert_array_equal(corrector.pending(4, 4), [[1.0], [2.0], [2.0], [4.0]])
    np.testing.assert_array_equal(corrector.pending(3, 3), [[1.0], [2.0], [2.0]])


def test_an_answer_that_was_overtaken_is_not_in_force(linear_task: Task) -> None:
    corrector = Corrector(linear_task, LayerSettings.for_task(linear_task), 10)
    for sequence, value in ((6, 1.0), (8, 2.0), (7, -3.0), (8, 4.0)):
        corrector.correct(sequence, np.array([value]))
    np.testing.assert_array_equal(corrector.pending(8, 3), [[1.0], [-3.0], [4.0]])
    np.testing.assert_array_equal(corrector.planning_observation(8, STATE), STATE)
    corrector.correct(7, np.array([5.0]))
    np.testing.assert_array_equal(corrector.pending(9, 2), [[4.0], [4.0]])


def test_reports_what_it_did(layer: DemoLayer) -> None:
    layer.correct(0, NOMINAL)
    report = layer.plan(0, STATE)
    assert report.observation_sequence == 0
    assert report.cost_terms == ("position", "velocity", "effort")
    assert report.num_samples == 63
    assert report.horizon == 10
    assert report.nominal_cost == pytest.approx(sum(report.nominal_costs))
    assert report.predicted_gain == pytest.approx(report.nominal_cost - report.plan_cost)
    assert 1.0 <= report.effective_sample_size <= 63.0
    assert report.ensemble_disagreement == pytest.approx(np.std([-0.02, 0.0, 0.02]) / 5.0 / np.sqrt(2.0), rel=1e-3)
    assert report.plan_time_s > 0.0
    assert layer.counters.plans == 1


def test_a_run_repeats_bit_for_bit(linear_task: Task, linear_bundle: Bundle) -> None:
    def run() -> np.ndarray:
        layer = DemoLayer(linear_task, linear_bundle, LayerSettings.for_task(linear_task), seed=7)
        commands = []
        for sequence in range(20):
            commands.append(layer.correct(sequence, np.array([0.1 * sequence])).values)
            layer.plan(sequence, STATE * np.cos(sequence))
        return np.array(commands)

    np.testing.assert_array_equal(run(), run())


def test_reset_repeats_the_run(layer: DemoLayer) -> None:
    runs = []
    for _ in range(2):
        layer.reset()
        layer.correct(0, NOMINAL)
        runs.append(layer.plan(0, STATE).plan_cost)
    assert runs[0] == runs[1]
    assert layer.counters.plans == 1


def test_settings_that_need_a_new_graph_cannot_change_in_flight(layer: DemoLayer) -> None:
    with pytest.raises(ConfigurationError, match=r"horizon: cannot change while the layer runs \(10 -> 11\)"):
        with_settings(layer, horizon=11)
    with_settings(layer, step_size=0.0)
    layer.correct(0, NOMINAL)
    report = layer.plan(0, STATE)
    assert report.plan_cost == pytest.approx(report.nominal_cost, rel=1e-5)


def test_cost_weights_can_change_in_flight(layer: DemoLayer) -> None:
    layer.update_cost_weights({"effort": 0.0})
    assert layer.cost_weights == {"position": 1.0, "velocity": 0.1, "effort": 0.0}
    layer.correct(0, NOMINAL)
    assert layer.plan(0, STATE).plan_costs[2] == 0.0
    with pytest.raises(ConfigurationError, match="cost weight 'speed': unknown; known: position"):
        layer.update_cost_weights({"speed": 1.0})
    with pytest.raises(ConfigurationError, match=r"'effort' = -1.0: must be finite and at least 0"):
        layer.update_cost_weights({"effort": -1.0})


def test_a_change_in_flight_waits_for_no_plan(layer: DemoLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control thread changes them; the next command follows, and the next plan."""
    is_planning, may_end = threading.Event(), threading.Event()
    make_plan = layer._planner.plan

    def slow_plan(situations: Situations, generators: Sequence[np.random.Generator]) -> PlanningResult:
        is_planning.set()
        assert may_end.wait(20.0)
        return make_plan(situations, generators)

    layer.correct(0, NOMINAL)
    layer.plan(0, STATE)
    layer.correct(1, NOMINAL)
    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as thread:
        patch.setattr(layer._planner, "plan", slow_plan)
        planning = thread.submit(layer.plan, 1, STATE)
        assert is_planning.wait(20.0)
        try:
            changed = dataclasses.replace(layer.settings, minimum_gain=1e6, use_layer=False)
            state = layer.update_settings(changed)
            weighed = layer.update_cost_weights({"effort": 0.0})
            with pytest.raises(ConfigurationError, match="horizon: cannot change"):
                with_settings(layer, horizon=11)
            assert not planning.done()
            assert layer.correct(2, NOMINAL).reason == "disabled"
        finally:
            may_end.set()
        under_way = planning.result()

    assert (state.commands, state.plans) == (weighed.commands, weighed.plans) == (2, 2)
    assert (state.settings["minimum_gain"], weighed.cost_weights["effort"]) == (1e6, 0.0)
    assert under_way.accepted
    assert under_way.plan_costs[2] > 0.0
    following = layer.plan(2, STATE)
    assert following.rejection_reason == "no_gain"
    assert following.plan_costs[2] == 0.0


def test_a_plan_that_failed_is_not_counted(layer: DemoLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> PlanningResult:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(layer._planner, "plan", no_memory)
        with pytest.raises(MemoryError):
            layer.plan(0, STATE)
    assert layer.update_settings(layer.settings).plans == 0
    layer.plan(1, STATE)
    assert layer.update_settings(layer.settings).plans == 1


def test_a_bundle_is_swapped_between_two_plans(linear_task: Task, layer: DemoLayer) -> None:
    other = make_bundle(linear_task, policy=linear_policy(linear_task), dynamics=linear_dynamics_model((0.5, 0.5, 0.5)))
    layer.correct(0, NOMINAL)
    before = layer.plan(0, STATE)
    layer.swap_bundle(other)
    after = layer.plan(0, STATE)
    assert after.nominal_cost != pytest.approx(before.nominal_cost)
    assert layer.bundle is other


def test_a_bundle_that_does_not_fit_leaves_the_old_one(linear_task: Task, layer: DemoLayer) -> None:
    old = layer.bundle
    four_members = make_bundle(
        linear_task, policy=linear_policy(linear_task), dynamics=linear_dynamics_model((0.0,) * 4)
    )
    with pytest.raises(ConfigurationError, match="num_samples = 63: must be a multiple of the model's 4 members"):
        layer.swap_bundle(four_members)
    other_task = dataclasses.replace(linear_task, name="another")
    foreign = make_bundle(other_task, policy=linear_policy(other_task), dynamics=linear_dynamics_model((0.0, 0.0, 0.0)))
    with pytest.raises(BundleError, match="task = 'another'"):
        layer.swap_bundle(foreign)
    assert layer.bundle is old
    layer.correct(0, NOMINAL)
    assert layer.plan(0, STATE).accepted


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings(linear_task: Task, linear_bundle: Bundle, name: str) -> None:
    """The layer runs each of them; a first plan of few samples need not beat the policy, but says so."""
    layer = DemoLayer(linear_task, linear_bundle, LayerSettings.for_task(linear_task, preset(name)), seed=0)
    layer.correct(0, NOMINAL)
    report = layer.plan(0, STATE)
    assert report.accepted == (report.predicted_gain >= 0.0)
    assert np.isfinite([report.nominal_cost, report.plan_cost, report.regret, report.path_length]).all()


@pytest.mark.parametrize("name", ["icem", "topdm", "cem", "mppi"])
def test_a_plan_along_a_limit_that_float32_rounds_up_is_used(linear_task: Task, name: str) -> None:
    limit = 100.3
    assert float(np.float32(limit)) > limit + 1e-6
    task = dataclasses.replace(
        linear_task,
        action=(Quantity("acceleration", "m/s2", -limit, limit),),
        cost_terms=(CostTerm("pull", 1.0, lambda x, u, xp: -1.0 * u["acceleration"], "The more, the better."),),
    )
    bundle = make_bundle(task, policy=linear_policy(task), dynamics=linear_dynamics_model())
    changes = {**preset(name), "num_samples": 63, "horizon": 3, "noise_standard_deviation": 9.0}
    layer = DemoLayer(task, bundle, LayerSettings.for_task(task, changes), seed=0)
    layer.correct(0, NOMINAL)
    assert layer.plan(0, STATE).rejection_reason == ""
    plan = layer.newest_plan
    assert plan is not None
    assert (np.abs(plan.controls) <= limit).all()


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(ConfigurationError, match="preset = 'cim': must be one of mppi, cem"):
        preset("cim")
