"""Figures of a walk against closed forms, on trajectories made for the purpose."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.walk_metrics import (
    COST_WINDOW_TICKS,
    CYCLE_TICKS,
    FALL_COST,
    Walk,
    calm_cost,
    gait_cycles,
    recovery_cost,
    settle_time_s,
)
from stoch2_sim.simulators.protocol import Array

TICKS = 1000
TIMES_S = CONTROL_PERIOD_S * np.arange(TICKS + 1)


def circular_walk(speed: float, yaw_rate: float, *, start_yaw: float = 0.0, command: Array | None = None) -> Walk:
    """A walk on a circle (or a line) at constant speed, level."""
    yaw = start_yaw + yaw_rate * TIMES_S
    velocity = speed * np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=1)
    if yaw_rate == 0.0:
        position = velocity * TIMES_S[:, None]
    else:
        radius = speed / yaw_rate
        x, y = np.sin(yaw) - math.sin(start_yaw), math.cos(start_yaw) - np.cos(yaw)
        position = radius * np.stack([x, y, np.zeros_like(yaw)], axis=1)
    angles = np.stack([np.zeros_like(yaw), np.zeros_like(yaw), np.arctan2(np.sin(yaw), np.cos(yaw))], axis=1)
    commands = np.tile([speed, 0.0, yaw_rate] if command is None else command, (TICKS + 1, 1))
    return Walk(position, angles, velocity, commands, np.zeros(2))


def test_a_walk_as_commanded_has_no_error_and_no_cost() -> None:
    walk = circular_walk(0.4, 0.9, start_yaw=2.0)
    np.testing.assert_allclose(gait_cycles(walk).errors, 0.0, atol=1e-5)
    np.testing.assert_allclose(walk.cost, 0.0, atol=1e-9)
    np.testing.assert_allclose(walk.path_displacement[-1], [0.4 * TICKS * CONTROL_PERIOD_S, 0.0], atol=1e-4)
    assert settle_time_s(walk, 0) == 0.0


def test_cycles_are_full_ones_from_a_second_on_and_errors_are_differences_of_means() -> None:
    walk = circular_walk(0.3, -0.2, command=np.array([0.45, 0.05, 0.1]))
    cycles = gait_cycles(walk)
    assert len(cycles.errors) == (TICKS - 200) // CYCLE_TICKS
    np.testing.assert_allclose(cycles.errors, np.tile([-0.15, -0.05, -0.3], (10, 1)), atol=1e-5)
    fallen = dataclasses.replace(walk, fall_tick=200 + 3 * CYCLE_TICKS + 79)
    assert len(gait_cycles(fallen).errors) == 3
    assert gait_cycles(dataclasses.replace(walk, fall_tick=100)).errors.shape == (0, 3)


def test_the_gait_s_ripple_is_no_error() -> None:
    walk = circular_walk(0.3, 0.0)
    ripple = 0.01 * np.sin(2 * math.pi * 2.5 * TIMES_S)
    rippled = dataclasses.replace(walk, position=walk.position + ripple[:, None] * np.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(gait_cycles(rippled).errors, 0.0, atol=1e-9)


def test_cost_is_the_study_s_weighted_sum() -> None:
    walk = circular_walk(0.3, 0.0)
    count = TICKS + 1
    angles = np.tile([0.1, -0.2, 0.3], (count, 1))
    angles[0, 2] = 0.0  # the heading at the start is the one to keep
    position = np.column_stack([0.3 * TIMES_S, np.full(count, 0.5), np.zeros(count)])
    position[0, 1] = 0.0
    tilted = dataclasses.replace(walk, angles=angles, position=position, velocity=np.zeros((count, 3)))
    expected = 40 * (0.1**2 + 0.2**2) + 4 * 0.3**2 + 2 * 0.5**2 + 0.3**2
    np.testing.assert_allclose(tilted.cost[1:], expected)
    assert recovery_cost(tilted, 100) == pytest.approx(COST_WINDOW_TICKS * expected)
    assert recovery_cost(dataclasses.replace(tilted, fall_tick=150), 100) == pytest.approx(50 * expected + FALL_COST)
    assert recovery_cost(dataclasses.replace(tilted, fall_tick=500), 100) == pytest.approx(COST_WINDOW_TICKS * expected)
    assert calm_cost(tilted) == pytest.approx(COST_WINDOW_TICKS * expected)
    assert calm_cost(dataclasses.replace(tilted, fall_tick=50)) == FALL_COST


@pytest.mark.parametrize("yaw", [0.0, 0.8, math.pi / 2, -2.5])
def test_a_robot_that_stands_on_a_slope_as_the_slope_does_has_no_posture_error(yaw: float) -> None:
    slope, direction = math.radians(9.0), 0.6
    gradient = math.tan(slope) * np.array([math.cos(direction), math.sin(direction)])
    up = np.array([-gradient[0], -gradient[1], 1.0]) / math.hypot(*gradient, 1.0)
    forward = np.array([math.cos(yaw), math.sin(yaw), gradient @ [math.cos(yaw), math.sin(yaw)]])
    forward /= np.linalg.norm(forward)
    left = np.cross(up, forward)
    # Of R = Rz(yaw) Ry(pitch) Rx(roll) = [forward, left, up].
    angles = [math.atan2(left[2], up[2]), -math.asin(forward[2]), math.atan2(forward[1], forward[0])]
    walk = dataclasses.replace(circular_walk(0.3, 0.0), angles=np.tile(angles, (TICKS + 1, 1)), gradient=gradient)
    np.testing.assert_allclose(walk.posture_error, 0.0, atol=1e-12)
    assert angles[2] == pytest.approx(yaw)


def test_settle_time_is_the_last_time_beyond_a_limit() -> None:
    walk = circular_walk(0.3, 0.0)
    velocity = walk.velocity.copy()
    velocity[340, 1] = 0.3
    angles = walk.angles.copy()
    angles[310, 0] = -0.11
    assert settle_time_s(dataclasses.replace(walk, velocity=velocity, angles=angles), 300) == pytest.approx(0.2)
    assert settle_time_s(dataclasses.replace(walk, angles=angles), 300) == pytest.approx(0.05)
    assert settle_time_s(dataclasses.replace(walk, angles=angles), 310) == 0.0
    angles[300:, 2] = 0.2
    assert settle_time_s(dataclasses.replace(walk, angles=angles), 300) == pytest.approx(1.5)


def test_lateral_error_knows_that_sidestepping_was_commanded() -> None:
    command = np.array([0.3, 0.1, 0.0])
    walk = circular_walk(0.3, 0.0, command=command)
    sideways = walk.position + np.outer(0.1 * TIMES_S, [0.0, 1.0, 0.0])
    stepped = dataclasses.replace(walk, position=sideways)
    np.testing.assert_allclose(stepped.lateral_error, 0.0, atol=1e-12)
    np.testing.assert_allclose(walk.lateral_error[-1], -0.5)
