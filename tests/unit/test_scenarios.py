"""Scenarios of any task: figures are summed up right, cells are told apart, the number of processes does not matter."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError
from demo_control.evaluation import Episodes
from demo_control.parallel_evaluation import make_scenario
from demo_control.scenarios import ConstantController, Scenario, aggregate, aggregate_cells, make_trials
from demo_control.statistics import bootstrap_interval, ratio_interval, root_mean_square, sign_test
from demo_control.tasks import Task, load_task


def test_figures_are_means_or_root_mean_squares_over_the_episodes_that_have_them() -> None:
    report = aggregate(
        [
            {"success": True, "speed_error_rms": 3.0, "settle_time_s": 0.5},
            {"success": True, "speed_error_rms": 4.0, "settle_time_s": 1.0},
            {"success": False, "speed_error_rms": 0.0},
        ]
    )
    assert (report["successes"], report["falls"], report["fall_rate"]) == (2, 1, pytest.approx(1 / 3))
    assert report["speed_error_rms"] == pytest.approx(math.sqrt(25 / 3))
    assert report["settle_time_s_mean"] == 0.75
    low, high = cast("list[float]", report["settle_time_s_interval"])
    assert 0.5 <= low < 0.75 < high <= 1.0


def test_cells_are_summed_up_in_the_order_of_their_first_episode() -> None:
    class TwoCells:
        def cell(self, number: int) -> str:
            return "odd" if number % 2 else "even"

    results = [{"success": number != 3, "figure": float(number)} for number in range(5)]
    cells = aggregate_cells(cast("Scenario", TwoCells()), results)
    assert [(cell["cell"], cell["episodes"], cell["figure_mean"], cell["falls"]) for cell in cells] == [
        ("even", 3, 2.0, 0),
        ("odd", 2, 2.0, 1),
    ]
    assert aggregate_cells(cast("Scenario", TwoCells()), results[:1]) == []


def test_trials_are_each_plant_s_own() -> None:
    class Recorded:
        num_plants = 2

        def records(self) -> dict[str, Any]:
            failed = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
            return {"failed": failed, "position": np.arange(12.0).reshape(3, 2, 2)}

    actions = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    episodes = Episodes((), np.zeros(2), np.zeros((3, 2, 1)), actions)
    first, second = make_trials(cast("Any", Recorded()), episodes, 8, 0.1)
    assert (first.number, first.failed_step, second.number, second.failed_step) == (8, None, 9, 1)
    np.testing.assert_array_equal(second.records["position"], [[2, 3], [6, 7], [10, 11]])
    np.testing.assert_array_equal(second.actions, [[2.0], [4.0]])


def test_a_single_command_changes_nothing(linear_task: Task) -> None:
    episodes = Episodes((), np.zeros(2), np.zeros((2, 2, 1)), np.ones((1, 2, 1)))
    np.testing.assert_array_equal(episodes.action_changes(linear_task), [0.0, 0.0])


def test_the_constant_controller_sends_one_action() -> None:
    controller = ConstantController(np.array([0.5, -1.0]))
    np.testing.assert_array_equal(controller.act(np.zeros((3, 7))), np.tile([0.5, -1.0], (3, 1)))


def test_sign_test_against_the_binomial_distribution() -> None:
    assert sign_test(14, 0) == pytest.approx(2 / 2**14)
    assert sign_test(1, 4) == pytest.approx(2 * (1 + 5) / 2**5)
    assert sign_test(3, 3) == 1.0
    assert sign_test(0, 0) == 1.0


def test_bootstrap_intervals_have_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(2.0, 1.0, size=400)
    low, high = bootstrap_interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / math.sqrt(400), rel=0.1)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(np.array([3.0, 3.0]), root_mean_square) == (3.0, 3.0)


def test_a_ratio_of_paired_values_is_narrower_than_its_parts() -> None:
    denominators = np.random.default_rng(1).uniform(1.0, 9.0, size=50)
    np.testing.assert_allclose(ratio_interval(0.6 * denominators, denominators), 0.6)


@pytest.mark.parametrize(
    ("name", "settings", "steps", "message"),
    [
        ("run", {}, None, "scenario = 'run': must be one of walk, track, push, slope, robust, show"),
        ("push", {"pushn": 3.0}, None, "push: unknown setting 'pushn'; did you mean 'push_n'"),
        ("push", {"latency_ms": 7.0}, None, "latency_ms = 7.0: must be a multiple of 5"),
        ("track", {"friction_minimum": 0.9}, None, "friction_minimum = 0.9: must be at most friction_maximum = 0.8"),
        ("walk", {}, 0, "steps = 0: must be at least 1"),
    ],
)
def test_a_wrong_scenario_is_refused(name: str, settings: dict[str, float], steps: int | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_scenario(load_task("stoch2"), name, settings, steps)


def test_a_task_without_scenarios_has_none(linear_task: Task) -> None:
    assert make_scenario(linear_task, "") is None
    with pytest.raises(ConfigurationError, match="scenario = 'walk': task 'integrator' has no scenarios"):
        make_scenario(linear_task, "walk")
    with pytest.raises(ConfigurationError, match="steps = 0: task 'integrator' has no scenarios"):
        make_scenario(linear_task, "", steps=0)
