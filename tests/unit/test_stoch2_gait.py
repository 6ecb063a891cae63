"""The trajectory generator: ranges, directions, continuity, and targets that are always reachable."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoch2_sim.robots.stoch2 import geometry as g
from stoch2_sim.robots.stoch2.gait import (
    ACTION_NAMES,
    NUM_ACTIONS,
    TROT,
    WALK,
    Gait,
    foot_targets,
    joint_targets,
    leg_phases,
    planned_stance,
    steps,
)
from stoch2_sim.robots.stoch2.kinematics import forward, reachable
from stoch2_sim.simulators.protocol import Array

GAITS = [pytest.param(TROT, id="trot"), pytest.param(WALK, id="walk")]


def action(**values: float) -> Array:
    """An action by its groups; the others are 0. Shape=(1, 20)."""
    result = np.zeros((1, NUM_ACTIONS))
    for group, value in values.items():
        columns = [index for index, name in enumerate(ACTION_NAMES) if name.startswith(group)]
        assert len(columns) == 4
        result[:, columns] = value
    return result


def test_actions_are_named_by_group_and_leg() -> None:
    assert ACTION_NAMES[:5] == (
        "step_length_front_right",
        "step_length_front_left",
        "step_length_back_right",
        "step_length_back_left",
        "steer_front_right",
    )
    assert len(set(ACTION_NAMES)) == NUM_ACTIONS == 20


@pytest.mark.parametrize("gait", GAITS)
def test_every_action_is_within_reach_at_every_phase(gait: Gait) -> None:
    generator = np.random.default_rng(0)
    actions = generator.uniform(-1.0, 1.0, (60_000, NUM_ACTIONS))
    # The corners of the box are the farthest away; a beta distribution likes edges.
    actions[:20_000] = np.sign(actions[:20_000])
    actions[20_000:40_000] = 2.0 * generator.beta(0.2, 0.2, (20_000, NUM_ACTIONS)) - 1.0
    phases = generator.random(len(actions))
    targets = foot_targets(actions, phases, gait)
    assert reachable(targets).all()
    joints = joint_targets(actions, phases, gait)
    assert np.abs(forward(joints) - targets).max() < 1e-9
    assert (joints >= g.JOINT_MINIMUM_RAD).all()
    assert (joints <= g.JOINT_MAXIMUM_RAD).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=NUM_ACTIONS, max_size=NUM_ACTIONS), st.floats(-10.0, 10.0))
def test_actions_outside_the_box_count_as_its_edge(values: list[float], phase: float) -> None:
    actions = np.array([values])
    targets = foot_targets(actions, np.array([phase]))
    np.testing.assert_array_equal(targets, foot_targets(np.clip(actions, -1.0, 1.0), np.array([phase])))
    assert reachable(targets).all()


def test_a_cycle_of_the_trot_lasts_as_long_as_the_public_one() -> None:
    assert TROT.cycle_ticks == 80
    assert TROT.phase_step == 1.0 / 80.0
    phases = np.linspace(0.5 / 80.0, 79.5 / 80.0, 80)
    stance = planned_stance(phases)
    assert (stance[:, 0] == stance[:, 3]).all()
    assert (stance[:, 1] == stance[:, 2]).all()
    assert stance[:, 0].mean() == 0.5
    assert not (stance[:, 0] & stance[:, 1]).any()


def test_the_walk_keeps_three_feet_on_the_ground() -> None:
    phases = (np.arange(WALK.cycle_ticks) + 0.5) / WALK.cycle_ticks
    assert (planned_stance(phases, WALK).sum(axis=1) == 3).all()


@pytest.mark.parametrize("gait", GAITS)
def test_feet_stand_on_a_line_and_move_backward(gait: Gait) -> None:
    phases = np.linspace(0.0, 1.0, 400, endpoint=False)
    targets = foot_targets(np.repeat(action(step_length=1.0, y_shift=-1.0), 400, axis=0), phases, gait)
    stance = planned_stance(phases, gait)
    np.testing.assert_allclose(targets[stance][:, 1], g.NEUTRAL_FOOT_HEIGHT_M, atol=1e-12)
    assert targets[..., 1].max() == pytest.approx(g.NEUTRAL_FOOT_HEIGHT_M + 0.06, abs=1e-4)
    assert np.ptp(targets[..., 0], axis=0) == pytest.approx([0.136] * 4, abs=1e-4)
    for leg in range(4):
        order = np.argsort(leg_phases(phases, gait)[:, leg])
        forward_steps = np.diff(targets[order, leg, 0])
        standing = stance[order, leg]
        assert (forward_steps[standing[:-1] & standing[1:]] <= 0.0).all()
        assert (forward_steps[~standing[:-1] & ~standing[1:]] >= 0.0).all()


def test_groups_mean_what_the_public_environment_says() -> None:
    step = steps(action(step_length=0.0, steer=0.5, y_shift=1.0, x_shift=-0.5, z_shift=1.0))
    np.testing.assert_allclose(step.length_m, 0.068)
    np.testing.assert_allclose(step.steer_rad, math.pi / 4)
    np.testing.assert_allclose(step.y_shift_m, 0.038)
    np.testing.assert_allclose(step.x_shift_m, -0.0209)
    # To the right for every leg: outward on the right, inward on the left.
    np.testing.assert_allclose(step.z_shift_m, [[0.035, -0.035, 0.035, -0.035]])


@pytest.mark.parametrize(("x_shift", "limit_m"), [(0.5, 0.038), (0.8, 0.038 * 0.2 / 0.4381), (1.0, 0.0), (-1.0, 0.0)])
def test_shifted_legs_may_shorten_less(x_shift: float, limit_m: float) -> None:
    assert steps(action(y_shift=1.0, x_shift=x_shift)).y_shift_m == pytest.approx(np.full((1, 4), limit_m), abs=1e-9)


def test_steering_turns_the_step_away_from_outward() -> None:
    phase = np.array([0.75])  # front right is in mid stance, a little later it is behind
    later = foot_targets(action(steer=1.0), phase + 0.05) - foot_targets(action(steer=1.0), phase)
    assert later[0, 0, 2] > 0.0
    assert later[0, 0, 0] == pytest.approx(0.0, abs=1e-12)


def test_phases_count_modulo_one_and_nothing_is_remembered() -> None:
    actions = np.random.default_rng(3).uniform(-1.0, 1.0, (5, NUM_ACTIONS))
    phases = np.linspace(0.1, 0.9, 5)
    first = joint_targets(actions, phases)
    joint_targets(-actions, phases + 0.3)
    np.testing.assert_array_equal(joint_targets(actions, phases), first)
    np.testing.assert_allclose(joint_targets(actions, phases + 3.0), first, atol=1e-12)
