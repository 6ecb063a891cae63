"""What every simulation of Stoch2 offers, and how to make one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.simulators.protocol import Array, Mask

SIMULATORS = ("mujoco", "pybullet")


@dataclass(frozen=True)
class Sensors:
    """What the robots measure, exact; noise and delay are added by who reads them.

    Attributes:
        joint_positions: Radians. Shape=(num_robots, 4, 3).
        joint_velocities: Radians per second. Shape=(num_robots, 4, 3).
        orientation: Unit quaternions (w, x, y, z), body to world. Shape=(num_robots, 4).
        angular_velocity: Of the trunk, body axes, radians per second. Shape=(num_robots, 3).
        linear_acceleration: Specific force at the trunk's origin, body axes, m/s²; at rest it points
            up with 9.81. Shape=(num_robots, 3).
        foot_forces: Force of the ground on each foot along the ground's normal, newtons, 0 in the
            air. Shape=(num_robots, 4).
    """

    joint_positions: Array
    joint_velocities: Array
    orientation: Array
    angular_velocity: Array
    linear_acceleration: Array
    foot_forces: Array


@dataclass(frozen=True)
class Truth:
    """What only a simulator knows, for scores, pictures and ideal sensing.

    Attributes:
        position: Of the trunk's origin, world, metres. Shape=(num_robots, 3).
        orientation: Unit quaternions (w, x, y, z), body to world. Shape=(num_robots, 4).
        linear_velocity: Of the trunk's origin, world axes, m/s. Shape=(num_robots, 3).
        angular_velocity: Of the trunk, body axes, radians per second. Shape=(num_robots, 3).
        foot_positions: Centres of the feet, world, metres. Shape=(num_robots, 4, 3).
        joint_torques: Torques of the motors, N m. Shape=(num_robots, 4, 3).
    """

    position: Array
    orientation: Array
    linear_velocity: Array
    angular_velocity: Array
    foot_positions: Array
    joint_torques: Array


class QuadrupedSimulation(Protocol):
    """Independent Stoch2 robots, each on ground of its own, advancing in control ticks of 5 ms.

    The joint controller (proportional and derivative, with the torque limit) runs inside, at the
    rate of the physics. Nothing moves between two calls; an instance shares no state with any other.
    """

    @property
    def name(self) -> str:
        """The engine's name as users type it."""
        ...

    @property
    def num_robots(self) -> int:
        """Number of robots."""
        ...

    @property
    def times_s(self) -> Array:
        """Simulated time since the reset as the engine itself counts it. Shape=(num_robots,)."""
        ...

    def reset(self, yaws: Array, joint_positions: Array | None = None) -> None:
        """Put every robot down at the middle of its ground and let it settle; clocks go to zero.

        Args:
            yaws: Initial headings, counter-clockwise from the world's x axis. Shape=(num_robots,).
            joint_positions: Angles that are held meanwhile; None for the neutral stance.
                Shape=(num_robots, 4, 3).
        """
        ...

    def advance(self, joint_targets: Array, forces: Array, active: Mask | None = None) -> None:
        """Advance by exactly one control tick.

        Args:
            joint_targets: Radians. Shape=(num_robots, 4, 3).
            forces: Push at the trunk's centre of mass, world axes, newtons. Shape=(num_robots, 3).
            active: Robots to advance; the others stay where they are. None means all.
                Shape=(num_robots,).
        """
        ...

    def sensors(self) -> Sensors:
        """Measurements after the last tick, copies."""
        ...

    def truth(self) -> Truth:
        """The true state after the last tick, copies."""
        ...

    def qpos(self, index: int) -> Array:
        """Configuration of one robot for pictures: MuJoCo's coordinates, a copy. Shape=(27,)."""
        ...

    def close(self) -> None:
        """Release the engine's resources; may be called twice."""
        ...


def make_simulation(simulator: str, robots: Sequence[RobotParameters]) -> QuadrupedSimulation:
    """Robots in a physics engine; the engines' packages are imported only when asked for.

    Args:
        simulator: One of :data:`SIMULATORS`.
        robots: One entry for each robot; they may differ.

    Raises:
        ConfigurationError: An unknown or missing simulator, or no robots.
    """
    if simulator not in SIMULATORS:
        raise ConfigurationError(f"simulator '{simulator}': must be one of {', '.join(SIMULATORS)}")
    if not robots:
        raise ConfigurationError("robots = []: at least one is needed")
    if simulator == "pybullet":
        from stoch2_sim.robots.stoch2.pybullet_simulation import PybulletSimulation  # noqa: PLC0415

        return PybulletSimulation(robots)
    from stoch2_sim.robots.stoch2.mujoco_simulation import MujocoSimulation  # noqa: PLC0415

    return MujocoSimulation(robots)
