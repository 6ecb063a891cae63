"""Stoch2's scenarios: what happens in which episode, what is measured of it, and that nothing else decides that."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.evaluation import run_episodes
from demo_control.parallel_evaluation import EvaluationRequest, evaluate, make_scenario
from demo_control.scenarios import ConstantController, Trial, make_trials
from demo_control.tasks import load_task
from stoch2_sim.robots.stoch2.episode import Episode, Push, SensingParameters
from stoch2_sim.robots.stoch2.recorded_plants import walk_of
from stoch2_sim.robots.stoch2.scenarios import (
    PushScenario,
    RobustScenario,
    SlopeScenario,
    TrackScenario,
    WalkingScenario,
    WalkScenario,
)
from stoch2_sim.robots.stoch2.walk_metrics import gait_cycles

PUSH_S = 0.03


def episodes_of(scenario: WalkingScenario[Any], count: int, seed: int = 0) -> list[Episode]:
    return [scenario.episode(number, np.random.default_rng([seed, number, 2])) for number in range(count)]


def short_request(**changes: object) -> EvaluationRequest:
    values: dict[str, object] = {
        "task": "stoch2", "bundle": Path("none"), "controller": "constant", "simulator": "mujoco", "episodes": 10,
        "seed": 3, "scenario": "robust", "steps": 60, "plant": {"num_pushes": 1, "push_minimum_n": 150.0}, **changes,
    }  # fmt: skip
    return EvaluationRequest(**values)  # type: ignore[arg-type]


def test_pushes_come_from_both_sides_in_eight_phases_of_the_gait() -> None:
    scenario = PushScenario({"push_n": 160.0, "slope_deg": 9.0}, None)
    pushes = [episode.pushes[0] for episode in episodes_of(scenario, scenario.num_episodes)]
    assert Counter(push.force_n for push in pushes) == {(0.0, 160.0, 0.0): 8, (0.0, -160.0, 0.0): 8}
    assert Counter(push.start_tick % 80 for push in pushes) == dict.fromkeys(range(0, 80, 10), 2)
    assert {push.duration_ticks for push in pushes} == {6}
    assert scenario.num_steps >= max(push.start_tick for push in pushes) + 300
    robot = episodes_of(scenario, 1)[0].robot
    assert (robot.terrain, robot.slope_deg) == ("slope", 9.0)
    with pytest.raises(ConfigurationError, match="slope_deg = 9: must be 0 on terrain 'rough'"):
        episodes_of(PushScenario({"terrain": "rough", "slope_deg": 9.0}, None), 1)


def test_track_has_fifteen_commands_on_level_ground_and_on_slopes() -> None:
    scenario = TrackScenario({}, None)
    episodes = episodes_of(scenario, scenario.num_episodes)
    commands = {(e.robot.terrain, e.commands[0].forward_m_s, e.commands[0].yaw_rate_rad_s) for e in episodes}
    assert len(commands) == len({scenario.cell(number) for number in range(30)}) == 30
    assert scenario.num_steps == 2000
    slopes = [e.robot for e in episodes if e.robot.terrain == "slope"]
    assert all(5.0 <= robot.slope_deg <= 9.0 for robot in slopes)
    assert all(0.5 <= e.robot.friction <= 0.8 for e in episodes)
    assert len({robot.slope_deg for robot in slopes}) == 15
    assert TrackScenario({"terrain": "flat"}, None).num_episodes == 15


def test_slopes_are_a_grid() -> None:
    scenario = SlopeScenario({}, None)
    robots = [episode.robot for episode in episodes_of(scenario, scenario.num_episodes)]
    grid = {(robot.slope_deg, robot.orientation_deg) for robot in robots}
    assert grid == {(slope, direction) for slope in (5, 7, 9, 11) for direction in (0, 30, 60, 90)}


def test_robust_draws_everything_within_its_ranges() -> None:
    episodes = episodes_of(RobustScenario({}, None), 200)
    for name, low, high in (
        ("slope_deg", 0, 11), ("friction", 0.42, 0.8), ("payload_kg", 0, 1), ("torque_limit_nm", 5, 8),
    ):  # fmt: skip
        values = [getattr(episode.robot, name) for episode in episodes]
        spread = high - low
        assert low <= min(values) < low + 0.05 * spread < high - 0.05 * spread < max(values) <= high
    pushes = [push for episode in episodes for push in episode.pushes]
    assert len(pushes) == 600
    assert all(50.0 <= math.hypot(*push.force_n) <= 150.0 for push in pushes)
    assert all(push.duration_ticks == round(PUSH_S / 0.005) for push in pushes)
    quadrants = Counter((push.force_n[0] > 0.0, push.force_n[1] > 0.0) for push in pushes)
    assert min(quadrants.values()) > 100
    assert all(first.start_tick + 60 < second.start_tick for e in episodes for first, second in _pairs(e))
    assert max(push.start_tick for push in pushes) < 430


def _pairs(episode: Episode) -> list[tuple[Push, Push]]:
    return list(zip(episode.pushes[:-1], episode.pushes[1:], strict=True))


def sensing_of(values: Mapping[str, Scalar]) -> SensingParameters:
    scenario = make_scenario(load_task("stoch2"), "walk", values)
    assert isinstance(scenario, WalkScenario)
    return scenario.episode(0, np.random.default_rng(0)).sensing


def test_sensing_is_realistic_unless_it_is_ideal() -> None:
    usual, ideal, late = (
        sensing_of(values) for values in ({}, {"ideal_sensing": True}, {"ideal_sensing": True, "latency_ms": 20.0})
    )
    assert (usual.imu_noise_rad, usual.latency_ms) == (0.02, 20.0)
    assert not usual.ideal_sensing
    assert not usual.foot_sensors
    assert (ideal.imu_noise_rad, ideal.gyroscope_noise_rad_s, ideal.latency_ms, ideal.ideal_sensing) == (0, 0, 0, True)
    assert (late.imu_noise_rad, late.latency_ms) == (0.0, 20.0)


def test_figures_of_a_push_are_those_of_the_second_and_a_half_after_it() -> None:
    scenario = PushScenario({}, None)
    count = scenario.num_steps + 1
    times = 0.005 * np.arange(count)
    start = scenario.push_tick(2)
    position = np.column_stack([0.3 * times, np.zeros(count), np.full(count, 0.24)])
    position[start + 300 :, 1] = -0.1
    angles = np.zeros((count, 3))
    angles[start + 40, 0] = 0.2
    records = {
        "position": position, "angles": angles, "velocity": np.tile([0.3, 0.0, 0.0], (count, 1)),
        "commands": np.tile([0.3, 0.0, 0.0], (count, 1)), "gradient": np.zeros((count, 2)),
        "failed": np.zeros(count),
    }  # fmt: skip
    figures = scenario.judge(Trial(2, 0.005, records, np.zeros((count - 1, 20)), None))
    assert figures["success"] is True
    assert figures["settle_time_s"] == pytest.approx(0.2)
    assert figures["recovery_cost"] == pytest.approx(40 * 0.2**2 + 2 * 0.1**2)
    assert figures["lateral_drift_m"] == pytest.approx(0.1)
    fallen = scenario.judge(Trial(2, 0.005, records, np.zeros((count - 1, 20)), start + 30))
    assert fallen["success"] is False
    assert fallen["recovery_cost"] == pytest.approx(500.0)
    assert not {"settle_time_s", "lateral_drift_m"} & set(fallen)
    for count in (start, start + 299):
        short = {name: values[: count + 1] for name, values in records.items()}
        figures = scenario.judge(Trial(2, 0.005, short, np.zeros((count, 20)), None))
        assert not {"recovery_cost", "settle_time_s", "lateral_drift_m", "heading_error_rad"} & set(figures)


def test_calm_walking_too_short_to_be_judged_has_no_cost() -> None:
    for scenario in ("walk", "track", "slope"):
        report = evaluate(short_request(scenario=scenario, steps=200, episodes=1, plant={}), jobs=1)
        assert report["recovery_cost_mean"] is None
        assert report["distance_m_mean"] is not None


def test_track_tells_ratio_and_creep_apart() -> None:
    scenario = TrackScenario({}, 400)
    count = 401
    velocity = np.tile([0.27, 0.0, 0.0], (count, 1))
    records = {
        "position": velocity * 0.005 * np.arange(count)[:, None], "angles": np.zeros((count, 3)), "velocity": velocity,
        "commands": np.tile([0.3, 0.0, 0.0], (count, 1)), "gradient": np.zeros((count, 2)), "failed": np.zeros(count),
    }  # fmt: skip
    cells = [scenario.cell(number) for number in range(15)]
    straight, turning, standing = (
        scenario.judge(Trial(cells.index(f"flat, {cell} rad/s"), 0.005, records, np.zeros((400, 20)), None))
        for cell in ("0.30 m/s, +0.0", "0.00 m/s, +0.3", "0.00 m/s, +0.0")
    )
    assert straight["speed_ratio"] == pytest.approx(0.9)
    assert straight["speed_error_rms"] == pytest.approx(0.03)
    assert turning["creep_m_s"] == pytest.approx(0.27)
    assert "creep_m_s" not in straight
    assert not {"creep_m_s", "speed_ratio"} & set(standing)


def test_a_real_walk_is_recorded_as_it_was() -> None:
    task = load_task("stoch2")
    scenario = WalkScenario({"ideal_sensing": True}, 360)
    plants = scenario.make_plants("mujoco", 0, [0, 1])
    controller = ConstantController(scenario.constant_action)
    episodes = run_episodes(task, plants, controller, 0, num_steps=scenario.num_steps)
    trials = make_trials(plants, episodes, 0, task.control_period_s)
    walk = walk_of(trials[1])
    plants.close()
    assert walk.fall_tick is None
    speed = episodes.true_observations[201:361, 1, 14].mean()
    assert gait_cycles(walk).measured[:, 0].mean() == pytest.approx(speed, abs=0.01)
    assert 0.2 < speed < 0.45
    np.testing.assert_allclose(walk.velocity[1:, 0], np.diff(walk.position[:, 0]) / 0.005, atol=0.15)


def test_an_evaluation_has_all_fields_and_depends_on_nothing_but_its_request() -> None:
    one = evaluate(short_request(), jobs=1)
    two = evaluate(short_request(), jobs=2)
    assert one == two
    assert evaluate(short_request(seed=4), jobs=1)["recovery_cost_mean"] != one["recovery_cost_mean"]
    expected = {
        "task", "controller", "simulator", "episodes", "successes", "success_rate", "return_mean", "return_std",
        "scenario", "steps", "falls", "fall_rate", "distance_m_mean", "speed_error_rms", "yaw_rate_error_rms",
        "recovery_cost_mean", "lateral_drift_m_mean", "settle_time_s_mean", "plan_ms", "settings", "seed",
    }  # fmt: skip
    assert expected <= set(one)
    assert one["plan_ms"] is None
    assert one["settings"]["push_minimum_n"] == 150.0  # type: ignore[index]
    assert one["settings"]["friction_maximum"] == 0.8  # type: ignore[index]
    assert len(one["episode_figures"]) == 10  # type: ignore[arg-type]
    json.dumps(one, allow_nan=False)


def test_more_episodes_begin_with_the_same_ones() -> None:
    few, many = (evaluate(short_request(episodes=count, steps=40), jobs=1) for count in (8, 9))
    assert many["episode_figures"][:8] == few["episode_figures"]  # type: ignore[index]


def test_the_constant_gait_s_speed_is_set_by_its_step_length() -> None:
    reports = [
        evaluate(short_request(scenario="walk", steps=360, episodes=1, plant={"step_length": length}), jobs=1)
        for length in (-0.5, 0.5)
    ]
    slow, fast = (report["distance_m_mean"] for report in reports)
    assert 0.0 < 1.5 * slow < fast  # type: ignore[operator]
