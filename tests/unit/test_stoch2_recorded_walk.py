"""Stoch2 drawn from what a recording tells of it, and where its plans lead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demo_control.tasks import Array, Motion, RecordedRun, load_task
from stoch2_sim.robots.stoch2.geometry import JOINT_NAMES
from stoch2_sim.robots.stoch2.mjcf import coordinates
from stoch2_sim.robots.stoch2.observation import INDEX
from stoch2_sim.robots.stoch2.placement import neutral_stance
from stoch2_sim.robots.stoch2.planned_path import planned_path
from stoch2_sim.robots.stoch2.planning import DECISION_S, OBSERVATION, PLANNING
from stoch2_sim.robots.stoch2.recorded_walk import recorded_walk

TIMES = np.arange(-2, 6) * 0.02
YAW = 0.5 * np.pi


def recorded(**changes: object) -> RecordedRun:
    """A robot that stands, turned to the left, and is pushed to its left at 0.04 s; joints in an order of their own."""
    stance = neutral_stance().ravel()
    names = (*reversed(JOINT_NAMES), "wheel")
    motion = Motion(
        times_s=TIMES,
        joint_names=names,
        joints=np.tile([*stance[::-1], 9.0], (len(TIMES), 1)),
        positions=np.tile([1.0, 2.0, 0.25], (len(TIMES), 1)),
        orientations=np.tile([np.cos(YAW / 2), 0.0, 0.0, np.sin(YAW / 2)], (len(TIMES), 1)),
        pushes=np.where((TIMES == 0.04)[:, None], [0.0, 100.0, 0.0], 0.0),
    )
    observations = np.zeros((20, len(INDEX)))
    observations[10:, INDEX["forward_command"]] = 0.3
    run = RecordedRun("a robot", np.arange(20) * 0.005, observations, motion, {"stoch2_driver": {"terrain": "flat"}})
    return replace(run, **changes)


def test_joints_are_found_by_name_and_pushes_turn_with_the_robot() -> None:
    walk = recorded_walk(recorded())

    np.testing.assert_allclose(walk.times_s, [0.0, 0.02, 0.04, 0.06, 0.08], atol=1e-12)
    np.testing.assert_allclose(
        walk.qpos[0], coordinates(np.array([1.0, 2.0, 0.25]), walk.qpos[0, 3:7], neutral_stance())
    )
    np.testing.assert_allclose(walk.forces[2], [-100.0, 0.0, 0.0], atol=1e-9)
    assert not walk.forces[[0, 1, 3, 4]].any()
    assert walk.commands[:, 0].tolist() == [0.0, 0.0, 0.0, 0.3, 0.3]


def test_the_ground_is_the_one_that_was_simulated() -> None:
    slope = recorded(parameters={"stoch2_driver": {"terrain": "slope", "slope_deg": 7.0, "push_n": 100.0}})
    assert recorded_walk(slope).robot.slope_deg == 7.0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"joint_names": ("wheel",) * 13}, "no joint '[a-z_]+'"),
        ({"positions": None}, "ground_truth_odom or odom"),
    ],
)
def test_what_is_not_in_the_recording_is_named(changes: dict[str, object], text: str) -> None:
    run = recorded()
    assert run.motion is not None
    with pytest.raises(ValueError, match=text):
        recorded_walk(replace(run, motion=replace(run.motion, **changes)))
    with pytest.raises(ValueError, match="joint_states"):
        recorded_walk(replace(run, motion=None))


def test_the_task_draws_a_recorded_walk(tmp_path: Path) -> None:
    render = load_task("stoch2").render_video
    assert render is not None
    assert render(tmp_path / "walk.mp4", [recorded()], lambda _share: None)
    assert b"avc1" in (tmp_path / "walk.mp4").read_bytes()


def states(forward: float, lateral: float, rate: float, steps: int = 8) -> Array:
    planned = np.zeros((1, steps + 1, len(OBSERVATION) + len(PLANNING.correction)))
    for name, value in (("forward_velocity", forward), ("lateral_velocity", lateral), ("yaw_rate", rate)):
        planned[..., OBSERVATION.index(name)] = value
    return planned


def test_a_plan_at_constant_speeds_is_a_line_and_with_a_turn_a_circle() -> None:
    line = planned_path(states(0.4, -0.1, 0.0))[0]
    np.testing.assert_allclose(line[:, 0], 0.4 * DECISION_S * np.arange(9), atol=1e-12)
    np.testing.assert_allclose(line[:, 1], -0.1 * DECISION_S * np.arange(9), atol=1e-12)

    rate = 0.5
    circle = planned_path(states(0.4, 0.0, rate))[0]
    angles = rate * DECISION_S * np.arange(9)
    radius = 0.4 / rate
    np.testing.assert_allclose(circle[:, 0], radius * np.sin(angles), atol=1e-5)
    np.testing.assert_allclose(circle[:, 1], radius * (1.0 - np.cos(angles)), atol=1e-5)


def test_the_cartpoles_plan_is_the_way_of_its_tip() -> None:
    path = load_task("cartpole").planned_path
    assert path is not None
    hanging, leaning = [0.5, 0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0]
    np.testing.assert_allclose(path(np.array([[hanging, leaning]]))[0][:, [0, 2]], [[0.5, 0.23], [1.0, 1.23]])
