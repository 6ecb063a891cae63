"""Adaptation of the model to the robot: it recovers a scale, and does no harm where there is nothing to learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from demo_control.bundle import Bundle
from demo_control.layer import DemoLayer, LayerSettings
from demo_control.mpc.adaptation import ModelAdaptation
from demo_control.tasks import Array, Quantity, Task

from .conftest import INPUT_MATRIX, STATE_MATRIX


def make_adaptation(task: Task) -> ModelAdaptation:
    return ModelAdaptation(task, memory_ticks=250.0, prior_ticks=10.0, limits=(0.5, 2.0))


def learn(adaptation: ModelAdaptation, true_scale: Array, ticks: int, noise: float, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    state = np.zeros(2)
    for sequence in range(ticks):
        predicted = generator.normal(scale=0.3, size=2)
        adaptation.expect(sequence, state + noise * generator.normal(size=2), predicted)
        state = state + true_scale * predicted
        adaptation.observe(sequence + 1, state + noise * generator.normal(size=2))


def test_starts_with_the_model_as_it_was_trained(linear_task: Task) -> None:
    np.testing.assert_array_equal(make_adaptation(linear_task).change_scale, [1.0, 1.0])


def test_recovers_a_scale(linear_task: Task) -> None:
    adaptation = make_adaptation(linear_task)
    learn(adaptation, np.array([0.8, 1.25]), 500, noise=0.0)
    np.testing.assert_allclose(adaptation.change_scale, [0.8, 1.25], rtol=0.02)


def test_is_not_misled_by_noise(linear_task: Task) -> None:
    adaptation = make_adaptation(linear_task)
    learn(adaptation, np.array([0.8, 1.25]), 500, noise=0.1)
    np.testing.assert_allclose(adaptation.change_scale, [0.8, 1.25], rtol=0.08)


def test_noise_without_motion_teaches_nothing(linear_task: Task) -> None:
    """At rest the predicted changes are near zero: the prior holds, whatever the sensor's noise."""
    adaptation = make_adaptation(linear_task)
    generator = np.random.default_rng(0)
    for sequence in range(2000):
        adaptation.expect(sequence, 0.05 * generator.normal(size=2), 1e-3 * generator.normal(size=2))
        adaptation.observe(sequence + 1, 0.05 * generator.normal(size=2))
    np.testing.assert_allclose(adaptation.change_scale, [1.0, 1.0], atol=0.05)


def test_forgets(linear_task: Task) -> None:
    adaptation = make_adaptation(linear_task)
    learn(adaptation, np.array([0.8, 0.8]), 500, noise=0.0)
    learn(adaptation, np.array([1.2, 1.2]), 2000, noise=0.0)
    np.testing.assert_allclose(adaptation.change_scale, [1.2, 1.2], rtol=0.02)


def test_stays_within_its_limits(linear_task: Task) -> None:
    adaptation = make_adaptation(linear_task)
    learn(adaptation, np.array([-3.0, 30.0]), 500, noise=0.0)
    np.testing.assert_array_equal(adaptation.change_scale, [0.5, 2.0])


@pytest.mark.parametrize("unit", ["rad", "m"])
@pytest.mark.parametrize("true_scale", [1.0, 0.8])
def test_an_angle_that_passes_its_ranges_end_moves_on(linear_task: Task, unit: str, true_scale: float) -> None:
    """The second entry does the same without an end; the first one comes by it every 126 ticks."""
    ends = np.pi if unit == "rad" else 1e3
    quantities = (Quantity("angle", unit, -ends, ends), Quantity("distance", "m", -1e3, 1e3))
    task = dataclasses.replace(linear_task, observation=quantities, model_inputs=("angle", "distance"))
    adaptation = make_adaptation(task)
    predicted, turn, distance = 0.05 / true_scale, 2.0 * np.pi, 0.0
    for sequence in range(300):
        seen = np.array([(distance + np.pi) % turn - np.pi if unit == "rad" else distance, distance])
        adaptation.observe(sequence, seen)
        adaptation.expect(sequence, seen, np.array([predicted, predicted]))
        distance += true_scale * predicted
        lowest, highest = adaptation.change_scale.min(), adaptation.change_scale.max()
        assert true_scale - 1e-6 <= lowest <= highest <= 1.0 + 1e-6
    assert adaptation._products[0] == pytest.approx(adaptation._products[1], rel=1e-6)


@pytest.mark.parametrize("observation", [np.array([np.nan, 0.0]), np.array([np.inf, 0.0])])
def test_ignores_what_is_no_number(linear_task: Task, observation: Array) -> None:
    adaptation = make_adaptation(linear_task)
    adaptation.expect(0, np.zeros(2), np.ones(2))
    adaptation.observe(1, observation)
    adaptation.expect(1, np.zeros(2), np.array([np.nan, 1.0]))
    adaptation.observe(2, np.ones(2))
    np.testing.assert_array_equal(adaptation.change_scale, [1.0, 1.0])


def with_offset(task: Task) -> ModelAdaptation:
    """It has learned that the velocity changes by 0.5 less than predicted."""
    task = dataclasses.replace(task, offset_entries=("velocity",))
    adaptation = ModelAdaptation(task, 250.0, 10.0, (0.5, 2.0), offset_gain=0.5)
    for sequence in range(20):
        adaptation.expect(sequence, np.zeros(2), np.array([0.0, 1.0]))
        adaptation.observe(sequence + 1, np.array([0.0, 0.5]))
    assert adaptation.change_offset == pytest.approx([0.0, -0.5], abs=1e-5)
    return adaptation


@pytest.mark.parametrize("scaled", [True, False])
def test_what_the_scale_explains_is_not_added_as_offset_again(linear_task: Task, scaled: bool) -> None:
    """A steady motion that is half as large again as predicted: together they predict it, not twice the difference."""
    task = dataclasses.replace(linear_task, offset_entries=("velocity",))
    adaptation = ModelAdaptation(task, 250.0, 10.0, (0.5, 2.0), offset_gain=0.1)
    predicted, moved = np.array([0.0, 0.2]), np.array([0.0, 0.3])
    for sequence in range(300):
        adaptation.expect(sequence, np.zeros(2), predicted)
        adaptation.observe(sequence + 1, moved, scaled)
    scale = adaptation.change_scale if scaled else 1.0
    np.testing.assert_allclose(scale * predicted + adaptation.change_offset, moved, atol=1e-3)


@pytest.mark.parametrize("wrong", [1e30, -1e308, 5.6])
def test_nothing_is_learned_from_an_error_that_no_model_makes(linear_task: Task, wrong: float) -> None:
    """A sensor's glitch is in two changes, and a model that diverges from it in a prediction."""
    adaptation = with_offset(linear_task)
    offset, scale = adaptation.change_offset, adaptation.change_scale
    adaptation.expect(20, np.zeros(2), np.zeros(2))
    adaptation.observe(21, np.array([0.0, wrong]))
    adaptation.expect(21, np.array([0.0, wrong]), np.array([0.0, 0.1]))
    adaptation.observe(22, np.zeros(2))
    adaptation.expect(22, np.zeros(2), np.array([0.0, wrong]))
    adaptation.observe(23, np.zeros(2))
    np.testing.assert_array_equal(adaptation.change_offset, offset)
    np.testing.assert_array_equal(adaptation.change_scale, scale)


def test_where_observations_are_counted_anew_the_offset_begins_at_zero(linear_task: Task) -> None:
    """A driver that was started anew: the robot may stand elsewhere."""
    adaptation = with_offset(linear_task)
    adaptation.expect(20, np.zeros(2), np.ones(2))
    adaptation.observe(0, np.zeros(2))
    np.testing.assert_array_equal(adaptation.change_offset, [0.0, 0.0])
    adaptation.expect(0, np.zeros(2), np.array([0.0, 1.0]))
    adaptation.observe(1, np.array([0.0, 0.5]))
    assert adaptation.change_offset == pytest.approx([0.0, -0.25])


def test_ignores_an_observation_that_was_not_predicted(linear_task: Task) -> None:
    """After a lost observation the change spans two periods."""
    adaptation = make_adaptation(linear_task)
    adaptation.expect(0, np.zeros(2), np.ones(2))
    adaptation.observe(2, np.full(2, 5.0))
    np.testing.assert_array_equal(adaptation.change_scale, [1.0, 1.0])


def test_entries_on_a_circle_are_left_alone(linear_task: Task) -> None:
    task = dataclasses.replace(linear_task, unit_circles=(("position", "velocity"),))
    adaptation = make_adaptation(task)
    learn(adaptation, np.array([0.8, 1.25]), 500, noise=0.0)
    np.testing.assert_array_equal(adaptation.change_scale, [1.0, 1.0])


@pytest.mark.parametrize("adapt_model", [True, False])
def test_the_layer_learns_how_its_robot_moves(linear_task: Task, linear_bundle: Bundle, adapt_model: bool) -> None:
    """A robot that changes its velocity half as much as the model says."""
    settings = LayerSettings.for_task(linear_task, {"adapt_model": adapt_model, "adaptation_prior_ticks": 1.0})
    layer = DemoLayer(linear_task, linear_bundle, settings, seed=0)
    state = np.array([2.0, 0.0])
    for sequence in range(60):
        command = layer.correct(sequence, np.array([3.0 * np.cos(sequence)])).values
        layer.plan(sequence, state)
        assert command is not None
        moved = STATE_MATRIX @ state + INPUT_MATRIX @ command
        state = np.array([moved[0], 0.5 * (state[1] + moved[1])])
    scale = layer._corrector.adapted(60, state)[0]
    assert scale[1] == (pytest.approx(0.5, abs=0.06) if adapt_model else 1.0)
