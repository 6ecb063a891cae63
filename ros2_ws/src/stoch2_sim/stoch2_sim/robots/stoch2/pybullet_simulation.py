"""Stoch2 in PyBullet: a physics client for each robot, 25 physics steps to a control tick."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stoch2_sim.robots.stoch2 import geometry as g
from stoch2_sim.robots.stoch2.kinematics import feet_in_body
from stoch2_sim.robots.stoch2.mjcf import HINGES
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import SETTLING_TICKS, neutral_stance, placement
from stoch2_sim.robots.stoch2.pybullet_world import BulletPhysics, PybulletWorld
from stoch2_sim.robots.stoch2.rotations import rotation_matrices
from stoch2_sim.robots.stoch2.simulation import Sensors, Truth
from stoch2_sim.robots.stoch2.urdf import MOVABLE_JOINT_NAMES
from stoch2_sim.simulators.protocol import Array, Mask
from stoch2_sim.simulators.pybullet_simulator import import_pybullet

_NUM_MOTORS = len(g.JOINT_NAMES)
_GRAVITY_MPS2: Array = np.array([0.0, 0.0, -g.GRAVITY_MPS2])
# MuJoCo's order of coordinates, from Bullet's joints in the order of their names.
_HINGE_ORDER = [MOVABLE_JOINT_NAMES.index(f"{leg}_{hinge}") for leg in g.LEGS for hinge in HINGES]


class PybulletSimulation:
    """Stoch2 robots in PyBullet; see :class:`~stoch2_sim.robots.stoch2.simulation.QuadrupedSimulation`.

    Positions, velocities and orientation are those at the end of a tick, accelerations the mean over
    the tick, foot forces the mean over its last half: those of single steps jump.

    Args:
        robots: One entry for each robot.
        physics: How the physics is computed.

    Raises:
        ConfigurationError: PyBullet is missing or allows no more robots.
    """

    name = "pybullet"

    def __init__(self, robots: Sequence[RobotParameters], physics: BulletPhysics | None = None) -> None:
        bullet = import_pybullet()
        self.num_robots = len(robots)
        self._worlds: list[PybulletWorld] = []
        try:
            for robot in robots:
                self._worlds.append(PybulletWorld(bullet, robot, physics or BulletPhysics()))
        except Exception:
            self.close()
            raise
        self._joints = np.zeros((self.num_robots, len(MOVABLE_JOINT_NAMES), 2))
        self._position = np.zeros((self.num_robots, 3))
        self._orientation = np.tile([1.0, 0.0, 0.0, 0.0], (self.num_robots, 1))
        self._velocity = np.zeros((self.num_robots, 3))
        self._angular_velocity = np.zeros((self.num_robots, 3))
        self._acceleration = np.zeros((self.num_robots, 3))

    @property
    def times_s(self) -> Array:
        """Simulated time since the reset by the engine's own steps. Shape=(num_robots,)."""
        return np.array([world.time_s for world in self._worlds])

    def reset(self, yaws: Array, joint_positions: Array | None = None) -> None:
        """Put every robot down at the world's origin and let it settle; clocks go to zero.

        Args:
            yaws: Initial headings, counter-clockwise from the world's x axis. Shape=(num_robots,).
            joint_positions: Angles that are held meanwhile; None for the neutral stance.
                Shape=(num_robots, 4, 3).
        """
        if joint_positions is None:
            joint_positions = np.tile(neutral_stance(), (self.num_robots, 1, 1))
        for index, world in enumerate(self._worlds):
            joints = joint_positions[index]
            world.build(*placement(world.terrain, float(yaws[index]), joints), joints)
            self._read(index)
        still = np.zeros((self.num_robots, 3))
        for _ in range(SETTLING_TICKS):
            self.advance(joint_positions, still)
        for world in self._worlds:
            world.steps = 0

    def advance(self, joint_targets: Array, forces: Array, active: Mask | None = None) -> None:
        """Advance by exactly one control tick.

        Args:
            joint_targets: Radians. Shape=(num_robots, 4, 3).
            forces: Push at the trunk's centre of mass, world axes, newtons. Shape=(num_robots, 3).
            active: Robots to advance; the others stay where they are. None means all.
                Shape=(num_robots,).
        """
        for index, world in enumerate(self._worlds):
            if active is None or active[index]:
                force = forces[index].tolist() if forces[index].any() else None
                world.advance(joint_targets[index].ravel().tolist(), force)
                before = self._velocity[index].copy()
                self._read(index)
                self._acceleration[index] = (self._velocity[index] - before) / g.CONTROL_PERIOD_S

    def _read(self, index: int) -> None:
        """Take one robot's state out of the engine."""
        world = self._worlds[index]
        self._joints[index] = world.joint_states()
        self._position[index], self._orientation[index], of_centre, angular = world.base_state()
        # The origin turns about the centre of mass.
        rotation = rotation_matrices(self._orientation[index])
        self._velocity[index] = of_centre - np.cross(angular, rotation @ world.centre)
        self._angular_velocity[index] = angular @ rotation

    def _motors(self, entry: int) -> Array:
        """Entry 0 (angle) or 1 (rate) of the motors. Shape=(num_robots, 4, 3)."""
        motors: Array = self._joints[:, :_NUM_MOTORS, entry].reshape(-1, g.NUM_LEGS, g.NUM_JOINTS).copy()
        return motors

    def sensors(self) -> Sensors:
        """Measurements after the last tick, copies."""
        rotations = rotation_matrices(self._orientation)
        force = ((self._acceleration - _GRAVITY_MPS2)[:, None, :] @ rotations)[:, 0]
        return Sensors(
            joint_positions=self._motors(0),
            joint_velocities=self._motors(1),
            orientation=self._orientation.copy(),
            angular_velocity=self._angular_velocity.copy(),
            linear_acceleration=force,
            foot_forces=np.array([world.foot_forces for world in self._worlds]),
        )

    def truth(self) -> Truth:
        """The true state after the last tick, copies."""
        feet = feet_in_body(self._motors(0)) @ rotation_matrices(self._orientation).swapaxes(-1, -2)
        return Truth(
            position=self._position.copy(),
            orientation=self._orientation.copy(),
            linear_velocity=self._velocity.copy(),
            angular_velocity=self._angular_velocity.copy(),
            foot_positions=self._position[:, None, :] + feet,
            joint_torques=np.array([world.torques for world in self._worlds]).reshape(-1, g.NUM_LEGS, g.NUM_JOINTS),
        )

    def qpos(self, index: int) -> Array:
        """Configuration of one robot for pictures, MuJoCo's coordinates, a copy. Shape=(27,)."""
        hinges = self._joints[index, _HINGE_ORDER, 0]
        return np.concatenate([self._position[index], self._orientation[index], hinges])

    def close(self) -> None:
        """Disconnect all physics clients; may be called twice."""
        for world in self._worlds:
            world.close()
        self._worlds = []
