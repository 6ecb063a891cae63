"""A model's error on recordings: against equations that are known, and where the recording has holes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from demo_control.bags.model_error import ModelError, model_error, rank_correlation
from demo_control.bags.stretches import Stretch, cut, windows
from demo_control.bundle import Bundle, default_bundle, load_bundle, make_bundle
from demo_control.onnx_graph import GraphBuilder
from demo_control.tasks import Array, Quantity, Task, load_task

from .conftest import INPUT_MATRIX, STATE_MATRIX, linear_dynamics_model, linear_policy

HORIZON = 5
NOISE = float(np.exp(-4.0))
"""What each member of the linear bundle says of the noise, as a standard deviation."""


def driven(ticks: int, *, delay: int = 0, noise: float = 0.0, drift: float = 0.0) -> Stretch:
    """A double integrator under random controls."""
    generator = np.random.default_rng(0)
    controls = generator.normal(size=(ticks, 1))
    states = [np.array([0.5, -0.2])]
    for tick in range(ticks - 1):
        control = controls[tick - delay] if tick >= delay else np.zeros(1)
        states.append(STATE_MATRIX @ states[-1] + INPUT_MATRIX @ control + [0.0, drift])
        states[-1] += noise * generator.normal(size=2)
    return Stretch(0, np.array(states), controls)


def bundle_of(task: Task, *shifts: float) -> Bundle:
    return make_bundle(task, policy=linear_policy(task), dynamics=linear_dynamics_model(shifts))


def test_an_exact_model_has_no_error(linear_task: Task) -> None:
    found = model_error(linear_task, bundle_of(linear_task, 0.0, 0.0), [driven(200)], HORIZON)

    assert (found.count, found.horizon_count) == (199, 195)
    assert found.relative_one_step == pytest.approx(0.0, abs=1e-5)
    assert found.by_step == pytest.approx([0.0] * HORIZON, abs=1e-5)
    assert all(d.one_step.rms == pytest.approx(0.0, abs=1e-6) for d in found.dimensions)
    assert all(d.one_step.coverage == 1.0 for d in found.dimensions)


def test_errors_are_those_of_the_equations(linear_task: Task) -> None:
    """A steady drift that the model does not know makes errors that grow linearly in speed and squarely in place."""
    drift, run = 0.03, driven(300, drift=0.03)
    found = model_error(linear_task, bundle_of(linear_task, 0.0), [run], HORIZON)

    position, velocity = found.dimensions
    assert velocity.one_step.rms == pytest.approx(drift, rel=1e-3)
    assert velocity.horizon.rms == pytest.approx(drift * HORIZON, rel=1e-3)
    assert position.horizon.rms == pytest.approx(drift * 0.1 * HORIZON * (HORIZON - 1) / 2.0, rel=1e-3)
    changes = run.observations[HORIZON:, 1] - run.observations[:-HORIZON, 1]
    assert velocity.horizon.relative == pytest.approx(drift * HORIZON / np.sqrt(np.mean(changes**2)), rel=1e-3)
    assert found.by_step[-1] == found.relative_horizon
    squares = found.squared_errors.sum() / found.squared_changes.sum()
    assert found.relative_horizon == pytest.approx(np.sqrt(squares))
    assert position.one_step.spread is None
    assert position.one_step.rank_correlation is None


def test_the_spread_is_that_of_the_members(linear_task: Task, linear_bundle: Bundle) -> None:
    found = model_error(linear_task, linear_bundle, [driven(100)], HORIZON)

    deviation = float(np.std([-0.02, 0.0, 0.02]))
    assert found.dimensions[1].one_step.spread == pytest.approx(deviation, rel=1e-4)
    assert found.dimensions[1].horizon.spread == pytest.approx(HORIZON * deviation, rel=1e-4)
    assert found.dimensions[1].one_step.z == pytest.approx(0.0, abs=1e-4)


def test_a_model_that_knows_the_noise_is_calibrated(linear_task: Task) -> None:
    found = model_error(linear_task, bundle_of(linear_task, 0.0, 0.0), [driven(2001, noise=NOISE)], HORIZON)

    for dimension in found.dimensions:
        for error in (dimension.one_step, dimension.horizon):
            assert error.coverage == pytest.approx(0.954, abs=0.02)
            assert error.z == pytest.approx(1.0, abs=0.08)


def test_a_model_that_is_too_sure_says_so(linear_task: Task) -> None:
    found = model_error(linear_task, bundle_of(linear_task, 0.0, 0.0), [driven(1001, noise=4.0 * NOISE)], HORIZON)

    assert found.dimensions[0].one_step.z == pytest.approx(4.0, rel=0.1)
    assert found.dimensions[0].one_step.coverage < 0.5
    assert found.dimensions[0].horizon.z == pytest.approx(4.0, rel=0.15)


def test_commands_on_their_way_are_taken_into_account(linear_task: Task) -> None:
    late = driven(200, delay=3)
    bundle = bundle_of(linear_task, 0.0)

    told = replace(late, delay_ticks=3)
    assert model_error(linear_task, bundle, [told], HORIZON).relative_horizon < 1e-4
    assert model_error(linear_task, bundle, [late], HORIZON).relative_horizon > 0.1


def ignorant_where_fast(task: Task) -> Bundle:
    """Two members that disagree the more, the larger the position is; and none of them is right there."""
    graph = GraphBuilder("ignorant")
    x, u = graph.input("observation", (2, "batch", 2)), graph.input("action", (2, "batch", 1))
    moved = graph.node("MatMul", x, graph.constant(np.tile(STATE_MATRIX.T, (2, 1, 1))))
    pushed = graph.node("MatMul", u, graph.constant(np.tile(INPUT_MATRIX.T, (2, 1, 1))))
    wrong = np.array([[[0.0, 0.2], [0.0, 0.0]], [[0.0, 0.1], [0.0, 0.0]]])
    error = graph.node("MatMul", x, graph.constant(wrong))
    following = graph.node("Add", graph.node("Add", moved, pushed), error)
    graph.output("next_observation", following, (2, "batch", 2))
    quiet = graph.node("Sub", graph.node("Mul", following, graph.constant(0.0)), graph.constant(8.0))
    graph.output("log_variance", quiet, (2, "batch", 2))
    return make_bundle(task, policy=linear_policy(task), dynamics=graph.build())


def test_a_spread_that_predicts_the_error_is_seen_and_so_is_where(linear_task: Task) -> None:
    generator = np.random.default_rng(1)
    # Pairs of unrelated states: position is uniform, so that its outer fifths are the worst.
    stretches = []
    for position in generator.uniform(-4.0, 4.0, 500):
        state = np.array([position, generator.normal()])
        following = STATE_MATRIX @ state
        stretches.append(Stretch(0, np.array([state, following]), np.zeros((2, 1))))
    found = model_error(linear_task, ignorant_where_fast(linear_task), stretches, HORIZON)

    assert found.dimensions[1].one_step.rank_correlation > 0.99
    assert found.count == 500
    assert found.horizon_count == 0
    assert found.relative_horizon is None
    assert found.by_step == ()
    worst = found.worst[0]
    assert worst.dimension == "position"
    assert worst.minimum == pytest.approx(-4.0, abs=0.1) or worst.maximum == pytest.approx(4.0, abs=0.1)
    assert 1.0 < worst.factor < 2.0
    assert worst.count == 100


def test_angles_are_compared_to_the_nearest_turn(linear_task: Task) -> None:
    angle = (Quantity("position", "rad", -np.pi, np.pi), linear_task.observation[1])
    task = replace(linear_task, observation=angle)
    run = driven(300)
    observations = run.observations.copy()
    observations[:, 0] = (observations[:, 0] + np.pi) % (2.0 * np.pi) - np.pi
    assert np.abs(np.diff(observations[:, 0])).max() > 3.0  # the test turns over

    found = model_error(task, bundle_of(task, 0.0), [replace(run, observations=observations)], HORIZON)
    assert found.relative_horizon < 1e-4


def test_lost_observations_cost_their_predictions_only(linear_task: Task, linear_bundle: Bundle) -> None:
    run = driven(100)
    run.observations[50] = np.nan
    run.controls[70] = np.nan

    found = model_error(linear_task, linear_bundle, [run], HORIZON)
    assert found.count == 99 - 2 - 1
    # Windows that start at 50 or end there, and those that need the control of 70.
    assert found.horizon_count == 95 - 2 - 5
    assert found.by_step == pytest.approx(
        model_error(linear_task, linear_bundle, [driven(100)], HORIZON).by_step, rel=0.1
    )


def test_a_model_that_diverges_counts_with_a_bound(linear_task: Task) -> None:
    graph = GraphBuilder("wild")
    x, u = graph.input("observation", (1, "batch", 2)), graph.input("action", (1, "batch", 1))
    following = graph.node("Add", graph.node("Mul", x, graph.constant(1e30)), graph.node("Mul", u, graph.constant(0.0)))
    graph.output("next_observation", following, (1, "batch", 2))
    graph.output("log_variance", graph.node("Mul", x, graph.constant(0.0)), (1, "batch", 2))
    wild = make_bundle(linear_task, policy=linear_policy(linear_task), dynamics=graph.build())
    found = model_error(linear_task, wild, [driven(60)], HORIZON)

    assert found.diverged == found.horizon_count == 55
    assert found.relative_horizon > 100.0
    json.dumps(found.to_json(), allow_nan=False)


def test_many_starts_are_thinned_evenly_and_the_figures_repeat(linear_task: Task, linear_bundle: Bundle) -> None:
    def ask() -> ModelError:
        return model_error(linear_task, linear_bundle, [driven(1000)], HORIZON, most_starts=100)

    found = ask()
    assert (found.count, found.horizon_count) == (100, 100)
    assert found.starts_ns[[0, -1]].tolist() == [0, 994 * 10**8]
    assert found.to_json() == ask().to_json()


def test_a_recording_is_cut_where_the_driver_began_anew_or_waited(linear_task: Task) -> None:
    sequences = np.array([0, 1, 2, 4, 5, 0, 1, 2, 3, 4])
    stamps = np.array([0, 1, 2, 4, 5, 6, 7, 8, 58, 59]) * 10**8
    rows = np.arange(10.0)
    cuts = cut(linear_task, sequences, stamps, np.stack([rows, rows], axis=1), rows[:, None])

    assert [len(stretch) for stretch in cuts] == [6, 3, 2]
    assert np.isnan(cuts[0].observations[3]).all()
    assert cuts[0].controls[4:, 0].tolist() == [3.0, 4.0]
    assert cuts[2].first_ns == 58 * 10**8


def stoch2_stretch(offset: int) -> tuple[Task, Stretch]:
    task = load_task("stoch2")
    generator = np.random.default_rng(0)
    low, high = (np.array([getattr(q, end) for q in task.observation]) for end in ("minimum", "maximum"))
    decisions = generator.uniform(-0.1, 0.1, size=(12, task.planning_problem.action_dim))
    controls: Array = np.repeat(decisions, 10, axis=0)[10 - offset :][:100]
    return task, Stretch(0, generator.uniform(low, high, size=(100, 25)), controls)


@pytest.mark.parametrize("offset", [0, 4, 7])
def test_corrections_are_asked_of_as_they_were_held(offset: int) -> None:
    """A window begins ``planning_ticks`` before a correction takes effect, whatever the phase."""
    task, stretch = stoch2_stretch(offset)
    found = windows(task, [stretch], 3)

    starts = (found.starts_ns / 5e6).round().astype(int)
    changes = np.flatnonzero((np.diff(stretch.controls, axis=0) != 0.0).any(axis=1)) + 1
    assert set(starts + 4) <= {*changes.tolist(), 4}
    assert len(starts) >= 6
    for row, start in enumerate(starts):
        np.testing.assert_array_equal(found.controls[row], stretch.controls[[start + 4, start + 14, start + 24]])
        np.testing.assert_array_equal(
            found.observations[row, :, -8:], stretch.controls[[start, start + 10, start + 20, start + 30]]
        )
        assert found.observations[row, 0, 2] == stretch.observations[start, 8]


def test_a_correction_that_came_late_leaves_its_windows_out() -> None:
    task, stretch = stoch2_stretch(4)
    stretch.controls[44] = stretch.controls[43]  # the decision of tick 40 came one tick late

    whole, late = (windows(task, [s], 1).starts_ns / 5e6 for s in (stoch2_stretch(4)[1], stretch))
    assert set(whole) - set(late) == {40.0}
    assert set(late) < set(whole)


@pytest.mark.skipif(not default_bundle("stoch2").is_dir(), reason="no bundle of Stoch2 is shipped")
def test_only_what_was_learned_is_judged() -> None:
    task, stretch = stoch2_stretch(4)
    bundle = load_bundle(default_bundle("stoch2"), task)
    found = model_error(task, bundle, [stretch], 8)

    names = [dimension.name for dimension in found.dimensions]
    assert {"roll", "forward_error", "height", "yaw_error"} <= set(names)
    assert not [name for name in names if name.startswith("phase") or "command" in name or name.endswith("_before")]
    assert found.step_s == 0.05


def test_ranks_of_equal_values_are_shared() -> None:
    values = np.array([1.0, 2.0, 2.0, 3.0, 5.0, 4.0, 6.0, 7.0, 8.0, 9.0])
    assert rank_correlation(values, -values) == pytest.approx(-1.0)
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1.0)
    assert rank_correlation(values[:9], values[:9]) is None
    assert rank_correlation(values, np.ones(10)) is None
