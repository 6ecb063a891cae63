"""What is said of a recording: costs, errors, gains, limits and times, against what is known of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo_control.bags.blocks import Blocks
from demo_control.bags.correction_value import correction_value
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.layer_log import read_layer_log
from demo_control.bags.layer_runs import LayerRun, State
from demo_control.bags.layer_tables import FIGURES, Commands, Plans, PlanTable
from demo_control.bags.model_error import model_error
from demo_control.bags.reader import Bag
from demo_control.bags.recorded import RecordedStretches
from demo_control.bags.stretches import Stretch
from demo_control.bundle import default_bundle
from demo_control.tasks import Array, Task, load_task

from .conftest import INPUT_MATRIX, STATE_MATRIX
from .recorded_bag import SMALL, RobotRecorder, stamp

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> RobotRecorder:
    robot = RobotRecorder(tmp_path_factory.mktemp("judged") / "bag", applied=True)
    robot.activate()
    robot.run(100)
    robot.close()
    return robot


@pytest.fixture(scope="module")
def report(recorder: RobotRecorder) -> dict[str, Any]:
    return evaluate_bag(Request(recorder.folder))


def recorded(recorder: RobotRecorder) -> tuple[Array, Array]:
    """Observations and commands."""
    log = read_layer_log(Bag.open(recorder.folder))
    return log.observations.rows.read(0, 100), log.runs[0].commands.table.values.rows.read(0, 100)


def test_the_cost_is_that_of_the_equations(recorder: RobotRecorder, report: dict[str, Any]) -> None:
    task = load_task("cartpole")
    costs = task.stage_costs(*recorded(recorder)) * task.cost_weights

    found = report["task_metrics"]
    assert found["cost_per_second"] == pytest.approx(costs.sum() / (100 * 0.02))
    assert found["cost_terms_per_second"]["upright"] == pytest.approx(costs[:, 0].sum() / 2.0)
    assert (found["states"], found["states_with_unknown_control"]) == (100, 0)
    assert found["score"]["duration_s"] == pytest.approx(99 * 0.02)
    assert found["success"] is None
    assert "success" not in found["score"]


def test_the_model_is_far_better_than_predicting_no_change(report: dict[str, Any]) -> None:
    error = report["model_error"]

    assert error["count"] == 99
    assert error["horizon_steps"] == 8
    assert error["step_s"] == 0.02
    assert error["relative"]["one_step"] < 0.05
    assert error["relative"]["horizon"] < 0.2
    assert len(error["by_step"]) == 8
    assert [d["name"] for d in error["dimensions"]][:2] == ["cart_position", "cart_velocity"]
    json.dumps(report, allow_nan=False)


def test_limits_and_ranges_are_looked_at(recorder: RobotRecorder, report: dict[str, Any]) -> None:
    task, (observations, commands) = load_task("cartpole"), recorded(recorder)
    near = report["closeness"]
    shares = np.abs(commands[:, 0]) / task.action_maximum[0]

    assert near["of"] == "applied_action"
    assert near["changed_by_driver"] == 0.0
    action = near["actions"][0]
    assert action["share_of_limit"]["max"] == pytest.approx(shares.max())
    assert action["share_of_limit"]["p50"] == pytest.approx(np.median(shares), abs=0.02)
    assert action["change_share_of_range"]["max"] == pytest.approx(
        np.abs(np.diff(commands[:, 0])).max() / 20.0, rel=0.6
    )
    assert near["observations"]["beyond_range"] == 0.0
    assert np.isfinite(observations).all()


def test_times_and_losses_are_told(report: dict[str, Any]) -> None:
    times = report["timing"]

    assert times["command_jitter_ms"]["max"] == pytest.approx(0.0, abs=1e-6)
    assert times["observation_period_ms"]["p50"] == pytest.approx(20.0)
    assert times["applied_age_ms"]["p50"] == pytest.approx(1.0)
    assert times["commands_older_than_a_period"] == 0
    assert times["observations_lost"] == times["overruns"] == 0


def test_lost_observations_are_counted(tmp_path: Path) -> None:
    robot = RobotRecorder(tmp_path / "bag")
    robot.scribe.lost = {("/observation", number) for number in (11, 12, 30)}
    robot.activate()
    robot.run(50)
    found = evaluate_bag(Request(robot.close()))

    assert found["timing"]["observations_lost"] == 3
    # A prediction needs the observation that it starts from and the one that it is of.
    assert found["model_error"]["count"] == 49 - 3 - 2


@pytest.mark.parametrize(("first", "overruns"), [(1, 500), (20, 0)])
def test_what_overran_before_the_recording_does_not_count(tmp_path: Path, first: int, overruns: int) -> None:
    """The layer counts from its activation on; whoever records later hears of all of them at once."""
    robot = RobotRecorder(tmp_path / "bag", overruns=500)
    robot.scribe.lost = {("/action", number) for number in range(1, first)}
    robot.activate()
    robot.run(50)
    found = evaluate_bag(Request(robot.close()))

    assert found["timing"]["overruns"] == sum(found["blocks"]["figures"]["overruns"]["numerators"]) == overruns


def test_blocks_hold_the_whole(report: dict[str, Any]) -> None:
    blocks = report["blocks"]
    sums = blocks["figures"]["cost_per_second"]

    assert blocks["block_s"] == pytest.approx(99 * 0.02)
    assert sum(sums["numerators"]) / sum(sums["denominators"]) == pytest.approx(
        report["task_metrics"]["cost_per_second"]
    )
    root = blocks["figures"]["model_error_horizon"]
    ratio = np.sqrt(sum(root["numerators"]) / sum(root["denominators"]))
    assert ratio == pytest.approx(report["model_error"]["relative"]["horizon"])


def test_a_percentile_is_the_same_in_a_long_recording_as_in_a_short_one() -> None:
    """Seven of a thousand commands are old: in two seconds often two of a hundred, in an hour never one of these."""
    generator, found = np.random.default_rng(0), []
    for seconds in (100, 3600):
        times_ns = (np.arange(0.0, seconds, 0.02) * 1e9).astype(np.int64)
        ages_ms = 5.0 + 20.0 * (generator.random(len(times_ns)) < 0.007)
        blocks = Blocks(0, int(times_ns[-1]))
        blocks.add_percentile("age", times_ns, ages_ms, 99.0)
        blocks.add_percentile("nothing", times_ns, np.full(len(times_ns), np.nan), 99.0)
        figures: Any = blocks.to_json()["figures"]
        assert list(figures) == ["age"]
        assert len(figures["age"]["numerators"]) <= 60
        found.append(sum(figures["age"]["numerators"]) / sum(figures["age"]["denominators"]))

    assert found[0] == pytest.approx(found[1], rel=0.1)


def test_another_bundle_s_model_is_the_one_that_is_judged(recorder: RobotRecorder, report: dict[str, Any]) -> None:
    other = evaluate_bag(Request(recorder.folder, default_bundle("cartpole_sac")))

    assert other["model_error"]["relative"] != report["model_error"]["relative"]
    assert other["task_metrics"] == report["task_metrics"]
    assert other["correction_value"] is None  # its plans end in a value function


def test_what_the_driver_sent_counts_not_what_it_was_sent(tmp_path: Path) -> None:
    """A driver that carries every command out one period late, as ``applied_action`` tells."""
    robot = RobotRecorder(tmp_path / "bag", applied=True)
    robot.activate()
    robot.run(30)
    log = read_layer_log(Bag.open(robot.close()))
    (stretch,) = RecordedStretches(load_task("cartpole"), log)
    commands = log.runs[0].commands.table.values.rows.read(0, 30)
    np.testing.assert_array_equal(stretch.controls, commands)

    late = log.applied.stamps_ns
    late._values = type(late._values)("q", [stamp + 20_000_000 for stamp in late._values])
    (stretch,) = RecordedStretches(load_task("cartpole"), log)
    np.testing.assert_array_equal(stretch.controls[1:], commands[:-1])
    assert np.isnan(stretch.controls[0]).all()


def test_a_delay_that_the_driver_told_counts_once(tmp_path: Path) -> None:
    """The same run, with and without the driver's word for when each command took effect: the model errs alike."""
    task, errors = load_task("cartpole"), []
    for applied in (True, False):
        settings = {**SMALL, "command_delay_ticks": 1}
        robot = RobotRecorder(
            tmp_path / f"applied_{applied}", settings=settings, plant={"delay_ticks": 1}, applied=applied
        )
        robot.activate()
        robot.run(150)
        log = read_layer_log(Bag.open(robot.close()))
        if applied:
            late = log.applied.stamps_ns
            late._values = type(late._values)("q", [stamp + 20_000_000 for stamp in late._values])
        stretches = RecordedStretches(task, log)
        assert {stretch.delay_ticks for stretch in stretches} == {0 if applied else 1}
        errors.append(model_error(task, robot.bundle, stretches, 5))
    told, known = errors
    assert told.relative_one_step == pytest.approx(known.relative_one_step, rel=0.05)
    assert told.relative_horizon == pytest.approx(known.relative_horizon, rel=0.05)


def test_what_was_not_commanded_is_not_judged(tmp_path: Path) -> None:
    """Before the first command the robot is held, and observations may be lost without harm."""
    robot = RobotRecorder(tmp_path / "bag")
    early = {(topic, number) for topic in ("/nominal_action", "/action", "/planner_status") for number in range(1, 21)}
    robot.scribe.lost = early | {("/observation", 5)}
    robot.activate()
    robot.run(60)
    found = evaluate_bag(Request(robot.close()))

    assert found["task_metrics"]["states"] == 40
    assert found["timing"]["observations_lost"] == 0
    assert found["model_error"]["count"] == 39


def test_a_driver_that_tells_of_other_vectors_is_not_believed(tmp_path: Path) -> None:
    robot = RobotRecorder(tmp_path / "bag")
    say = robot.scribe.say
    robot.activate()
    robot.run(20)
    answers = {"observation_sequence": 0, "observation_stamp": stamp(0), "source": "x", "plans": 0}
    say("/applied_action", "demo_msgs/msg/Action", robot._now_ns, **answers, values=np.zeros(3))
    found = evaluate_bag(Request(robot.close()))

    assert any("/applied_action: not of as many values" in warning for warning in found["warnings"])
    assert found["closeness"]["of"] == "action"
    assert found["model_error"]["count"] == 19


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e300, -1.7e308, np.inf, np.nan])
def test_absurd_numbers_become_no_figures(tmp_path: Path, value: float) -> None:
    """A sensor that goes mad, or bits that no checksum guards."""
    robot = RobotRecorder(tmp_path / "bag", applied=True)
    robot.activate()
    robot.run(30)
    for number in range(30, 40):
        now, key = robot._now_ns, {"observation_sequence": number, "observation_stamp": stamp(robot._now_ns)}
        values = {"source": "demo_layer", "plans": 3, "values": np.array([value])}
        say = robot.scribe.say
        say("/observation", "demo_msgs/msg/Observation", now, sequence=number, values=np.full(5, value))
        for topic in ("/nominal_action", "/action", "/applied_action"):
            say(topic, "demo_msgs/msg/Action", now, **key, **values)
        robot._now_ns += 20_000_000
    found = evaluate_bag(Request(robot.close()))

    json.dumps(found, allow_nan=False)
    assert found["bit_exact"] is False


@pytest.mark.skipif(not default_bundle("stoch2").is_dir(), reason="no bundle of Stoch2 is shipped")
def test_corrections_are_known_from_the_answers(tmp_path: Path) -> None:
    robot = RobotRecorder(tmp_path / "bag", name="stoch2", settings={"num_samples": 66}, latest=3)
    robot.activate()
    robot.run(200, lambda tick: robot.change(minimum_gain=-1e9) if tick == 35 else None)
    bag = robot.close()
    found = evaluate_bag(Request(bag))
    assert found["model_error"]["count"] > 12
    assert found["model_error"]["horizon_count"] > 5
    assert found["model_error"]["step_s"] == 0.05
    assert found["task_metrics"]["states_with_unknown_control"] <= 1

    other = evaluate_bag(Request(bag, settings={"step_size": 0.3}))
    assert other["bit_exact"] is False
    # What was decided is what was recorded, not what would have been.
    assert other["model_error"] == found["model_error"]


def known_gains(task: Task, *, bias: float) -> tuple[list[LayerRun], list[Stretch], dict[str, Array]]:
    """A run in which every second plan is followed for one horizon, and the model errs by a constant."""
    generator = np.random.default_rng(0)
    count, horizon = 80, 4
    states, controls = [np.array([1.0, 0.0])], generator.normal(size=(count * 8 + 20, 1))
    for control in controls[:-1]:
        states.append(STATE_MATRIX @ states[-1] * 0.9 + INPUT_MATRIX @ control)
    observations = np.array(states)
    weights = {term.name: term.weight for term in task.cost_terms}
    settings = {"horizon": horizon, "maximum_plan_age_ticks": 1, "terminal_weight": 3.0}
    table, places = PlanTable(), dict[int, int]()
    gains, realised = np.zeros(count), np.zeros(count)
    for index in range(count):
        sequence, followed = 8 * index, index % 2 == 1
        rows = sequence + 1 + np.arange(horizon + 1)
        u = controls[rows].copy()
        u[-1] = 0.0
        each = task.stage_costs(observations[rows], u) @ task.cost_weights
        realised[index] = each[:-1].sum() + 3.0 * each[-1]
        gains[index] = generator.uniform(0.5, 1.0) if followed else 0.0
        nominal = realised[index] + gains[index] + bias
        values = {
            "nominal_cost": nominal, "plan_cost": nominal - gains[index], "predicted_gain": gains[index],
            "accepted": float(followed), "followed_share": float(followed),
        }  # fmt: skip
        places[index + 1] = len(table)
        table.append(
            index + 1, sequence, sequence * 10**8 + 1000, np.array([values.get(name, 0.0) for name in FIGURES])
        )
    state = State(0, 1, 0, 0, task.name, "", "", 0, "", settings, weights)
    run = LayerRun([state], Commands(None, np.zeros(0, np.int64)), Plans(table, places))  # type: ignore[arg-type]
    return [run], [Stretch(0, observations, controls)], {"gains": gains, "realised": realised}


@pytest.mark.parametrize("bias", [0.0, 0.4])
def test_gains_come_out_where_the_truth_is_known_and_the_bias_is_taken_off(linear_task: Task, bias: float) -> None:
    runs, stretches, truth = known_gains(linear_task, bias=bias)
    found = correction_value(linear_task, runs, stretches, Blocks(0, 10**11))

    assert (found["plans"], found["followed"], found["policy_alone"]) == (80, 40, 40)
    assert found["bias"] == pytest.approx(bias, abs=1e-9)
    assert found["predicted_gain_mean"] == pytest.approx(truth["gains"][1::2].mean())
    assert found["realised_gain_mean"] == pytest.approx(truth["gains"][1::2].mean())
    assert found["gain_came_true"] == 1.0
    assert found["correlation"] == pytest.approx(1.0)
    # The plans' costs are off by the bias, and by nothing else.
    assert found["cost_correlation"] == pytest.approx(1.0)


def test_where_every_plan_was_followed_the_bias_is_not_known(linear_task: Task) -> None:
    runs, stretches, _ = known_gains(linear_task, bias=0.4)
    figures = runs[0].plans.table.figures
    every = figures.read(0, 80)
    every[:, FIGURES.index("accepted")] = every[:, FIGURES.index("followed_share")] = 1.0
    figures._newest = type(figures._newest)("d", every.ravel().tolist())
    found = correction_value(linear_task, runs, stretches, Blocks(0, 10**11))

    assert found["policy_alone"] == 0
    assert found["bias"] is None
    assert found["realised_gain_mean"] == pytest.approx(found["predicted_gain_mean"] + 0.4)
