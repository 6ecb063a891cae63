"""A swapped bundle on trial: what is compared, what is decided, who comes back, and that recordings of it come out."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bundle import Bundle, default_bundle, load_bundle, make_bundle, save_bundle
from demo_control.layer import DemoLayer, LayerSettings, TrialEnd, demo_layer
from demo_control.layer.model_step import ModelStep
from demo_control.layer.prediction_monitor import PredictionMonitor, SwapTrial
from demo_control.tasks import Array, Quantity, Task, load_task

from .conftest import INPUT_MATRIX, STATE_MATRIX, linear_dynamics_model, make_linear_task
from .recorded_bag import RobotRecorder

UNIT = np.ones(2)


def trial(**changes: float) -> SwapTrial:
    values = {"margin": 1.1, "false_alarm": 0.001, "predictions": 300, **changes}
    return SwapTrial(UNIT, values["margin"], values["false_alarm"], int(values["predictions"]))


def run(one: SwapTrial, new: float, before: float, generator: np.random.Generator) -> SwapTrial:
    """Feed errors of two sizes until it is over; what disturbs the robot disturbs both."""
    while not one.over:
        common = generator.standard_normal(2)
        own = generator.standard_normal((2, 2))
        one.add(np.array([[new], [before]]) * (0.8 * common + 0.6 * own))
    return one


def test_of_models_that_are_equally_good_hardly_one_is_rolled_back() -> None:
    generator = np.random.default_rng(0)
    worse = sum(run(trial(false_alarm=0.05, margin=1.0), 1.0, 1.0, generator).worse for _ in range(400))

    assert worse <= 0.05 * 400


def test_a_better_model_stays_and_a_worse_one_is_found_the_sooner_the_worse_it_is() -> None:
    generator = np.random.default_rng(1)
    counts = {}
    for factor in (0.5, 1.0, 2.0, 10.0):
        trials = [run(trial(), factor, 1.0, generator) for _ in range(50)]
        assert all(one.worse is (factor > 1.0) for one in trials), factor
        counts[factor] = np.mean([one.count for one in trials])

    assert counts[0.5] == counts[1.0] == 300
    assert 50 <= counts[10.0] < counts[2.0] < 200


def test_predictions_that_are_no_numbers_are_the_worst() -> None:
    one = trial()
    while not one.over:
        one.add(np.array([[np.nan, 0.0], [100.0, 100.0]]))
    assert one.worse
    assert one.count == 55  # eleven blocks of 1.9 make a thousand

    other = trial(predictions=50)
    while not other.over:
        other.add(np.array([[0.0, 0.0], [np.inf, 0.0]]))
    assert not other.worse


def test_the_running_error_is_that_of_the_model(linear_task: Task) -> None:
    """A model that says nine tenths of every change is wrong by a tenth of it."""
    monitor = PredictionMonitor(linear_task, 1)
    assert monitor.relative_error is None
    generator, state = np.random.default_rng(0), np.zeros(2)
    for sequence in range(50):
        if monitor.due(sequence) is not None:
            assert monitor.observe(state) is not None
        change = generator.standard_normal(2)
        monitor.expect(sequence, state, 0.9 * change[None])
        state = state + change

    assert monitor.relative_error == pytest.approx(0.1)
    np.testing.assert_allclose(monitor.unit, 0.1, atol=0.03)


def test_a_model_that_diverged_once_is_forgotten_like_any_other_error(linear_task: Task) -> None:
    monitor = PredictionMonitor(linear_task, 1)
    monitor.expect(0, np.zeros(2), np.full((1, 2), 1e30))
    errors = monitor.observe(np.ones(2))
    assert errors is not None
    np.testing.assert_array_equal(errors, 1e30)
    for sequence in range(1, 2000):
        monitor.expect(sequence, np.zeros(2), np.full((1, 2), 0.9))
        monitor.observe(np.ones(2))

    assert monitor.relative_error == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("values", [[1e30, 0.0], [math.nan, 0.0], [0.0], []])
def test_a_prediction_is_not_compared_with_what_no_robot_does(
    linear_task: Task, linear_bundle: Bundle, values: list[float]
) -> None:
    layer = DemoLayer(linear_task, linear_bundle, LayerSettings.for_task(linear_task), seed=0)
    for sequence, seen in enumerate(([1.0, 0.0], values, [1.0, 0.0])):
        layer.observed(sequence, seen)
        layer.correct(sequence, np.zeros(1))
        if sequence != 1:
            layer.plan(sequence, np.array(seen))

    assert layer.prediction_error is None


def test_the_observation_that_was_predicted_counts(linear_task: Task) -> None:
    monitor = PredictionMonitor(linear_task, 4)
    monitor.expect(10, np.zeros(2), np.ones((1, 2)))
    assert monitor.due(13) is None
    assert monitor.due(14) == monitor.due(20) == 14
    errors = monitor.observe(np.ones(2))
    assert errors is not None
    np.testing.assert_allclose(errors, 0.0)
    assert monitor.due(20) is None
    monitor.expect(20, np.zeros(2), np.ones((1, 2)))
    assert monitor.observe(None) is None
    monitor.expect(30, np.zeros(2), np.ones((1, 2)))
    monitor.start_anew()
    assert monitor.due(40) is None


def test_angles_are_compared_to_the_nearest_turn_and_held_entries_not_at_all() -> None:
    angle = dataclasses.replace(
        make_linear_task(),
        observation=(Quantity("position", "rad", -3.2, 3.2), Quantity("velocity", "m/s", -5.0, 5.0)),
        offset_entries=("velocity",),
    )
    monitor = PredictionMonitor(angle, 1)
    monitor.expect(0, np.array([3.1, 1.0]), np.array([[0.1, 0.5]]))
    errors = monitor.observe(np.array([3.2 - 2 * np.pi, 1.0]))

    assert errors is not None
    np.testing.assert_allclose(errors, 0.0, atol=1e-9)


def test_one_step_is_what_plans_predict(linear_task: Task, linear_bundle: Bundle) -> None:
    step = ModelStep(linear_task, linear_bundle, LayerSettings.for_task(linear_task))
    state, control = np.array([1.0, -0.5]), np.array([2.0])
    expected = STATE_MATRIX @ state + INPUT_MATRIX @ control - state
    np.testing.assert_allclose(step.change(state, control), expected, atol=1e-5)


class Robot:
    """A double integrator under the layer, with the node's order of things."""

    def __init__(self, task: Task, bundle: Bundle, **settings: object) -> None:
        self.layer = DemoLayer(task, bundle, LayerSettings.for_task(task, settings), seed=0)
        self._state: Array = np.array([1.0, 0.0])
        self._noise = np.random.default_rng(0)
        self._sequence = 0

    def tick(self) -> TrialEnd | None:
        seen = self._state + 1e-3 * self._noise.standard_normal(2)
        self.layer.observed(self._sequence, seen)
        command = self.layer.correct(self._sequence, np.array([-0.5 * seen[0] - 0.8 * seen[1]])).values
        assert command is not None
        self.layer.plan(self._sequence, seen)
        self._state = STATE_MATRIX @ self._state + INPUT_MATRIX @ command + 0.05 * self._noise.standard_normal(2)
        self._sequence += 1
        return self.layer.end_trial()

    def run(self, ticks: int) -> TrialEnd | None:
        return next((ended for _ in range(ticks) if (ended := self.tick()) is not None), None)


def with_model(task: Task, bundle: Bundle, shifts: tuple[float, ...]) -> Bundle:
    """A bundle whose members are wrong by something each."""
    return make_bundle(task, policy=bundle.policy, dynamics=linear_dynamics_model(shifts))


def test_a_worse_bundle_goes_by_itself_and_a_better_one_stays(linear_task: Task, linear_bundle: Bundle) -> None:
    bad = with_model(linear_task, linear_bundle, (0.3, 0.3, 0.3))
    robot = Robot(linear_task, linear_bundle, num_samples=33)
    robot.run(20)
    error = robot.layer.prediction_error
    robot.layer.swap_bundle(bad, on_trial=True)
    assert robot.layer.bundle is bad
    assert robot.layer.prediction_error is None
    ended = robot.run(300)

    assert ended is not None
    assert ended.state is not None
    assert (ended.sha256, ended.state.bundle_sha256) == (bad.sha256, linear_bundle.sha256)
    assert robot.layer.bundle is linear_bundle
    assert ended.state.plans == robot.layer.counters.plans
    assert "times that of the model before" in ended.text
    assert robot.layer.trial == ""
    robot.run(20)
    assert robot.layer.prediction_error is not None
    assert error is not None
    assert robot.layer.prediction_error < 2.0 * error

    other = Robot(linear_task, bad, num_samples=33, swap_trial_plans=40)
    other.run(20)
    other.layer.swap_bundle(linear_bundle, on_trial=True)
    assert other.run(30) is None
    kept = other.run(20)
    assert kept is not None
    assert kept.state is None
    assert other.layer.bundle is linear_bundle


def test_what_a_swap_on_trial_goes_back_to_is_a_bundle_that_was_not_on_trial(
    linear_task: Task, linear_bundle: Bundle
) -> None:
    bad, worse = (with_model(linear_task, linear_bundle, (shift,) * 3) for shift in (0.3, 0.6))
    robot = Robot(linear_task, linear_bundle, num_samples=33)
    robot.layer.swap_bundle(bad, on_trial=True)
    robot.run(10)
    robot.layer.swap_bundle(worse, on_trial=True)
    ended = robot.run(300)

    assert ended is not None
    assert robot.layer.bundle is linear_bundle
    robot.layer.swap_bundle(bad, on_trial=True)
    robot.layer.swap_bundle(linear_bundle, on_trial=True)
    assert robot.layer.trial == ""


@pytest.mark.parametrize("stays", [True, False])
def test_a_trial_that_ends_while_the_next_bundle_is_prepared(
    linear_task: Task, linear_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, stays: bool
) -> None:
    """What comes back is the bundle that stayed, with its own planner."""
    tried, worse = (with_model(linear_task, linear_bundle, (shift,) * 3) for shift in (0.01, 0.6))
    robot = Robot(linear_task, linear_bundle, num_samples=33)
    layer = robot.layer
    planners = {linear_bundle.sha256: layer._planner}
    layer.swap_bundle(tried, on_trial=True)
    planners[tried.sha256] = layer._planner
    ends: list[TrialEnd | None] = []

    def prepared(*arguments: Any) -> ModelStep:  # noqa: ANN401 - handed through
        if not ends:
            assert layer._on_trial is not None
            one = layer._on_trial.trial
            one.count, one._log_capital = (10**6, 0.0) if stays else (0, 1e6)
            ends.append(layer.end_trial())  # the planning thread does, meanwhile
        return ModelStep(*arguments)

    monkeypatch.setattr(demo_layer, "ModelStep", prepared)
    layer.swap_bundle(worse, on_trial=True)
    assert layer.bundle is worse
    assert ends[0] is not None
    assert (ends[0].state is None) is stays
    ended = robot.run(300)

    assert ended is not None
    assert ended.state is not None
    assert layer.bundle is (tried if stays else linear_bundle)
    assert ended.state.bundle_sha256 == layer.bundle.sha256
    assert layer._planner is planners[layer.bundle.sha256]


def test_without_a_trial_nothing_comes_back(linear_task: Task, linear_bundle: Bundle) -> None:
    bad = with_model(linear_task, linear_bundle, (0.3, 0.3, 0.3))
    robot = Robot(linear_task, linear_bundle, num_samples=33, swap_trial_plans=0)
    robot.layer.swap_bundle(bad, on_trial=True)
    assert robot.run(100) is None
    assert robot.layer.bundle is bad


def test_settings_that_changed_meanwhile_hold_for_the_bundle_that_comes_back(
    linear_task: Task, linear_bundle: Bundle
) -> None:
    robot = Robot(linear_task, linear_bundle, num_samples=33)
    robot.layer.swap_bundle(with_model(linear_task, linear_bundle, (0.3,) * 3), on_trial=True)
    robot.layer.update_settings(dataclasses.replace(robot.layer.settings, step_size=0.25))
    robot.layer.update_cost_weights({"effort": 0.5})
    ended = robot.run(300)

    assert ended is not None
    assert ended.state is not None
    assert ended.state.settings["step_size"] == robot.layer._planner.settings.step_size == 0.25
    assert ended.state.cost_weights["effort"] == robot.layer.cost_weights["effort"] == 0.5


@pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")
def test_a_recording_with_a_rollback_comes_out_bit_for_bit(tmp_path: Path) -> None:
    """The recorded states decide; nothing is compared while a recording is answered again."""
    task = load_task("cartpole")
    shipped = load_bundle(default_bundle("cartpole"), task)
    directory = tmp_path / "bad"
    save_bundle(make_bundle(task, policy=shipped.policy, dynamics=_weaker(shipped)), directory, "For tests.\n")
    recorder = RobotRecorder(tmp_path / "bag", seed=1)
    recorder.activate()
    recorder.run(40)
    recorder.swap(directory, on_trial=True)
    recorder.run(130)
    report = evaluate_bag(Request(recorder.close()))

    assert recorder.rolled_back
    assert recorder.layer.bundle.sha256 == shipped.sha256
    assert report["bit_exact"] is True, report["first_difference"]
    assert report["identical_plans"] == report["plans"]
    assert len(report["bundle_sha256"]) == 2  # type: ignore[arg-type]


def _weaker(bundle: Bundle) -> onnx.ModelProto:
    """A model to which the robot's motion looks larger than it is."""
    model = type(bundle.dynamics)()
    model.CopyFrom(bundle.dynamics)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim == 3 and array.shape[2] == 5:
            tensor.CopyFrom(numpy_helper.from_array((1.5 * array).astype(np.float32), tensor.name))
    return model
