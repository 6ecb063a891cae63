"""Attitude, contacts, ground and odometry against closed forms, and against the truth of a walking robot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.stoch2.attitude import (
    AttitudeFilter,
    AttitudeSettings,
    euler_angles,
    euler_rates,
    heading_rotation,
    quaternions,
    wrapped,
)
from stoch2_sim.robots.stoch2.contacts import ContactEstimator, ContactSettings, forces_from_joints
from stoch2_sim.robots.stoch2.episode import CommandChange, Episode, Push, SensingParameters
from stoch2_sim.robots.stoch2.estimation import BodyEstimator, EstimationSettings, Instruments
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS, joint_targets
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S, FOOT_RADIUS_M, GRAVITY_MPS2
from stoch2_sim.robots.stoch2.kinematics import feet_in_body, foot_jacobians, foot_velocities, link_directions
from stoch2_sim.robots.stoch2.leg_motion import LegMotion, leg_motion
from stoch2_sim.robots.stoch2.observation import BodyState
from stoch2_sim.robots.stoch2.odometry import Odometry, OdometrySettings, velocities_from_feet
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.plants import Stoch2Plants
from stoch2_sim.robots.stoch2.rotations import rotation_matrices
from stoch2_sim.robots.stoch2.simulation import Sensors
from stoch2_sim.robots.stoch2.support_plane import SupportPlane, SupportPlaneSettings, plane_angles
from stoch2_sim.simulators.protocol import Array

NOISY = AttitudeSettings(attitude_noise_rad=0.03, gyroscope_noise_rad_s=0.05)
FEET = np.array([[[0.12, -0.12, -0.24], [0.12, 0.12, -0.24], [-0.15, -0.12, -0.24], [-0.15, 0.12, -0.24]]])


def rocking(count: int) -> tuple[Array, Array]:
    """Angles of a rocking, turning body at the control ticks, and its angular velocity. Shape=(count, 3) each."""
    times = CONTROL_PERIOD_S * np.arange(count)
    swing = 2.0 * np.pi * 2.5 * times
    angles = np.stack([0.1 * np.sin(swing), 0.08 * np.cos(swing), 0.4 * times], axis=1)
    rates = np.stack([0.5 * np.pi * np.cos(swing), -0.4 * np.pi * np.sin(swing), np.full(count, 0.4)], axis=1)
    # The inverse of euler_rates, column by column.
    columns = np.stack([euler_rates(angles, np.tile(axis, (count, 1))) for axis in np.eye(3)], axis=-1)
    return angles, np.linalg.solve(columns, rates[..., None])[..., 0]


def filtered(settings: AttitudeSettings, angles: Array, rates: Array, generator: np.random.Generator) -> Array:
    attitude = AttitudeFilter([settings])
    results = []
    for true, rate in zip(angles, rates, strict=True):
        noisy = true + settings.attitude_noise_rad * generator.standard_normal(3)
        spun = rate + settings.gyroscope_noise_rad_s * generator.standard_normal(3)
        results.append(attitude.update(quaternions(noisy[None]), spun[None])[0])
    return np.array(results)


def test_quaternions_and_angles_agree_with_rotation_matrices() -> None:
    angles = np.random.default_rng(0).uniform(-1.2, 1.2, (20, 3))
    np.testing.assert_allclose(euler_angles(quaternions(angles)), angles, atol=1e-12)
    yaw = np.zeros_like(angles)
    yaw[:, 2] = angles[:, 2]
    matrices = rotation_matrices(quaternions(yaw)) @ heading_rotation(angles)
    np.testing.assert_allclose(matrices, rotation_matrices(quaternions(angles)), atol=1e-12)


def test_rates_of_angles_match_a_small_rotation() -> None:
    angles, rates = rocking(40)
    step = 1e-6
    ahead = angles + step * euler_rates(angles, rates)
    change = rotation_matrices(quaternions(angles)).swapaxes(1, 2) @ rotation_matrices(quaternions(ahead)) / step
    measured = np.stack([change[:, 2, 1], change[:, 0, 2], change[:, 1, 0]], axis=1)
    np.testing.assert_allclose(measured, rates, atol=1e-4)


def test_an_exact_attitude_is_passed_on_as_it_is() -> None:
    angles, rates = rocking(50)
    np.testing.assert_allclose(filtered(AttitudeSettings(), angles, rates, np.random.default_rng(0)), angles, atol=1e-9)


@pytest.mark.parametrize("noise", [0.02, 0.03, 0.04])
def test_white_noise_leaves_milliradians_without_lag(noise: float) -> None:
    angles, rates = rocking(4000)
    settings = replace(NOISY, attitude_noise_rad=noise)
    errors = wrapped(filtered(settings, angles, rates, np.random.default_rng(1)) - angles)[400:]
    assert np.sqrt((errors**2).mean(axis=0)).max() < 0.16 * noise
    # What lags is in step with the rates.
    roll_rate = np.gradient(angles[400:, 0], CONTROL_PERIOD_S)
    lag_s = abs((errors[:, 0] * roll_rate).mean() / (roll_rate**2).mean())
    assert lag_s < 0.0004


def test_a_drifting_gyroscope_is_followed() -> None:
    angles, rates = rocking(4000)
    drifting = rates + np.array([0.03, -0.03, 0.02])
    errors = wrapped(filtered(NOISY, angles, drifting, np.random.default_rng(2)) - angles)
    assert np.abs(errors[2000:].mean(axis=0)).max() < 0.0015


def test_a_filter_that_starts_believes_its_first_sample_and_can_be_reset_alone() -> None:
    attitude = AttitudeFilter([NOISY, NOISY])
    first = quaternions(np.array([[0.1, -0.2, 3.0], [0.1, -0.2, 3.0]]))
    still = np.zeros((2, 3))
    for _ in range(300):
        attitude.update(first, still)
    attitude.reset(np.array([False, True]))
    second = quaternions(np.array([[0.1, -0.2, 3.0], [0.0, 0.0, -1.0]]))
    np.testing.assert_allclose(attitude.update(second, still), [[0.1, -0.2, 3.0], [0.0, 0.0, -1.0]], atol=1e-9)


def test_leg_motion_agrees_with_the_kinematics() -> None:
    generator = np.random.default_rng(3)
    joints = joint_targets(generator.uniform(-1.0, 1.0, (30, NUM_ACTIONS)), generator.uniform(0.0, 1.0, 30))
    rates = generator.normal(size=joints.shape)
    legs = leg_motion(joints, rates)
    np.testing.assert_allclose(legs.feet, feet_in_body(joints), atol=1e-12)
    np.testing.assert_allclose(legs.foot_velocities, foot_velocities(joints, rates), atol=1e-12)
    step = 1e-6
    turning = (link_directions(joints + step * rates)[0] - link_directions(joints - step * rates)[0]) / (2.0 * step)
    np.testing.assert_allclose(np.linalg.norm(legs.shank_rates[..., 1:], axis=-1), np.abs(turning), atol=1e-7)
    np.testing.assert_allclose(np.abs(legs.shank_rates[..., 0]), np.abs(rates[..., 0]), atol=1e-12)


def test_a_rolling_foot_moves_the_body_farther_than_its_centre() -> None:
    """A shank that turns about a foot that only rolls: the foot's centre moves by radius times angle."""
    still = np.zeros((1, 4, 3))
    shanks = np.zeros((1, 4, 3))
    shanks[..., 1] = 2.0  # leaning forward
    legs = LegMotion(FEET, still, shanks)
    velocities = velocities_from_feet(legs, np.zeros((1, 3)), np.array([[0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(velocities[0, 0], [2.0 * FOOT_RADIUS_M, 0.0, 0.0], atol=1e-15)


def test_a_body_that_turns_about_a_standing_foot_moves_around_it() -> None:
    legs = LegMotion(FEET, np.zeros((1, 4, 3)), np.zeros((1, 4, 3)))
    velocities = velocities_from_feet(legs, np.array([[0.0, 0.0, 1.0]]), np.array([[0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(velocities[0, 0], [FEET[0, 0, 1], -FEET[0, 0, 0], 0.0], atol=1e-12)


def moved(odometry: Odometry, ticks: int, feet_say: Array, acceleration: Array) -> None:
    for _ in range(ticks):
        odometry.update(
            feet_say, FEET, np.array([[1.0, 0.0, 0.0, 1.0]]), np.array([[0.0, 0.0, 1.0]]), acceleration, np.zeros(1)
        )


def test_odometry_reaches_what_the_feet_say_and_adds_it_up() -> None:
    odometry = Odometry(1, OdometrySettings())
    odometry.reset(np.zeros((1, 2)), np.zeros(1))
    feet_say = np.tile([0.4, -0.1, 0.0], (1, 4, 1))
    rest = np.array([[0.0, 0.0, GRAVITY_MPS2]])
    moved(odometry, 100, feet_say, rest)
    np.testing.assert_allclose(odometry.velocity, [[0.4, -0.1, 0.0]], atol=1e-6)
    before = odometry.position.copy()
    moved(odometry, 200, feet_say, rest)
    np.testing.assert_allclose(odometry.position - before, [[0.4, -0.1]], atol=1e-6)
    np.testing.assert_allclose(odometry.height, [0.24 + FOOT_RADIUS_M], atol=1e-9)


def test_a_slipping_foot_counts_less_than_one_that_agrees_with_the_accelerometer() -> None:
    odometry = Odometry(1, OdometrySettings())
    odometry.reset(np.zeros((1, 2)), np.zeros(1))
    feet_say = np.zeros((1, 4, 3))
    feet_say[0, 3] = [1.0, 0.0, 0.0]
    moved(odometry, 200, feet_say, np.array([[0.0, 0.0, GRAVITY_MPS2]]))
    assert abs(odometry.velocity[0, 0]) < 0.06  # the mean would be 0.5


def on_ground(normal: Array, standing: tuple[int, ...], yaw: float = 0.0) -> tuple[Array, Array]:
    """Feet of a level body over sloped ground, heading frame; the others hang in the air."""
    feet = FEET.copy()
    cosine, sine = np.cos(yaw), np.sin(yaw)
    x, y = normal[0] * cosine + normal[1] * sine, normal[1] * cosine - normal[0] * sine
    feet[..., 2] = -0.24 - (x * feet[..., 0] + y * feet[..., 1]) / normal[2]
    mask = np.zeros((1, 4), dtype=bool)
    mask[0, list(standing)] = True
    feet[~mask] += [0.03, 0.0, 0.06]
    return feet, mask


SLOPE = np.array([-np.sin(0.16) * np.cos(0.6), -np.sin(0.16) * np.sin(0.6), np.cos(0.16)])


def test_the_plane_of_a_trot_is_exact_also_while_turning() -> None:
    plane = SupportPlane(1, SupportPlaneSettings())
    plane.reset(np.zeros(1))
    for tick in range(400):
        yaw = 0.5 * tick * CONTROL_PERIOD_S
        pair = (0, 3) if tick // 40 % 2 else (1, 2)
        feet, standing = on_ground(SLOPE, pair, yaw)
        normal = plane.update(feet, standing, np.array([yaw]))[0]
    expected = [
        SLOPE[0] * np.cos(yaw) + SLOPE[1] * np.sin(yaw),
        SLOPE[1] * np.cos(yaw) - SLOPE[0] * np.sin(yaw),
        SLOPE[2],
    ]
    np.testing.assert_allclose(normal, expected, atol=2e-4)


def test_uphill_is_a_negative_pitch_and_rising_to_the_left_a_positive_roll() -> None:
    up, left = np.array([[-np.sin(0.1), 0.0, np.cos(0.1)]]), np.array([[0.0, -np.sin(0.1), np.cos(0.1)]])
    np.testing.assert_allclose(plane_angles(up), [[0.0, -0.1]], atol=1e-12)
    np.testing.assert_allclose(plane_angles(left), [[0.1, 0.0]], atol=1e-12)


def test_a_wrong_contact_moves_the_plane_little_and_not_for_long() -> None:
    plane = SupportPlane(1, SupportPlaneSettings())
    plane.reset(np.zeros(1))
    worst = 0.0
    for tick in range(800):
        pair = (0, 3) if tick // 40 % 2 else (1, 2)
        feet, standing = on_ground(SLOPE, pair)
        if 400 <= tick < 412:
            standing[:] = True  # two of them are in the air
        normal = plane.update(feet, standing, np.zeros(1))[0]
        worst = max(worst, float(np.arccos(min(1.0, normal @ SLOPE)))) if tick >= 400 else 0.0
    assert worst < 0.1
    np.testing.assert_allclose(normal, SLOPE, atol=1e-3)


def test_contacts_have_hysteresis() -> None:
    contacts = ContactEstimator(np.array([True]), ContactSettings(contact_force_n=4.0, release_force_n=2.0))
    contacts.reset()
    phases = np.zeros(1)
    heard = [contacts.update(np.array([[force, 9.0, 0.0, 3.0]]), phases)[0] for force in (3.0, 5.0, 3.0, 1.0)]
    assert [bool(standing[0]) for standing in heard] == [False, True, True, False]
    assert all(standing[1] and not standing[2] and not standing[3] for standing in heard)


def test_a_foot_grips_once_it_has_stood_under_load_and_until_the_gait_lifts_it() -> None:
    contacts = ContactEstimator(np.array([True]), ContactSettings(steady_ticks=3, leaving_ticks=2, firm_force_n=10.0))
    contacts.reset()
    forces = np.array([[0.0, 10.0, 10.0, 0.0]])
    contacts.update(np.zeros((1, 4)), np.zeros(1))
    grips = []
    for _ in range(4):
        contacts.update(forces, np.zeros(1))
        grips.append(contacts.grip(forces, np.array([0.1]))[0])
    assert [grip[1] for grip in grips] == [0.0, 0.0, 0.5, 0.5]
    assert contacts.grip(forces, np.array([0.49]))[0, 1] == 0.0


def test_forces_follow_from_the_joints_tracking_errors() -> None:
    joints = joint_targets(np.zeros((1, NUM_ACTIONS)), np.zeros(1))
    forces = np.zeros((1, 4, 3))
    forces[..., 2] = [12.0, 0.0, 5.0, 20.0]
    torques = -(foot_jacobians(joints).swapaxes(-1, -2) @ forces[..., None])[..., 0]
    up = np.array([[0.0, 0.0, 1.0]])
    recovered = forces_from_joints(joints, np.zeros_like(joints), joints + torques / 200.0, up)
    np.testing.assert_allclose(recovered, forces[..., 2], atol=1e-9)


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(ConfigurationError, match="contact_force_n"):
        ContactSettings(contact_force_n=-1.0)


@dataclass(frozen=True)
class Walk:
    """A recorded walk of several robots."""

    sensors: list[Sensors]
    targets: list[Array]
    phases: list[Array]
    states: list[BodyState]


CASES = {
    "short steps": ({}, {"step_length": -0.5}),
    "long steps": ({}, {"step_length": 0.5}),
    "uphill": ({"terrain": "slope", "slope_deg": 9.0}, {"step_length": 0.3, "y_shift": -1.0, "x_shift": -1.0}),
    "across": (
        {"terrain": "slope", "slope_deg": 9.0, "orientation_deg": 90.0},
        {"step_length": 0.3, "z_shift": 1.0},
    ),
    "downhill": ({"terrain": "slope", "slope_deg": -7.0}, {"step_length": 0.3, "x_shift": 0.5}),
    "payload": ({"payload_kg": 1.0}, {"step_length": 0.3}),
}
GROUPS = ("step_length", "steer", "y_shift", "x_shift", "z_shift")


def constant_actions() -> Array:
    return np.array([np.repeat([values.get(group, 0.0) for group in GROUPS], 4) for _, values in CASES.values()])


@pytest.fixture(scope="module")
def walk() -> Walk:
    """Robots on different ground, each with a constant action."""
    sensing = SensingParameters(ideal_sensing=False)
    episodes = [Episode(RobotParameters(**robot), sensing) for robot, _ in CASES.values()]  # type: ignore[arg-type]
    plants = Stoch2Plants("mujoco", episodes)
    plants.reset([np.random.default_rng(index) for index in range(len(episodes))])
    record = Walk([], [], [], [])
    actions = constant_actions()
    for _ in range(640):
        phases = plants.control.phases
        plants.step(actions)
        record.sensors.append(plants.simulation.sensors())
        record.targets.append(joint_targets(actions, phases))
        record.phases.append(plants.control.phases)
        record.states.append(plants.state)
    assert not plants.failed.any()
    plants.close()
    return record


def replayed(walk: Walk, imu: Instruments) -> list[BodyState]:
    """What an estimator makes of the recorded measurements with an IMU's noise."""
    generator = np.random.default_rng(5)
    estimator = BodyEstimator([imu] * len(CASES), EstimationSettings())
    first = walk.states[0]
    estimator.reset(first.position, first.angles[:, 2])
    estimates = []
    for sensors, targets, phases in zip(walk.sensors, walk.targets, walk.phases, strict=True):
        angles = euler_angles(sensors.orientation)
        noisy = replace(
            sensors,
            orientation=quaternions(angles + imu.attitude_noise_rad * generator.standard_normal(angles.shape)),
            angular_velocity=sensors.angular_velocity
            + imu.gyroscope_noise_rad_s * generator.standard_normal(angles.shape),
        )
        estimates.append(estimator.update(noisy, targets, phases))
    return estimates


@pytest.mark.parametrize("foot_sensors", [True, False], ids=["foot sensors", "no foot sensors"])
@pytest.mark.parametrize("noise", [0.0, 0.02], ids=["exact", "noisy"])
def test_a_walking_robot_knows_how_it_moves(walk: Walk, foot_sensors: bool, noise: float) -> None:
    """Speed over six gait cycles within 2.5 %, height within a millimetre, the ground within 0.4°."""
    estimates = replayed(walk, Instruments(noise, 2.5 * noise, foot_sensors))
    ticks = slice(160, 640)
    true = np.array([state.velocity for state in walk.states])[ticks]
    velocity = np.array([state.velocity for state in estimates])[ticks]
    np.testing.assert_allclose(velocity[..., 0].mean(axis=0), true[..., 0].mean(axis=0), rtol=0.025)
    assert np.abs((velocity - true)[..., 1].mean(axis=0)).max() < 0.01
    assert np.sqrt(((velocity - true) ** 2).mean(axis=0)).max() < 0.025
    heights = np.array([state.height - other.height for state, other in zip(estimates, walk.states, strict=True)])
    assert np.abs(heights[ticks]).max() < 0.003
    grounds = np.array([state.support - other.support for state, other in zip(estimates, walk.states, strict=True)])
    assert np.sqrt((grounds[ticks] ** 2).mean(axis=0)).max() < (0.001 if noise == 0.0 else 0.007)


def test_a_push_is_noticed() -> None:
    """The accelerometer carries the estimate through a push of 100 N for 0.03 s that lifts no foot for long."""
    sensing = SensingParameters(ideal_sensing=False)
    episode = Episode(RobotParameters(), sensing, (CommandChange(0, 0.3),), (Push(240, 6, (0.0, 100.0, 0.0)),))
    plants = Stoch2Plants("mujoco", [episode])
    plants.reset([np.random.default_rng(0)])
    errors, speeds = [], []
    for _ in range(320):
        plants.step(np.zeros((1, NUM_ACTIONS)))
        errors.append(plants.control.state.velocity[0, 1] - plants.state.velocity[0, 1])
        speeds.append(plants.state.velocity[0, 1])
    plants.close()
    assert max(np.abs(speeds[240:260])) > 0.3
    assert max(np.abs(errors[240:320])) < 0.12


def test_feet_that_agree_are_believed_in_the_end() -> None:
    odometry = Odometry(1, OdometrySettings())
    odometry.reset(np.zeros((1, 2)), np.zeros(1))
    moved(odometry, 400, np.tile([1.0, 0.0, 0.0], (1, 4, 1)), np.array([[0.0, 0.0, GRAVITY_MPS2]]))
    assert odometry.velocity[0, 0] == pytest.approx(1.0, abs=0.01)
