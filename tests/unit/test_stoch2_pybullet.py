"""Stoch2 in PyBullet: time, sensors, loops, conventions, and that it walks as in MuJoCo."""

import sys
from collections.abc import Iterator
from contextlib import closing

import mujoco
import numpy as np
import numpy.typing as npt
import pytest

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.stoch2 import geometry as g
from stoch2_sim.robots.stoch2.gait import TROT, joint_targets
from stoch2_sim.robots.stoch2.mjcf import robot_mjcf
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import neutral_stance
from stoch2_sim.robots.stoch2.simulation import QuadrupedSimulation, make_simulation
from stoch2_sim.robots.stoch2.terrain import make_terrain

Array = npt.NDArray[np.float64]


def simulated(simulator: str, *robots: RobotParameters) -> QuadrupedSimulation:
    simulation = make_simulation(simulator, robots)
    simulation.reset(np.zeros(len(robots)))
    return simulation


def walk(simulation: QuadrupedSimulation, num_ticks: int, forces: Array | None = None) -> Iterator[int]:
    """The action of zeros: 0.068 m steps straight ahead."""
    still = np.zeros((simulation.num_robots, 3))
    for tick in range(num_ticks):
        phases = np.full(simulation.num_robots, tick * TROT.phase_step)
        targets = joint_targets(np.zeros((simulation.num_robots, 20)), phases)
        simulation.advance(targets, still if forces is None else forces)
        yield tick


def stand(simulation: QuadrupedSimulation, num_ticks: int) -> None:
    targets = np.tile(neutral_stance(), (simulation.num_robots, 1, 1))
    for _ in range(num_ticks):
        simulation.advance(targets, np.zeros((simulation.num_robots, 3)))


def test_missing_pybullet_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pybullet", None)
    with pytest.raises(ConfigurationError, match="PyBullet is not installed"):
        make_simulation("pybullet", [RobotParameters()])


@pytest.fixture(autouse=True)
def _pybullet(request: pytest.FixtureRequest) -> None:
    if request.node.name != "test_missing_pybullet_is_told":
        pytest.importorskip("pybullet")


def test_a_hundred_ticks_are_half_a_second() -> None:
    with closing(simulated("pybullet", RobotParameters())) as simulation:
        assert simulation.times_s == pytest.approx([0.0], abs=1e-12)
        for _ in walk(simulation, 100):
            pass
        assert simulation.times_s == pytest.approx([0.5], abs=1e-9)


def test_standing_robot_measures_gravity_and_its_weight() -> None:
    robots = (RobotParameters(), RobotParameters(payload_kg=1.0), RobotParameters(mass_scale=0.5))
    with closing(simulated("pybullet", *robots)) as simulation:
        stand(simulation, 150)
        sensors, truth = simulation.sensors(), simulation.truth()
    weights = g.GRAVITY_MPS2 * np.array([g.TOTAL_MASS_KG, g.TOTAL_MASS_KG + 1.0, 0.5 * g.TOTAL_MASS_KG])
    assert sensors.foot_forces.sum(axis=1) == pytest.approx(weights, rel=0.01)
    assert sensors.linear_acceleration == pytest.approx(np.tile([0.0, 0.0, g.GRAVITY_MPS2], (3, 1)), abs=0.1)
    assert sensors.angular_velocity == pytest.approx(np.zeros((3, 3)), abs=0.02)
    assert sensors.joint_velocities == pytest.approx(np.zeros((3, 4, 3)), abs=0.05)
    assert truth.foot_positions[..., 2] == pytest.approx(np.full((3, 4), g.FOOT_RADIUS_M), abs=1e-3)


def test_robot_on_a_slope_feels_it() -> None:
    robot = RobotParameters(terrain="slope", slope_deg=10.0, orientation_deg=0.0)
    with closing(simulated("pybullet", robot)) as simulation:
        stand(simulation, 100)
        acceleration = simulation.sensors().linear_acceleration[0] / g.GRAVITY_MPS2
    # The nose is up, and so the way up leads forward in body axes.
    assert acceleration == pytest.approx([np.sin(np.radians(10.0)), 0.0, np.cos(np.radians(10.0))], abs=0.05)


def test_resets_are_equal_bit_for_bit() -> None:
    robots = (RobotParameters(), RobotParameters(terrain="rough"))
    runs = []
    with closing(simulated("pybullet", *robots)) as first, closing(simulated("pybullet", *robots)) as second:
        for simulation in (first, first, second):
            simulation.reset(np.array([0.2, -0.4]))
            for _ in walk(simulation, 60, np.full((2, 3), 5.0)):
                pass
            runs.append(np.array([simulation.qpos(0), simulation.qpos(1)]))
    assert np.array_equal(runs[0], runs[1])
    assert np.array_equal(runs[0], runs[2])


def test_walks_as_in_mujoco_with_closed_loops() -> None:
    distances = {}
    model = mujoco.MjModel.from_xml_string(robot_mjcf(RobotParameters()))
    data = mujoco.MjData(model)
    for simulator in ("mujoco", "pybullet"):
        with closing(simulated(simulator, RobotParameters())) as simulation:
            start = simulation.truth().position[0]
            for tick in walk(simulation, 240):
                if simulator == "pybullet" and tick % 20 == 0:
                    data.qpos[:] = simulation.qpos(0)
                    mujoco.mj_kinematics(model, data)
                    feet = np.array([data.site(f"{leg}_foot").xpos for leg in g.LEGS])
                    # Signs and zeros of all joints are MuJoCo's, or its feet were elsewhere.
                    assert simulation.truth().foot_positions[0] == pytest.approx(feet, abs=2e-4)
                    for leg in g.LEGS:
                        pin, end = data.site(f"{leg}_shank_pin").xpos, data.site(f"{leg}_coupler_pin").xpos
                        assert np.linalg.norm(pin - end) < 1e-4
            distances[simulator] = simulation.truth().position[0] - start
    assert distances["pybullet"][0] > 0.3
    assert distances["pybullet"][:2] == pytest.approx(distances["mujoco"][:2], abs=0.03)


def test_measured_rates_are_those_of_the_measured_positions() -> None:
    with closing(simulated("pybullet", RobotParameters())) as simulation:
        rates, joints, turns = [], [], []
        for _ in walk(simulation, 80):
            sensors = simulation.sensors()
            rates.append(sensors.joint_velocities[0])
            joints.append(sensors.joint_positions[0])
            turns.append(sensors.angular_velocity[0])
    differences = np.diff(np.array(joints), axis=0) / g.CONTROL_PERIOD_S
    means = 0.5 * (np.array(rates)[1:] + np.array(rates)[:-1])
    assert np.sqrt(np.mean((differences - means) ** 2)) < 0.1 * np.sqrt(np.mean(means**2))
    assert np.sqrt(np.mean(np.square(turns))) < 1.0


def test_push_moves_the_robot_as_in_mujoco() -> None:
    velocities = []
    for simulator in ("mujoco", "pybullet"):
        with closing(simulated(simulator, RobotParameters(friction=0.05))) as simulation:
            for _ in walk(simulation, 6, np.array([[0.0, 100.0, 0.0]])):
                pass
            velocities.append(simulation.truth().linear_velocity[0])
    impulse = 100.0 * 6 * g.CONTROL_PERIOD_S
    assert velocities[1][1] == pytest.approx(impulse / g.TOTAL_MASS_KG, rel=0.3)
    assert velocities[1] == pytest.approx(velocities[0], abs=0.1)


def test_torques_keep_their_limit_and_follow_the_motors_strength() -> None:
    robots = (RobotParameters(torque_limit_nm=1.0), RobotParameters(), RobotParameters(motor_strength=0.5))
    with closing(simulated("pybullet", *robots)) as simulation:
        stand(simulation, 50)
        sagged = simulation.truth().position[:, 2]
        for _ in walk(simulation, 40):
            pass
        torques = np.abs(simulation.truth().joint_torques).max(axis=(1, 2))
    assert torques[0] <= 1.0
    assert 1.0 < torques[1] <= g.TORQUE_LIMIT_NM
    assert sagged[0] < sagged[2] < sagged[1]


def test_robots_that_are_not_active_stay() -> None:
    robots = (RobotParameters(), RobotParameters())
    with closing(simulated("pybullet", *robots)) as simulation:
        before = simulation.qpos(1)
        targets = np.tile(neutral_stance(), (2, 1, 1))
        simulation.advance(targets, np.zeros((2, 3)), np.array([True, False]))
        assert np.array_equal(simulation.qpos(1), before)
        assert simulation.times_s == pytest.approx([g.CONTROL_PERIOD_S, 0.0], abs=1e-9)


@pytest.mark.parametrize(
    "robot",
    [
        RobotParameters(terrain="rough", roughness_m=0.1, terrain_seed=3),
        RobotParameters(terrain="stairs", orientation_deg=30.0),
        RobotParameters(terrain="slope", slope_deg=9.0, orientation_deg=60.0),
    ],
    ids=lambda robot: robot.terrain,
)
def test_ground_is_where_the_terrain_says(robot: RobotParameters) -> None:
    bullet = pytest.importorskip("pybullet")
    with closing(simulated("pybullet", robot)) as simulation:
        places = np.random.default_rng(0).uniform(0.5, 3.0, (300, 2)) * [1.0, -1.0]
        high = np.c_[places, np.full(len(places), 5.0)]
        client = simulation._worlds[0]._client
        hits = bullet.rayTestBatch(high.tolist(), (high - [0.0, 0.0, 10.0]).tolist(), physicsClientId=client)
    heights = np.array([hit[3][2] for hit in hits])
    expected = make_terrain(robot).height(places[:, 0], places[:, 1])
    # Cells of the height field are two triangles in Bullet, bilinear in the terrain; edges of stairs are rounded.
    assert np.mean(np.abs(heights - expected) < 2e-3) > 0.98
    assert np.ptp(heights) > 0.03


def test_closing_twice_is_allowed() -> None:
    simulation = simulated("pybullet", RobotParameters())
    simulation.close()
    simulation.close()
