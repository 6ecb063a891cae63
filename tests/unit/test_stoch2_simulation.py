"""Stoch2 in MuJoCo: time, masses, closed linkages, speeds, terrains, and settings that take effect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np
import pytest

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.stoch2 import geometry as g
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS, TROT, WALK, Gait, joint_targets
from stoch2_sim.robots.stoch2.kinematics import feet_in_body, forward, inverse
from stoch2_sim.robots.stoch2.mjcf import robot_mjcf
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import neutral_stance
from stoch2_sim.robots.stoch2.rotations import rotation_matrices
from stoch2_sim.robots.stoch2.simulation import QuadrupedSimulation, make_simulation
from stoch2_sim.robots.stoch2.terrain import Plane, Rough, Stairs, make_terrain
from stoch2_sim.simulators.protocol import Array

NOMINAL = RobotParameters()


def gait_action(step_length: float = 0.0, x_shift: float = 0.0) -> Array:
    """One action for all legs. Shape=(20,)."""
    action = np.zeros(NUM_ACTIONS)
    action[:4], action[12:16] = step_length, x_shift
    return action


def walk(
    simulation: QuadrupedSimulation, actions: Array, ticks: int, forces: Array | None = None, gait: Gait = TROT
) -> Array:
    """Walk with constant actions; where the trunks were, tick by tick. Shape=(ticks, num_robots, 3)."""
    actions = np.broadcast_to(actions, (simulation.num_robots, NUM_ACTIONS))
    pushes = np.zeros((simulation.num_robots, 3)) if forces is None else forces
    way = []
    for tick in range(ticks):
        phases = np.full(simulation.num_robots, tick * gait.phase_step)
        simulation.advance(joint_targets(actions, phases, gait), pushes)
        way.append(simulation.truth().position)
    return np.array(way)


def standing(robots: Sequence[RobotParameters] = (NOMINAL,), yaw: float = 0.0) -> QuadrupedSimulation:
    """Robots in MuJoCo, put down."""
    simulation = make_simulation("mujoco", robots)
    simulation.reset(np.full(len(robots), yaw))
    return simulation


def up(simulation: QuadrupedSimulation) -> Array:
    """How upright the trunks are: cosines of the tilt. Shape=(num_robots,)."""
    return rotation_matrices(simulation.truth().orientation)[:, 2, 2]


def test_hundred_ticks_are_half_a_second_of_the_engines_time() -> None:
    simulation = standing([NOMINAL] * 2)
    assert (simulation.times_s == 0.0).all()
    walk(simulation, gait_action(), 100)
    assert simulation.times_s == pytest.approx([0.5, 0.5], abs=1e-12)


def test_the_robot_weighs_what_it_should() -> None:
    model = mujoco.MjModel.from_xml_string(robot_mjcf(NOMINAL))
    assert model.body_mass.sum() == pytest.approx(4.958, abs=1e-9)
    assert pytest.approx(4.958, abs=1e-9) == g.TOTAL_MASS_KG
    heavy = mujoco.MjModel.from_xml_string(robot_mjcf(RobotParameters(payload_kg=0.5, mass_scale=1.2)))
    assert heavy.body_mass.sum() == pytest.approx(1.2 * 4.958 + 0.5, abs=1e-9)


def test_standing_robots_bear_their_weight_and_feel_gravity() -> None:
    simulation = standing(yaw=0.7)
    walk_still = np.tile(neutral_stance(), (1, 1, 1))
    for _ in range(100):
        simulation.advance(walk_still, np.zeros((1, 3)))
    sensors, truth = simulation.sensors(), simulation.truth()
    assert sensors.foot_forces.sum() == pytest.approx(4.958 * 9.81, rel=0.02)
    assert (sensors.foot_forces > 5.0).all()
    np.testing.assert_allclose(sensors.linear_acceleration, [[0.0, 0.0, 9.81]], atol=0.15)
    np.testing.assert_allclose(truth.foot_positions[..., 2], g.FOOT_RADIUS_M, atol=1e-3)
    forward_axis = rotation_matrices(truth.orientation)[0, :, 0]
    assert math.atan2(forward_axis[1], forward_axis[0]) == pytest.approx(0.7, abs=1e-2)
    # A little yields to the weight: the joint controllers have no integral part.
    np.testing.assert_allclose(sensors.joint_positions, walk_still, atol=0.02)


def test_linkages_stay_closed_and_feet_are_where_kinematics_say() -> None:
    simulation = standing()
    model = mujoco.MjModel.from_xml_string(robot_mjcf(NOMINAL))
    data = mujoco.MjData(model)
    gaps, errors = [], []
    for tick in range(240):
        simulation.advance(joint_targets(gait_action(1.0)[None], np.array([tick / 80.0])), np.zeros((1, 3)))
        data.qpos[:] = simulation.qpos(0)
        mujoco.mj_kinematics(model, data)
        pins = [[data.site(f"{leg}_{part}_pin").xpos for part in ("shank", "coupler")] for leg in g.LEGS]
        gaps += [np.linalg.norm(shank - coupler) for shank, coupler in np.array(pins)]
        feet = np.array([data.site(f"{leg}_foot").xpos for leg in g.LEGS])
        errors.append(np.abs(feet - simulation.truth().foot_positions[0]).max())
    assert max(gaps) < 0.5e-3
    assert max(errors) < 1e-3


def test_feet_go_where_inverse_kinematics_sends_them() -> None:
    simulation = standing([RobotParameters(torque_limit_nm=50.0)])
    targets = np.tile(g.NEUTRAL_FOOT_M + np.array([0.01, 0.02, 0.0]), (1, 4, 1))
    joints = inverse(targets)
    for _ in range(100):
        simulation.advance(joints, np.zeros((1, 3)))
    reached = forward(simulation.sensors().joint_positions)
    np.testing.assert_allclose(reached, targets, atol=4e-3)
    np.testing.assert_allclose(
        feet_in_body(simulation.sensors().joint_positions)[0] @ rotation_matrices(simulation.truth().orientation)[0].T
        + simulation.truth().position,
        simulation.truth().foot_positions[0],
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("step_length", "speed_m_s"), [(-1.0, 0.01), (-0.5, 0.154), (0.0, 0.30), (0.5, 0.46), (1.0, 0.64)]
)
def test_constant_steps_walk_at_the_speeds_of_the_public_robot(step_length: float, speed_m_s: float) -> None:
    simulation = standing()
    way = walk(simulation, gait_action(step_length), 480)
    speed = float(np.linalg.norm(way[-1, 0, :2] - way[79, 0, :2])) / 2.0
    assert speed == pytest.approx(speed_m_s, abs=0.03)
    assert up(simulation)[0] > 0.99


def test_the_walk_gait_walks_too() -> None:
    simulation = standing()
    way = walk(simulation, gait_action(1.0), 640, gait=WALK)
    assert way[-1, 0, 0] > 0.2
    assert up(simulation)[0] > 0.97


def test_a_run_repeats_bit_for_bit() -> None:
    robots = [RobotParameters(terrain="rough"), RobotParameters(terrain="slope", slope_deg=5.0)]
    first, second = standing(robots), standing(robots)
    pushes = np.array([[0.0, 30.0, 0.0]] * 2)
    way = walk(first, gait_action(0.3), 60, pushes)
    np.testing.assert_array_equal(walk(second, gait_action(0.3), 60, pushes), way)
    first.reset(np.zeros(2))
    np.testing.assert_array_equal(walk(first, gait_action(0.3), 60, pushes), way)


def test_robots_in_a_batch_walk_as_they_do_alone() -> None:
    robots = [
        NOMINAL,
        RobotParameters(friction=0.4, terrain="slope", slope_deg=7.0, orientation_deg=60.0),
        RobotParameters(payload_kg=1.0, torque_limit_nm=5.0),
        RobotParameters(terrain="stairs"),
    ]
    together = walk(standing(robots), gait_action(0.5), 80)
    for index, robot in enumerate(robots):
        np.testing.assert_array_equal(together[:, index], walk(standing([robot]), gait_action(0.5), 80)[:, 0])


def test_inactive_robots_stay_where_they_are() -> None:
    simulation = standing([NOMINAL] * 2)
    before = simulation.qpos(1)
    for tick in range(20):
        targets = joint_targets(np.zeros((2, NUM_ACTIONS)), np.full(2, tick / 80.0))
        simulation.advance(targets, np.zeros((2, 3)), np.array([True, False]))
    np.testing.assert_array_equal(simulation.qpos(1), before)
    assert simulation.times_s == pytest.approx([0.1, 0.0], abs=1e-12)


def test_pushes_move_the_trunk_by_their_impulse() -> None:
    simulation = standing()
    still = np.tile(neutral_stance(), (1, 1, 1))
    for _ in range(2):
        simulation.advance(still, np.array([[0.0, 120.0, 0.0]]))
    # 1.2 N s: on all of it 0.24 m/s; the legs lag behind, and hold back through the ground.
    assert 0.1 < simulation.truth().linear_velocity[0, 1] < 0.52
    assert abs(simulation.truth().linear_velocity[0, 0]) < 0.02


def test_slippery_ground_and_weak_motors_show() -> None:
    def climb(**settings: float) -> float:
        robot = RobotParameters.from_mapping({"terrain": "slope", "slope_deg": 11.0, "friction": 0.7, **settings})
        return float(walk(standing([robot]), gait_action(0.5, -0.7), 320)[-1, 0, 0])

    nominal = climb()
    assert nominal > 0.3
    assert climb(friction=0.15) < 0.0
    assert climb(torque_limit_nm=3.0) < 0.6 * nominal
    simulation = standing([RobotParameters(torque_limit_nm=5.0)])
    torques = []
    for tick in range(80):
        simulation.advance(joint_targets(gait_action(1.0)[None], np.array([tick / 80.0])), np.zeros((1, 3)))
        torques.append(np.abs(simulation.truth().joint_torques).max())
    assert max(torques) == pytest.approx(5.0, abs=1e-9)


def test_payload_and_weak_controllers_let_the_trunk_sink() -> None:
    robots = [NOMINAL, RobotParameters(payload_kg=2.0), RobotParameters(motor_strength=0.4)]
    simulation = standing(robots)
    for _ in range(60):
        simulation.advance(np.tile(neutral_stance(), (3, 1, 1)), np.zeros((3, 3)))
    nominal, loaded, weak = simulation.truth().position[:, 2]
    assert loaded < nominal - 5e-4
    assert weak < nominal - 5e-4
    forces = simulation.sensors().foot_forces.sum(axis=1)
    assert forces[1] - forces[0] == pytest.approx(2.0 * 9.81, rel=0.05)


@pytest.mark.parametrize("direction", [0.0, 90.0, -135.0])
def test_slopes_rise_where_they_say_and_robots_stand_on_them(direction: float) -> None:
    robot = RobotParameters(terrain="slope", slope_deg=9.0, orientation_deg=direction, friction=0.8)
    simulation = standing([robot], yaw=0.4)
    terrain = make_terrain(robot)
    feet = simulation.truth().foot_positions[0]
    gaps = (feet - [0.0, 0.0, 0.0]) @ terrain.normal - g.FOOT_RADIUS_M
    np.testing.assert_allclose(gaps, 0.0, atol=2e-3)
    angle = math.radians(direction)
    assert terrain.height(np.cos(angle), np.sin(angle)) == pytest.approx(math.tan(math.radians(9.0)))
    assert up(simulation)[0] == pytest.approx(math.cos(math.radians(9.0)), abs=5e-3)


@pytest.mark.parametrize(
    "robot",
    [
        RobotParameters(terrain="rough", roughness_m=0.05, terrain_seed=3),
        RobotParameters(terrain="stairs", orientation_deg=30.0),
        RobotParameters(terrain="stairs", stair_rise_m=-0.03),
        RobotParameters(terrain="slope", slope_deg=-8.0, orientation_deg=45.0),
    ],
    ids=["rough", "stairs", "stairs-down", "slope"],
)
def test_the_simulated_ground_is_as_high_as_the_terrain_says(robot: RobotParameters) -> None:
    model = mujoco.MjModel.from_xml_string(robot_mjcf(robot))
    data = mujoco.MjData(model)
    data.qpos[:3] = 0.0, 0.0, 50.0
    mujoco.mj_forward(model, data)
    terrain = make_terrain(robot)
    # Off the edges of the steps, by which a ray and a formula may differ.
    points = np.random.default_rng(0).uniform(-8.0, 8.0, (400, 2))
    reached = np.array(
        [
            10.0
            - mujoco.mj_ray(
                model, data, np.array([x, y, 10.0]), np.array([0, 0, -1.0]), None, 1, -1, np.zeros(1, np.int32)
            )
            for x, y in points
        ]
    )
    assert np.abs(reached - terrain.height(points[:, 0], points[:, 1])).max() < 1e-3


def test_terrains_are_level_where_robots_start_and_follow_their_seed() -> None:
    for terrain in (Plane(0.1, 0.3), Stairs(), Rough(0.05, 1)):
        assert float(terrain.height(np.array(0.0), np.array(0.0))) == 0.0
    rough = Rough(0.05, 1)
    assert np.ptp(rough.heights_m) <= 0.05
    assert np.ptp(rough.heights_m) > 0.04
    np.testing.assert_array_equal(rough.heights_m, Rough(0.05, 1).heights_m)
    assert np.abs(rough.heights_m - Rough(0.05, 2).heights_m).max() > 0.01


def test_robots_walk_down_stairs_and_over_rough_ground() -> None:
    simulation = standing([RobotParameters(terrain="stairs", stair_rise_m=-0.03), RobotParameters(terrain="rough")])
    way = walk(simulation, gait_action(0.5), 480)
    assert (way[-1, :, 0] > 0.7).all()
    assert (up(simulation) > 0.9).all()
    assert way[-1, 0, 2] < 0.18


def test_a_state_that_is_not_finite_stays_so_until_the_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings there
    simulation = standing([NOMINAL] * 2)
    walk(simulation, gait_action(), 20, np.array([[0.0, 1e12, 0.0], [0.0, 0.0, 0.0]]))
    assert not np.isfinite(simulation.truth().position[0]).any()
    assert up(simulation)[1] > 0.99
    simulation.reset(np.zeros(2))
    assert np.isfinite(simulation.truth().position).all()


def test_robots_climb_stairs() -> None:
    simulation = standing([RobotParameters(terrain="stairs", friction=0.8)])
    action = gait_action(0.5, -0.6)
    action[8:12] = -1.0
    way = walk(simulation, action, 1000)
    assert way[-1, 0, 0] > 0.8
    assert way[-1, 0, 2] > way[0, 0, 2] + 0.09
    assert up(simulation)[0] > 0.9


def test_robots_are_put_down_lying_with_folded_legs() -> None:
    simulation = make_simulation("mujoco", [NOMINAL])
    folded = np.tile(inverse(np.array([-0.02, -0.09, 0.0])), (1, 4, 1))
    simulation.reset(np.zeros(1), folded)
    height, speed = simulation.truth().position[0, 2], simulation.truth().linear_velocity[0]
    assert 0.05 < height < 0.13
    assert np.abs(speed).max() < 0.02
    assert up(simulation)[0] > 0.999


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ConfigurationError, match="simulator 'gazebo': must be one of mujoco, pybullet"):
        make_simulation("gazebo", [NOMINAL])
    with pytest.raises(ConfigurationError, match="at least one"):
        make_simulation("mujoco", [])
    with pytest.raises(ConfigurationError, match=r"RobotParameters\.friction"):
        RobotParameters(friction=0.0)
