"""The walk that is shown: its pushes, its figures, what is kept of planning, and the page of plots."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from demo_control.controllers import make_controller
from demo_control.evaluation import run_episodes
from demo_control.parallel_evaluation import make_scenario
from demo_control.report.scenario_demonstration import WatchedController, summary_of
from demo_control.scenarios import ConstantController, Scenario, ShownRun, ShowScenario, make_trials
from demo_control.tasks import Task, load_task
from stoch2_sim.robots.stoch2.show import ShowWalk
from stoch2_sim.robots.stoch2.walk_drawing import pushes_by_tick
from stoch2_sim.robots.stoch2.walk_metrics import CYCLE_TICKS
from stoch2_sim.robots.stoch2.walk_plot import commanded_path, over_a_cycle, write_walk_plot

from .conftest import LinearPlants
from .test_stoch2_walk_metrics import circular_walk


def shown_run(scenario: ShowWalk, label: str, step_length: float = 0.0) -> ShownRun:
    """A run of a constant gait."""
    task = load_task("stoch2")
    plants = scenario.make_plants("mujoco", 0, [0])
    controller = ConstantController(scenario.constant_action + step_length)
    episodes = run_episodes(task, plants, controller, 0, num_steps=scenario.num_steps)
    trial = make_trials(plants, episodes, 0, task.control_period_s)[0]
    plants.close()
    return ShownRun(label, trial, scenario.judge(trial), np.zeros(0), (), {})


def test_only_the_shown_walk_is_made_for_being_looked_at() -> None:
    task = load_task("stoch2")
    scenarios: dict[str, Scenario | None] = {name: make_scenario(task, name) for name in task.scenarios}
    assert [name for name, scenario in scenarios.items() if isinstance(scenario, ShowScenario)] == ["show"]


def test_pushes_are_sideways_to_the_commanded_heading() -> None:
    scenario = ShowWalk({"first_push_n": 100.0, "second_push_n": 50.0}, None)
    first, second = scenario.pushes
    np.testing.assert_allclose(first.force_n, (0.0, 100.0, 0.0), atol=1e-9)
    heading = 0.3 * 3.5 - 0.3 * 1.5
    np.testing.assert_allclose(second.force_n, (50.0 * math.sin(heading), -50.0 * math.cos(heading), 0.0))
    forces = pushes_by_tick(scenario.pushes, scenario.num_steps + 1)
    assert np.count_nonzero(np.linalg.norm(forces, axis=1)) == 12
    assert not forces[first.start_tick].any()
    assert forces[first.start_tick + 1].any()
    assert len(scenario.episode(0, np.random.default_rng(0)).commands) == 6


def test_plots_and_falls(tmp_path: Path) -> None:
    scenario = ShowWalk({"ideal_sensing": True, "first_push_n": 400.0}, 900)
    runs = [shown_run(scenario, "short steps"), shown_run(scenario, "long steps", 0.3)]
    fall = runs[0].trial.failed_step
    assert fall is not None
    assert 600 < fall < 900
    assert runs[0].figures["success"] is False
    assert runs[0].figures["first_recovery_cost"] > 500.0
    assert "first_settle_time_s" not in runs[0].figures
    heights = runs[0].trial.records["qpos"][:, 2]
    assert heights[-1] < heights[fall] - 0.05, "the fall goes on for the video"
    write_walk_plot(tmp_path / "walk.png", runs, scenario.pushes, "A test")
    assert (tmp_path / "walk.png").stat().st_size > 50_000


def test_means_over_a_cycle_hide_the_gait_s_ripple() -> None:
    ticks = np.arange(1000)
    values = 2.0 + np.sin(2 * math.pi * ticks / CYCLE_TICKS)
    np.testing.assert_allclose(over_a_cycle(values)[CYCLE_TICKS:-CYCLE_TICKS], 2.0, atol=1e-9)
    np.testing.assert_allclose(over_a_cycle(np.ones(10)), 1.0)


def test_the_commanded_path_is_the_way_of_who_follows_at_once() -> None:
    walk = circular_walk(0.4, 0.5, start_yaw=1.0)
    np.testing.assert_allclose(commanded_path(walk), walk.position[:, :2], atol=1e-4)


def test_a_watched_controller_acts_as_it_would_alone(linear_task: Task, linear_bundle: object) -> None:
    actions = []
    for watch in (False, True):
        controller = make_controller("demo", linear_task, linear_bundle, None, 1)  # type: ignore[arg-type]
        watched = WatchedController(controller, 0.1)
        plants = LinearPlants(1)
        chosen = watched if watch else controller
        actions.append(run_episodes(linear_task, plants, chosen, 3, num_steps=20).actions)  # type: ignore[arg-type]
    np.testing.assert_array_equal(actions[0], actions[1])
    assert len(watched.reports) == len(watched.plan_times_s) == 20
    assert watched.plan_times_s[3] == pytest.approx(0.3)
    passed = Counter({reason: len(times) for reason, times in watched.fallback_times_s.items()})
    assert passed == controller.counters[0].fallbacks  # type: ignore[attr-defined]
    assert watched.fallback_times_s["no_plan"][0] == 0.0


def test_a_run_s_summary_has_the_planner_s_figures(linear_task: Task, linear_bundle: object) -> None:
    scenario = ShowWalk({"ideal_sensing": True}, 20)
    run = shown_run(scenario, "constant")
    summary = summary_of(run)
    assert (summary["plans"], summary["plan_ms"], summary["commands"]) == (0, None, 20)
    assert summary["success"] is True
