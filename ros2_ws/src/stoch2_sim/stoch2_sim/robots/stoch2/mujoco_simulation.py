"""Stoch2 in MuJoCo: one model and one state for each robot.

The robots are stepped one after the other. MuJoCo's own batch (`mujoco.rollout`) is no faster on one
core: it took as long for 32 robots, and a quarter longer for one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import mujoco
import numpy as np

from stoch2_sim.robots.stoch2 import geometry as g
from stoch2_sim.robots.stoch2.kinematics import feet_in_body
from stoch2_sim.robots.stoch2.mjcf import HINGES, PHYSICS_STEP_S, coordinates, robot_mjcf
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import SETTLING_TICKS, neutral_stance, placement
from stoch2_sim.robots.stoch2.rotations import rotation_matrices
from stoch2_sim.robots.stoch2.simulation import Sensors, Truth
from stoch2_sim.robots.stoch2.terrain import make_terrain
from stoch2_sim.simulators.protocol import Array, Mask

_STEPS_PER_TICK = round(g.CONTROL_PERIOD_S / PHYSICS_STEP_S)
_NUM_HINGES = len(HINGES)
_MOTORS = [HINGES.index(name) for name in g.JOINTS]


class MujocoSimulation:
    """Stoch2 robots in MuJoCo; see :class:`~stoch2_sim.robots.stoch2.simulation.QuadrupedSimulation`.

    Positions, velocities and orientation are those at the end of a tick, accelerations the mean over
    it (MuJoCo's own accelerometer knows nothing of what the implicit integration adds), foot forces
    those of the tick's last physics step.
    """

    name = "mujoco"

    def __init__(self, robots: Sequence[RobotParameters]) -> None:
        """Compile one model for each different robot.

        Args:
            robots: One entry for each robot.
        """
        models: dict[RobotParameters, mujoco.MjModel] = {}
        for robot in robots:
            if robot not in models:
                models[robot] = mujoco.MjModel.from_xml_string(robot_mjcf(robot))
        self.num_robots = len(robots)
        self._terrains = [make_terrain(robot) for robot in robots]
        self._models = [models[robot] for robot in robots]
        self._data = [mujoco.MjData(model) for model in self._models]
        trunk = self._models[0].body("trunk").id
        # Views into MuJoCo's memory: making them anew each tick costs more than copying them.
        self._qpos = [data.qpos for data in self._data]
        self._qvel = [data.qvel for data in self._data]
        self._sensordata = [data.sensordata for data in self._data]
        self._torques = [data.actuator_force for data in self._data]
        self._controls = [data.ctrl for data in self._data]
        self._pushes = [data.xfrc_applied[trunk, :3] for data in self._data]
        self._everyone = range(self.num_robots)
        self._start_s = np.zeros(self.num_robots)
        self._velocities = np.zeros((self.num_robots, 3))
        self._accelerations = np.zeros((self.num_robots, 3))

    @property
    def times_s(self) -> Array:
        """Simulated time since the reset, MuJoCo's own. Shape=(num_robots,)."""
        return np.array([data.time for data in self._data]) - self._start_s

    def reset(self, yaws: Array, joint_positions: Array | None = None) -> None:
        """Put every robot down at the world's origin and let it settle; clocks go to zero.

        Args:
            yaws: Initial headings, counter-clockwise from the world's x axis. Shape=(num_robots,).
            joint_positions: Angles that are held meanwhile; None for the neutral stance.
                Shape=(num_robots, 4, 3).
        """
        if joint_positions is None:
            joint_positions = np.tile(neutral_stance(), (self.num_robots, 1, 1))
        for index, data in enumerate(self._data):
            mujoco.mj_resetData(self._models[index], data)
            position, orientation = placement(self._terrains[index], float(yaws[index]), joint_positions[index])
            data.qpos[:] = coordinates(position, orientation, joint_positions[index])
        self._velocities[:] = 0.0
        still = np.zeros((self.num_robots, 3))
        for _ in range(SETTLING_TICKS):
            self.advance(joint_positions, still)
        self._start_s = np.array([data.time for data in self._data])

    def advance(self, joint_targets: Array, forces: Array, active: Mask | None = None) -> None:
        """Advance by exactly one control tick.

        Args:
            joint_targets: Radians. Shape=(num_robots, 4, 3).
            forces: Push at the trunk's centre of mass, world axes, newtons. Shape=(num_robots, 3).
            active: Robots to advance; the others stay where they are. None means all.
                Shape=(num_robots,).
        """
        controls = joint_targets.reshape(self.num_robots, -1)
        for index in self._everyone if active is None else np.flatnonzero(active):
            self._controls[index][:] = controls[index]
            self._pushes[index][:] = forces[index]
            # What has become infinite stays so: there is nothing to compute.
            if math.isfinite(self._qvel[index][0]):
                mujoco.mj_step(self._models[index], self._data[index], _STEPS_PER_TICK)
        velocities = np.array(self._qvel)[:, :3]
        self._accelerations = (velocities - self._velocities) / g.CONTROL_PERIOD_S
        self._velocities = velocities

    def limit_torques(self, torques: Array) -> None:
        """Let the motors give less than their own limit from now on; robots that are equal share the limit.

        Args:
            torques: N m, 0 for a motor that is switched off. Shape=(num_robots, 12).
        """
        for model, limit in zip(self._models, torques, strict=True):
            model.actuator_forcerange[:, 0] = -limit
            model.actuator_forcerange[:, 1] = limit

    def sensors(self) -> Sensors:
        """Measurements after the last tick, copies."""
        qpos, qvel = np.array(self._qpos), np.array(self._qvel)
        force = self._accelerations + np.array([0.0, 0.0, g.GRAVITY_MPS2])
        return Sensors(
            joint_positions=_motors(qpos[:, 7:]),
            joint_velocities=_motors(qvel[:, 6:]),
            orientation=qpos[:, 3:7],
            angular_velocity=qvel[:, 3:6],
            linear_acceleration=(force[:, None, :] @ rotation_matrices(qpos[:, 3:7]))[:, 0],
            foot_forces=np.array(self._sensordata),
        )

    def truth(self) -> Truth:
        """The true state after the last tick, copies."""
        qpos, qvel = np.array(self._qpos), np.array(self._qvel)
        position, orientation = qpos[:, :3], qpos[:, 3:7]
        feet = feet_in_body(_motors(qpos[:, 7:])) @ rotation_matrices(orientation).swapaxes(-1, -2)
        return Truth(
            position=position,
            orientation=orientation,
            linear_velocity=qvel[:, :3],
            angular_velocity=qvel[:, 3:6],
            foot_positions=position[:, None, :] + feet,
            joint_torques=np.array(self._torques).reshape(-1, g.NUM_LEGS, g.NUM_JOINTS),
        )

    def qpos(self, index: int) -> Array:
        """Configuration of one robot for pictures, a copy. Shape=(27,)."""
        return np.array(self._qpos[index])

    def close(self) -> None:
        """Nothing to release: MuJoCo's memory goes with the object."""


def _motors(hinges: Array) -> Array:
    """The hinges that have a motor. Shape=(num_robots, 4, 3)."""
    return hinges.reshape(-1, g.NUM_LEGS, _NUM_HINGES)[:, :, _MOTORS]
