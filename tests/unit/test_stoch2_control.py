"""Commands, moving reference, observation, and what control does with bad actions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.stoch2 import gait
from stoch2_sim.robots.stoch2.attitude import quaternions
from stoch2_sim.robots.stoch2.control import ControlSettings, Ideal, Stoch2Control
from stoch2_sim.robots.stoch2.estimation import Instruments
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S, GRAVITY_MPS2
from stoch2_sim.robots.stoch2.observation import INDEX, OBSERVATION, POLICY_DIM, BodyState, ObservationBuilder
from stoch2_sim.robots.stoch2.planning import PLANNING
from stoch2_sim.robots.stoch2.reference import (
    WITHOUT_LEASH,
    CommandSettings,
    CommandShaper,
    LeashSettings,
    MovingReference,
)
from stoch2_sim.robots.stoch2.simulation import Sensors
from stoch2_sim.simulators.protocol import Array


def shaped(shaper: CommandShaper, ticks: int, request: tuple[float, float, float], age_s: float = 0.0) -> Array:
    for _ in range(ticks):
        commands = shaper.update(np.array([request]), np.array([age_s]))
    return commands[0]


def test_commands_are_limited_in_size_and_change() -> None:
    settings = CommandSettings()
    shaper = CommandShaper(1, settings)
    first = shaped(shaper, 1, (9.0, -9.0, 9.0))
    np.testing.assert_allclose(first, CONTROL_PERIOD_S * settings.acceleration * [1.0, -1.0, 1.0])
    np.testing.assert_allclose(shaped(shaper, 400, (9.0, -9.0, 9.0)), settings.maximum * [1.0, -1.0, 1.0])
    np.testing.assert_allclose(shaped(shaper, 400, (-9.0, 0.0, 0.0)), [settings.minimum[0], 0.0, 0.0], atol=1e-12)


def test_a_stale_request_becomes_a_gentle_stop() -> None:
    settings = CommandSettings(request_timeout_s=0.5)
    shaper = CommandShaper(1, settings)
    shaped(shaper, 400, (0.4, 0.0, 0.3))
    np.testing.assert_allclose(shaped(shaper, 1, (0.4, 0.0, 0.3), age_s=0.4), [0.4, 0.0, 0.3])
    slower = shaped(shaper, 1, (0.4, 0.0, 0.3), age_s=0.6)
    assert slower[0] == pytest.approx(0.4 - CONTROL_PERIOD_S * settings.forward_acceleration_m_s2)
    np.testing.assert_allclose(shaped(shaper, 400, (0.4, 0.0, 0.3), age_s=0.6), np.zeros(3))


def test_what_is_not_finite_is_no_request() -> None:
    assert np.isfinite(shaped(CommandShaper(1, CommandSettings()), 5, (math.nan, math.inf, -math.inf))).all()


def test_the_reference_draws_the_commanded_circle() -> None:
    reference = MovingReference(1, WITHOUT_LEASH)
    reference.reset(np.zeros((1, 2)), np.array([0.5]))
    speed, rate, ticks = 0.3, 0.4, 800
    for _ in range(ticks):
        reference.advance(np.array([[speed, 0.0, rate]]))
    # The first tick starts from standstill: half of it is missing.
    angle = rate * (ticks - 0.5) * CONTROL_PERIOD_S
    centre = np.array([-math.sin(0.5), math.cos(0.5)]) * speed / rate
    end = centre + np.array([math.sin(0.5 + angle), -math.cos(0.5 + angle)]) * speed / rate
    yaw_error, errors = reference.errors(end[None], np.array([0.5 + angle]))
    np.testing.assert_allclose(yaw_error, [0.0], atol=1e-12)
    np.testing.assert_allclose(errors, [[0.0, 0.0]], atol=1e-4)


def test_the_leash_drags_the_reference_along() -> None:
    reference = MovingReference(1, LeashSettings(forward_leash_m=0.04, lateral_leash_m=0.2, heading_leash_rad=0.5))
    reference.reset(np.zeros((1, 2)), np.zeros(1))
    _, errors = reference.errors(np.array([[1.0, -0.1]]), np.zeros(1))
    np.testing.assert_allclose(errors, [[0.04, -0.1]])
    _, errors = reference.errors(np.array([[0.97, -0.1]]), np.zeros(1))
    np.testing.assert_allclose(errors, [[0.01, -0.1]], atol=1e-12)
    yaw_error, _ = reference.errors(np.array([[0.97, -0.1]]), np.array([2.0]))
    np.testing.assert_allclose(yaw_error, [0.5])
    yaw_error, _ = reference.errors(np.array([[0.97, -0.1]]), np.array([1.6]))
    np.testing.assert_allclose(yaw_error, [0.1], atol=1e-12)


def turned_reference(yaw: float, rate: float, ticks: int) -> float:
    """Heading error after a robot has stood still at a heading for some ticks of a commanded yaw rate."""
    reference = MovingReference(1, LeashSettings(heading_lag_rad=0.08, heading_leash_rad=0.3))
    reference.reset(np.zeros((1, 2)), np.zeros(1))
    reference.errors(np.zeros((1, 2)), np.array([yaw]))
    for _ in range(ticks):
        reference.advance(np.array([[0.0, 0.0, rate]]))
        yaw_error, _ = reference.errors(np.zeros((1, 2)), np.array([yaw]))
    return float(yaw_error[0])


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_reference_waits_for_a_robot_that_does_not_turn(sign: float) -> None:
    assert turned_reference(0.0, 0.5 * sign, 500) == pytest.approx(-0.08 * sign)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_robot_that_was_pushed_is_to_turn_back(sign: float) -> None:
    """What no command did is an error up to the leash's end; a command towards the robot makes it smaller."""
    assert turned_reference(0.2 * sign, 0.0, 500) == pytest.approx(0.2 * sign)
    assert turned_reference(0.2 * sign, -0.5 * sign, 500) == pytest.approx(0.2 * sign)
    assert turned_reference(0.5 * sign, 0.0, 1) == pytest.approx(0.3 * sign)
    assert turned_reference(0.2 * sign, 0.5 * sign, 500) == pytest.approx(-0.08 * sign)


def test_errors_are_seen_from_the_reference_and_wrap() -> None:
    reference = MovingReference(1, WITHOUT_LEASH)
    reference.reset(np.array([[1.0, 1.0]]), np.array([3.0]))
    yaw_error, errors = reference.errors(np.array([[1.0 + math.cos(3.0), 1.0 + math.sin(3.0)]]), np.array([-3.0]))
    np.testing.assert_allclose(errors, [[1.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(yaw_error, [2.0 * math.pi - 6.0])


def body(yaw: float = 0.0, x: float = 0.0, roll: float = 0.0) -> BodyState:
    return BodyState(
        angles=np.array([[roll, -0.1, yaw]]),
        angular_velocity=np.array([[0.1, 0.2, 0.3]]),
        velocity=np.array([[0.4, 0.5, 0.6]]),
        height=np.array([0.24]),
        support=np.array([[0.01, 0.02]]),
        position=np.array([[x, 0.0]]),
    )


def test_names_and_order_are_those_of_the_planning_problem() -> None:
    names = [quantity.name for quantity in OBSERVATION]
    assert len(names) == 25
    assert names[: POLICY_DIM + 1] == [
        "roll_2_ticks_ago", "pitch_2_ticks_ago", "yaw_error_2_ticks_ago",
        "roll_1_tick_ago", "pitch_1_tick_ago", "yaw_error_1_tick_ago",
        "roll", "pitch", "yaw_error", "support_roll", "support_pitch", "roll_rate",
    ]  # fmt: skip
    assert tuple(names[6:]) == PLANNING.observation


def test_history_starts_with_the_present_and_then_moves_on() -> None:
    builder = ObservationBuilder(1, WITHOUT_LEASH)
    builder.reset(np.zeros((1, 2)), np.zeros(1))
    rolls = (0.1, 0.2, 0.3)
    seen = [builder.build(body(roll=roll), np.zeros(1), np.zeros((1, 3)))[0] for roll in rolls]
    np.testing.assert_allclose(seen[0][[0, 3, 6]], [0.1, 0.1, 0.1])
    np.testing.assert_allclose(seen[1][[0, 3, 6]], [0.1, 0.1, 0.2])
    np.testing.assert_allclose(seen[2][[0, 3, 6]], [0.1, 0.2, 0.3])


def test_entries_hold_what_their_names_say() -> None:
    builder = ObservationBuilder(1, WITHOUT_LEASH)
    builder.reset(np.zeros((1, 2)), np.zeros(1))
    builder.build(body(), np.zeros(1), np.zeros((1, 3)))
    command = np.array([[0.2, 0.05, 0.1]])
    seen = builder.build(body(yaw=0.2, x=0.3), np.array([0.25]), command)[0]
    entries = {name: seen[index] for name, index in INDEX.items()}
    assert entries["yaw_error"] == pytest.approx(0.2 - 0.5 * CONTROL_PERIOD_S * 0.1)
    assert entries["forward_error"] == pytest.approx(0.3 - 0.5 * CONTROL_PERIOD_S * 0.2, abs=1e-6)
    assert (entries["phase_sine"], entries["phase_cosine"]) == pytest.approx((1.0, 0.0), abs=1e-12)
    assert (entries["pitch"], entries["support_pitch"], entries["yaw_rate"]) == (-0.1, 0.02, 0.3)
    assert (entries["lateral_velocity"], entries["height"], entries["yaw_rate_command"]) == (0.5, 0.24, 0.1)


def standing(count: int) -> Sensors:
    joints = gait.joint_targets(np.zeros((count, NUM_ACTIONS)), np.full(count, 0.25))
    return Sensors(
        joint_positions=joints,
        joint_velocities=np.zeros_like(joints),
        orientation=quaternions(np.zeros((count, 3))),
        angular_velocity=np.zeros((count, 3)),
        linear_acceleration=np.tile([0.0, 0.0, GRAVITY_MPS2], (count, 1)),
        foot_forces=np.full((count, 4), 12.0),
    )


def control(count: int) -> Stoch2Control:
    made = Stoch2Control([Instruments()] * count, ControlSettings())
    made.reset(np.zeros((count, 2)), np.zeros(count))
    return made


def test_targets_are_those_of_the_gait_and_its_clock_goes_once_around_in_eighty_ticks() -> None:
    robot = control(1)
    action = np.random.default_rng(0).uniform(-1.0, 1.0, (1, NUM_ACTIONS))
    first = robot.joint_targets(action)
    np.testing.assert_array_equal(first, gait.joint_targets(action, np.zeros(1)))
    for _ in range(79):
        robot.joint_targets(action)
    np.testing.assert_allclose(np.sin(2.0 * np.pi * robot.phases), [0.0], atol=1e-9)
    np.testing.assert_allclose(robot.joint_targets(action), first, atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_unusable_action_is_replaced_by_the_last_good_one(bad: float) -> None:
    robots, reference = control(2), control(2)
    good = np.random.default_rng(1).uniform(-1.0, 1.0, (2, NUM_ACTIONS))
    robots.joint_targets(good)
    reference.joint_targets(good)
    broken = -good
    broken[0, 3] = bad
    wanted = np.stack([good[0], -good[1]])
    np.testing.assert_array_equal(robots.joint_targets(broken), reference.joint_targets(wanted))
    assert robots.held.tolist() == [True, False]
    robots.joint_targets(good)
    assert not robots.held.any()


def test_actions_of_the_wrong_shape_hold_everyone() -> None:
    robots = control(2)
    assert np.isfinite(robots.joint_targets(np.zeros((2, 3)))).all()
    assert robots.held.all()


def test_one_robot_of_a_batch_is_reset_alone() -> None:
    robots = control(2)
    for _ in range(5):
        robots.observe(standing(2), np.tile([0.3, 0.0, 0.2], (2, 1)))
        robots.joint_targets(np.ones((2, NUM_ACTIONS)))
    robots.reset(np.zeros((2, 2)), np.zeros(2), selected=np.array([False, True]))
    assert robots.phases[0] > 0.0
    assert robots.phases[1] == 0.0
    seen = robots.observe(standing(2), np.tile([0.3, 0.0, 0.2], (2, 1)))
    ramp = seen[:, INDEX["forward_command"]]
    assert ramp[0] == pytest.approx(6.0 * ramp[1])


@pytest.mark.parametrize("noise_rad", [0.0, 0.02])
def test_a_robot_that_starts_where_it_believes_to_be_has_no_heading_error(noise_rad: float) -> None:
    robot = Stoch2Control([Instruments(noise_rad, noise_rad)])
    turned = replace(standing(1), orientation=quaternions(np.array([[0.0, 0.0, 1.5]])))
    robot.reset(np.zeros((1, 2)), np.array([1.5]))
    robot.observe(turned, np.zeros((1, 3)))
    robot.reset(robot.state.position, robot.state.angles[:, 2])
    assert robot.observe(turned, np.zeros((1, 3)))[0, INDEX["yaw_error"]] == pytest.approx(0.0, abs=1e-9)


def test_a_batch_is_as_good_as_robots_alone() -> None:
    generator = np.random.default_rng(2)
    together, alone = control(3), [control(1) for _ in range(3)]
    for _ in range(30):
        action = generator.uniform(-1.0, 1.0, (3, NUM_ACTIONS))
        sensors = standing(3)
        sensors = Sensors(
            **{name: value + 0.02 * generator.standard_normal(value.shape) for name, value in vars(sensors).items()}
        )
        seen = together.observe(sensors, np.tile([0.3, 0.0, 0.2], (3, 1)))
        together.joint_targets(action)
        for index, robot in enumerate(alone):
            mine = Sensors(**{name: value[index : index + 1] for name, value in vars(sensors).items()})
            np.testing.assert_allclose(robot.observe(mine, np.array([[0.3, 0.0, 0.2]]))[0], seen[index], atol=1e-12)
            robot.joint_targets(action[index : index + 1])


def test_a_simulator_may_tell_the_truth_to_some() -> None:
    robots = control(2)
    one = body(yaw=0.1)
    told = BodyState(**{name: np.repeat(value, 2, axis=0) for name, value in vars(one).items()})
    seen = robots.observe(standing(2), np.zeros((2, 3)), ideal=Ideal(np.array([True, False]), told))
    assert seen[0, INDEX["lateral_velocity"]] == 0.5
    assert abs(seen[1, INDEX["lateral_velocity"]]) < 0.01


def test_state_before_the_first_observation_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="observe"):
        _ = control(1).state


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(ConfigurationError, match="forward_leash_m"):
        LeashSettings(forward_leash_m=0.0)
