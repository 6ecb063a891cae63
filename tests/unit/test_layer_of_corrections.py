"""The layer where plans decide on corrections held over several ticks: timing, ground truth, offset-free tracking.

The plant is a first-order lag x ← a x + b u with the policy u = −k x inside; a correction c adds B c to u. The model of
the closed loop over a decision, with the correction before still in force at its start, is exact by hand.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from demo_control.bundle import Bundle, BundleError, Contract, make_bundle
from demo_control.configuration import ConfigurationError
from demo_control.controllers import LayerController
from demo_control.corrections import LinearCorrection
from demo_control.layer import DemoLayer, LayerSettings
from demo_control.onnx_graph import GraphBuilder
from demo_control.tasks import BEFORE, Array, CostTerm, Planning, Quantity, Task, Transition

from .conftest import NearScore, linear_policy

DECAY, GAIN, POLICY = 0.97, 0.1, -0.4
BASIS = 0.5
DECISION_TICKS, PLANNING_TICKS = 5, 2
TARGET = 1.0


def _apply(x: object, y: object, u: object, _xp: object) -> object:
    return {"position": x["position"] + y["change"], "spare" + BEFORE: u["spare"]}


def make_task(planner: dict[str, object] | None = None) -> Task:
    planning = Planning(
        observation=("position",),
        correction=(Quantity("spare", "1", -4.0, 4.0),),
        correct=LinearCorrection(np.array([[BASIS]])),
        decision_ticks=DECISION_TICKS,
        planning_ticks=PLANNING_TICKS,
        model_inputs=("position", "spare" + BEFORE),
        transition=Transition(("change",), lambda x, x_next, _u: x_next[:, :1] - x[:, :1], _apply),
        offset_entries=("position",),
    )
    return Task(
        name="lag",
        observation=(Quantity("unused", "1", -1.0, 1.0), Quantity("position", "m", -5.0, 5.0)),
        action=(Quantity("push", "N", -2.0, 2.0),),
        control_period_s=0.01,
        episode_s=1.0,
        cost_terms=(CostTerm("target", 1.0, lambda x, u, xp: (x["position"] - TARGET) ** 2, "Squared distance."),),
        model_inputs=("position",),
        simulators=("exact",),
        make_plants=lambda *_: pytest.fail("no plants here"),
        make_score=NearScore,
        planner={
            "shift": "shift_and_repeat", "num_samples": 200, "horizon": 4, "mirror_steps": 4,
            "noise_standard_deviation": 0.1, "terminal_weight": 1.0, "plan_period_ticks": DECISION_TICKS,
            "maximum_plan_age_ticks": 10, "minimum_gain": -1e9, "adapt_model": False,
        } | (planner or {}),
        planning=planning,
    )  # fmt: skip


def closed_loop(position: float, correction: float) -> float:
    return DECAY * position + GAIN * (POLICY * position + BASIS * correction)


def make_lag_bundle(task: Task) -> Bundle:
    """The exact model: PLANNING_TICKS under the correction before, the rest under the new one."""
    rate = DECAY + GAIN * POLICY
    push = [sum(GAIN * BASIS * rate**k for k in range(first, last)) for first, last in
            ((DECISION_TICKS - PLANNING_TICKS, DECISION_TICKS), (0, DECISION_TICKS - PLANNING_TICKS))]  # fmt: skip
    graph = GraphBuilder("lag")
    x = graph.input("observation", (1, "batch", 2))
    u = graph.input("action", (1, "batch", 1))
    matrix = graph.constant([[[rate**DECISION_TICKS, 0.0], [push[0], 0.0]]])
    moved = graph.node("MatMul", x, matrix)
    following = graph.node("Add", moved, graph.node("MatMul", u, graph.constant([[[push[1], 1.0]]])))
    graph.output("next_observation", following, (1, "batch", 2))
    graph.output("log_variance", graph.node("Mul", u, graph.constant(0.0)), (1, "batch", 1))
    policy = linear_policy(task, np.array([[0.0, POLICY]]))
    return make_bundle(task, policy=policy, dynamics=graph.build())


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task()


@pytest.fixture(scope="module")
def bundle(task: Task) -> Bundle:
    return make_lag_bundle(task)


def simulate(layer: DemoLayer, ticks: int, *, disturbance: float = 0.0, start: float = 0.0) -> tuple[Array, Array]:
    """Positions, Shape=(ticks + 1,), and corrected minus nominal actions, Shape=(ticks,)."""
    position, positions, added = start, [start], []
    for sequence in range(ticks):
        observation = np.array([0.0, position])
        nominal = POLICY * position
        values = layer.correct(sequence, np.array([nominal])).values
        assert values is not None
        if sequence % DECISION_TICKS == 0:
            layer.plan(sequence, observation)
        added.append(float(values[0]) - nominal)
        position = DECAY * position + GAIN * (float(values[0]) + disturbance)
        positions.append(position)
    return np.array(positions), np.array(added)


def test_a_plan_takes_effect_after_the_planning_time_and_is_held(task: Task, bundle: Bundle) -> None:
    layer = DemoLayer(task, bundle, LayerSettings.for_task(task), seed=0)
    _, added = simulate(layer, 22)
    changes = np.flatnonzero(np.abs(np.diff(added)) > 1e-9) + 1
    assert changes.tolist() == [2, 7, 12, 17]
    np.testing.assert_array_equal(added[:2], 0.0)


def test_the_prediction_is_what_happens(task: Task, bundle: Bundle) -> None:
    """The model knows of the correction in force: after the first plan every prediction is exact."""
    settings = LayerSettings.for_task(task, {"offset_gain": 1.0})
    layer = DemoLayer(task, bundle, settings, seed=0)
    simulate(layer, 41)
    np.testing.assert_allclose(layer._corrector._adaptation.change_offset, 0.0, atol=1e-6)


def test_reaches_a_target_that_the_policy_does_not(task: Task, bundle: Bundle) -> None:
    layer = DemoLayer(task, bundle, LayerSettings.for_task(task), seed=0)
    positions, _ = simulate(layer, 400)
    assert abs(positions[-100:].mean() - TARGET) < 0.03


@pytest.mark.parametrize(("gain", "tolerance"), [(0.0, np.inf), (0.3, 0.03)])
def test_tracks_without_offset_under_an_unknown_disturbance(
    task: Task, bundle: Bundle, gain: float, tolerance: float
) -> None:
    layer = DemoLayer(task, bundle, LayerSettings.for_task(task, {"offset_gain": gain}), seed=0)
    positions, _ = simulate(layer, 800, disturbance=-0.5)
    error = abs(positions[-200:].mean() - TARGET)
    assert error < tolerance
    if not gain:
        assert error > 0.05


def test_a_plan_that_is_not_worth_it_leaves_the_policy_alone(task: Task, bundle: Bundle) -> None:
    layer = DemoLayer(task, bundle, LayerSettings.for_task(task, {"minimum_gain": 1e6}), seed=0)
    _, added = simulate(layer, 60)
    np.testing.assert_array_equal(added, 0.0)
    assert layer.counters.fallbacks["plan_rejected"] == 59


@pytest.mark.parametrize(("full_gain", "share"), [(2.5, 0.25), (1.5, 0.5), (1.0, 1.0), (0.2, 1.0)])
def test_a_plan_of_small_gain_is_followed_in_part(task: Task, bundle: Bundle, full_gain: float, share: float) -> None:
    """The least gain is half of the plan's, ``full_gain`` so many times the plan's."""
    usual = DemoLayer(task, bundle, LayerSettings.for_task(task), seed=0)
    usual.correct(0, np.array([0.0]))
    gain = usual.plan(0, np.zeros(2)).predicted_gain
    assert gain > 0.0
    settings = LayerSettings.for_task(task, {"minimum_gain": 0.5 * gain, "full_gain": full_gain * gain})
    layer = DemoLayer(task, bundle, settings, seed=0)
    layer.correct(0, np.array([0.0]))
    report = layer.plan(0, np.zeros(2))
    assert report.accepted
    assert report.followed_share == pytest.approx(share, abs=1e-9)
    answers = [each.correct(PLANNING_TICKS, np.array([0.0])).values for each in (usual, layer)]
    assert answers[0] is not None
    assert answers[1] is not None
    np.testing.assert_allclose(answers[1], share * answers[0], atol=1e-9)


def test_a_plan_followed_in_part_is_predicted_so(task: Task, bundle: Bundle) -> None:
    """The model is linear here, so that what half a plan does is known exactly: nothing is left for the offset."""
    settings = LayerSettings.for_task(task, {"offset_gain": 1.0, "minimum_gain": 0.0, "full_gain": 5.0})
    layer = DemoLayer(task, bundle, settings, seed=0)
    _, added = simulate(layer, 41)
    assert np.abs(added).max() > 0.01
    np.testing.assert_allclose(layer._corrector._adaptation.change_offset, 0.0, atol=1e-6)


@pytest.mark.parametrize(("share", "kept"), [(0.0, False), (0.5, True)])
def test_a_plan_that_is_not_worth_it_is_remembered_in_part(
    task: Task, bundle: Bundle, share: float, kept: bool
) -> None:
    settings = LayerSettings.for_task(task, {"minimum_gain": 1e6, "rejected_plan_share": share})
    layer = DemoLayer(task, bundle, settings, seed=0)
    simulate(layer, 11)
    plan = layer._corrector.plan
    assert plan is not None
    previous = layer._corrector.previous(15)
    assert (previous is not None) == kept
    if previous is not None:
        np.testing.assert_array_equal(previous.controls, 0.5 * plan.search.controls)


@pytest.mark.parametrize("made", [np.nan, np.inf])
def test_a_correction_map_that_makes_no_number_leaves_the_policy_alone(
    task: Task, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, made: float
) -> None:
    layer = DemoLayer(task, bundle, LayerSettings.for_task(task), seed=0)
    layer.correct(0, np.array([0.5]))
    assert layer.plan(0, np.array([0.0, 1.0])).rejection_reason == ""
    in_force = PLANNING_TICKS
    assert layer.correct(in_force, np.array([0.5])).source == "demo_layer"
    monkeypatch.setattr(LinearCorrection, "__call__", lambda _self, actions, _corrections: actions + made)
    answer = layer.correct(in_force + 1, np.array([0.5]))
    assert (answer.source, answer.reason) == ("policy", "non_finite_correction")
    np.testing.assert_array_equal(answer.values, [0.5])
    np.testing.assert_array_equal(answer.control, [0.0])


def test_the_controller_of_many_robots_does_the_same(task: Task, bundle: Bundle) -> None:
    settings = LayerSettings.for_task(task)
    layer = DemoLayer(task, bundle, settings, seed=0)
    positions, added = simulate(layer, 30)
    controller = LayerController(task, bundle, settings, 2)
    controller.reset([np.random.default_rng(0), np.random.default_rng(1)])
    for position, expected in zip(positions, added, strict=False):
        actions = controller.act(np.array([[0.0, position], [0.0, 0.1]]))
        np.testing.assert_allclose(actions[0] - POLICY * position, expected, atol=1e-6)


def test_the_bundle_describes_the_planning_problem(task: Task, bundle: Bundle) -> None:
    contract = Contract.from_json(bundle.contract.to_json())
    assert contract == bundle.contract
    assert contract.model_period_s == pytest.approx(0.05)
    contract.check_task(task)


def test_a_bundle_of_another_planning_problem_is_refused(task: Task, bundle: Bundle) -> None:
    assert task.planning is not None
    other = dataclasses.replace(
        task, planning=dataclasses.replace(task.planning, correct=LinearCorrection(np.array([[0.25]])))
    )
    with pytest.raises(BundleError, match=r"planning\.correction_map"):
        bundle.contract.check_task(other)
    with pytest.raises(BundleError, match="model_period_s"):
        bundle.contract.check_task(dataclasses.replace(task, planning=None))


def test_a_delay_of_commands_must_be_in_the_model(task: Task, bundle: Bundle) -> None:
    with pytest.raises(ConfigurationError, match="command_delay_ticks"):
        DemoLayer(task, bundle, LayerSettings.for_task(task, {"command_delay_ticks": 1}), seed=0)


def test_plans_that_would_not_begin_before_the_next_one_are_refused(task: Task, bundle: Bundle) -> None:
    """Each would take the place of the one that waits: none would ever begin."""
    layer = DemoLayer(task, bundle, LayerSettings.for_task(task, {"plan_period_ticks": PLANNING_TICKS}), seed=0)
    _, added = simulate(layer, 60)
    assert layer.counters.fallbacks == {"no_plan": 1, "stale_plan": PLANNING_TICKS - 1}
    assert np.abs(added).max() > 0.01

    too_often = LayerSettings.for_task(task, {"plan_period_ticks": PLANNING_TICKS - 1})
    text = "plan_period_ticks = 1: must be at least 2 for 'lag'"
    with pytest.raises(ConfigurationError, match=text):
        layer.update_settings(too_often)
    assert layer.settings.plan_period_ticks == PLANNING_TICKS
    for refused in (lambda: DemoLayer(task, bundle, too_often, 0), lambda: LayerController(task, bundle, too_often, 1)):
        with pytest.raises(ConfigurationError, match=text):
            refused()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"planning_ticks": DECISION_TICKS}, "planning_ticks"),
        ({"correction": (Quantity("spare", "1", 0.5, 4.0),)}, "must contain 0"),
    ],
)
def test_refuses_a_planning_problem_that_makes_no_sense(task: Task, change: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        dataclasses.replace(task.planning, **change)


def _adds_one(actions: np.ndarray, _corrections: np.ndarray) -> np.ndarray:
    return actions + 1.0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"observation": ("height",)}, "observation names 'height', must be of the task's: unused, position"),
        # NumPy would make two actions of one.
        ({"correct": LinearCorrection(np.ones((2, 1)))}, r"actions of the shape \(3, 1\) become \(3, 2\), must stay"),
        ({"correct": LinearCorrection(np.ones((1, 2)))}, "correct: ValueError: "),
        ({"correct": _adds_one}, "a correction of zero must leave every action as it is"),
    ],
)
def test_refuses_a_planning_problem_that_does_not_fit_the_task(
    task: Task, change: dict[str, object], text: str
) -> None:
    """Not when the first command is made of it."""
    assert task.planning is not None
    with pytest.raises(ConfigurationError, match=text):
        dataclasses.replace(task, planning=dataclasses.replace(task.planning, **change))
