"""Closed-loop evaluation: the layer does better than the policy, seeds decide everything, figures are right."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from demo_control.bundle import Bundle, default_bundle, load_bundle, make_bundle, save_bundle
from demo_control.cli.main import app
from demo_control.configuration import ConfigurationError
from demo_control.controllers import make_controller
from demo_control.evaluation import Episodes, run_episodes
from demo_control.onnx_graph import GraphBuilder
from demo_control.parallel_evaluation import (
    BatchResult,
    EvaluationRequest,
    _batch_result,
    check_request,
    split_settings,
    summary,
)
from demo_control.policies import linear_policy_model
from demo_control.statistics import wilson_interval
from demo_control.tasks import Task, load_task

from .conftest import LinearPlants


def run(task: Task, bundle: Bundle, kind: str, count: int, first: int = 0) -> Episodes:
    controller = make_controller(kind, task, bundle, None, count)
    plants = LinearPlants(count)
    return run_episodes(task, plants, controller, 3, first_episode=first)  # type: ignore[arg-type]


def test_the_layer_costs_less_than_the_policy(linear_task: Task, linear_bundle: Bundle) -> None:
    policy, demo = (run(linear_task, linear_bundle, kind, 8) for kind in ("policy", "demo"))
    # One plant starts almost at rest at the origin: there is nothing to gain there but noise to lose.
    assert (demo.returns > policy.returns - 0.1).all()
    assert demo.returns.mean() > policy.returns.mean() + 10.0
    np.testing.assert_array_equal(demo.true_observations[0], policy.true_observations[0])


def test_returns_are_the_summed_rewards(linear_task: Task, linear_bundle: Bundle) -> None:
    episodes = run(linear_task, linear_bundle, "policy", 2)
    rewards = linear_task.reward(episodes.true_observations[:-1], episodes.actions)
    np.testing.assert_allclose(episodes.returns, rewards.sum(axis=0))
    assert episodes.actions.shape == (50, 2, 1)


def test_a_policy_that_breaks_down_is_judged_and_told_in_json(tmp_path: Path) -> None:
    """Its last return was no number, which ended the evaluation with a traceback where JSON was asked for."""
    task = load_task("cartpole")
    shipped = load_bundle(default_bundle("cartpole"), task)
    graph = GraphBuilder("breaks_down")
    observation = graph.input("observation", ["batch", 5])
    position = graph.node("Gather", observation, graph.constant(np.array([0]), np.int64), axis=1)
    left = graph.node("Sub", graph.constant(np.float32(0.02)), graph.node("Mul", position, position))
    graph.output("action", graph.node("Mul", graph.node("Sqrt", left), graph.constant(np.float32(40.0))), ["batch", 1])
    save_bundle(make_bundle(task, policy=graph.build(), dynamics=shipped.dynamics), tmp_path / "bundle", "A test.")

    words = ["evaluate", "cartpole", "--bundle", str(tmp_path / "bundle"), "--controller", "policy", "--json", "-"]
    done = CliRunner().invoke(app, [*words, "--episodes", "2", "--jobs", "1"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["successes"] == 0
    assert math.isfinite(report["return_mean"])
    assert 0.0 < report["action_change_mean"] < 1.0


def test_a_figure_that_is_no_number_is_left_out(linear_task: Task, linear_bundle: Bundle) -> None:
    episodes = replace(run(linear_task, linear_bundle, "policy", 2), results=())
    results = ({"success": True, "drift": math.nan, "way": 1.0}, {"success": False, "drift": 2.0, "way": math.inf})
    controller = make_controller("policy", linear_task, linear_bundle, None, 2)
    batch = _batch_result(linear_task, 0, episodes, results, controller)
    assert batch.results == ({"success": True, "way": 1.0}, {"success": False, "drift": 2.0})


def test_an_episode_does_not_depend_on_those_beside_it(linear_task: Task, linear_bundle: Bundle) -> None:
    together = run(linear_task, linear_bundle, "demo", 4)
    alone = run(linear_task, linear_bundle, "demo", 1, first=2)
    np.testing.assert_allclose(alone.actions[:, 0], together.actions[:, 2], atol=1e-3)


def test_same_seed_same_episodes(linear_task: Task, linear_bundle: Bundle) -> None:
    first, second = (run(linear_task, linear_bundle, "demo", 3) for _ in range(2))
    np.testing.assert_array_equal(first.actions, second.actions)
    np.testing.assert_array_equal(first.true_observations, second.true_observations)


def test_an_unknown_controller_is_named(linear_task: Task, linear_bundle: Bundle) -> None:
    with pytest.raises(ConfigurationError, match="controller = 'pid': must be one of policy, demo"):
        make_controller("pid", linear_task, linear_bundle, None, 1)


def test_settings_are_told_apart_and_the_layer_knows_the_delay() -> None:
    plant, layer = split_settings({"pole_mass": 1.2, "step_size": 0.5, "delay_ticks": 2})
    assert plant == {"pole_mass": 1.2, "delay_ticks": 2}
    assert layer == {"step_size": 0.5, "command_delay_ticks": 2}
    assert split_settings({"delay_ticks": 2, "command_delay_ticks": 0})[1] == {"command_delay_ticks": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "cartpole", "--set", "stepsize=0.5"), "unknown setting 'stepsize'; did you mean 'step_size'?"),
        (("evaluate", "cartpole", "--set", "zzz=4"), "unknown setting 'zzz'; known: pole_mass, "),
        (("evaluate", "cartpole", "--set", "zzz=4"), ", num_samples, "),
        (("evaluate", "stoch2", "--set", "stepsize=0.5"), "unknown setting 'stepsize'; did you mean 'step_size'?"),
        (("demo", "stoch2", "--set", "stepsize=0.5"), "unknown setting 'stepsize'; did you mean 'step_size'?"),
    ],
)
def test_a_misspelt_setting_is_of_the_plant_or_of_the_layer(arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "walker"}, "task 'walker' is not installed"),
        ({"controller": "pid"}, "controller = 'pid': must be one of policy, demo"),
        ({"simulator": "gazebo"}, "simulator = 'gazebo': must be one of mujoco"),
        ({"episodes": 0}, "episodes = 0: must be at least 1"),
        ({"seed": -1}, "seed = -1: must be at least 0"),
        ({"layer": {"horizon": 0}}, r"LayerSettings.horizon = 0: must be between"),
        ({"plant": {"pole_colour": 1.0}}, "unknown setting 'pole_colour'"),
        ({"bundle": Path("nowhere")}, "bundle directory 'nowhere' does not exist"),
    ],
)
def test_a_wrong_request_is_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    values: dict[str, object] = {
        "task": "cartpole", "bundle": _cartpole_bundle(tmp_path), "controller": "policy", "simulator": "analytic",
        "episodes": 1, "seed": 0, **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        check_request(EvaluationRequest(**values))  # type: ignore[arg-type]


def _cartpole_bundle(folder: Path) -> Path:
    task = load_task("cartpole")
    graph = GraphBuilder("still")
    observation = graph.input("observation", (1, "batch", 5))
    action = graph.input("action", (1, "batch", 1))
    following = graph.node("Add", observation, graph.node("Mul", action, graph.constant(0.0)))
    graph.output("next_observation", following, (1, "batch", 5))
    graph.output("log_variance", graph.node("Neg", graph.node("Abs", following)), (1, "batch", 5))
    policy = linear_policy_model(
        np.zeros((1, 5)), np.zeros(1), np.zeros(5), np.ones(5), task.action_minimum, task.action_maximum
    )
    save_bundle(make_bundle(task, policy=policy, dynamics=graph.build()), folder / "cartpole", "# Card\n")
    return folder / "cartpole"


def test_wilson_interval_against_published_values() -> None:
    # R: prop.test(98, 100, correct = FALSE)$conf.int and prop.test(0, 10, correct = FALSE)$conf.int
    assert wilson_interval(98, 100) == pytest.approx((0.9300, 0.9945), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10)[1] == pytest.approx(1.0)
    assert math.isclose(wilson_interval(5, 10)[0], 1.0 - wilson_interval(5, 10)[1])


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_interval_refuses(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= successes"):
        wilson_interval(successes, trials)


def test_figures_that_some_episodes_lack_are_averaged_over_the_others(tmp_path: Path) -> None:
    request = EvaluationRequest("cartpole", tmp_path, "policy", "analytic", 3, 0)
    batches = [
        BatchResult(0, ({"success": True, "time_s": 2.0}, {"success": False}), (1.0, 2.0), (0.1, 0.1)),
        BatchResult(2, ({"success": True, "time_s": 4.0},), (3.0,), (0.4,)),
    ]
    report = summary(request, batches)
    assert (report["successes"], report["return_mean"], report["time_s_mean"]) == (2, 2.0, 3.0)
    assert report["action_change_mean"] == pytest.approx(0.2)
    assert report["failed_episodes"] == [1]
