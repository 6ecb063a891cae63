"""The simulated Stoch2 as a bus: what is written acts in the next control period, which the owner simulates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from demo_control.hardware.bus import BusDescription, ImuReading, JointDescription, Reading
from demo_control.tasks import Array
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.geometry import JOINT_NAMES, NUM_JOINTS, NUM_LEGS
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import sitting_stance
from stoch2_sim.robots.stoch2.sensing import NoisySensors
from stoch2_sim.robots.stoch2.simulation import Sensors, Truth, make_simulation

_SHAPE = (1, NUM_LEGS, NUM_JOINTS)


class SimulatedStoch2Bus:
    """Joints and sensors of a simulated Stoch2; see :class:`demo_control.hardware.bus.Bus`.

    Args:
        simulator: Physics engine.
        robot: How it departs from the nominal one, and its ground.
        sensing: Its sensors' noise.
        noise: Draws it.

    Raises:
        ConfigurationError: The simulator is missing.
    """

    def __init__(
        self, simulator: str, robot: RobotParameters, sensing: SensingParameters, noise: np.random.Generator
    ) -> None:
        self._simulation = make_simulation(simulator, [robot])
        self._noise = NoisySensors([sensing])
        self._noise.reset([noise])
        self._measures_forces = sensing.foot_sensors
        self._targets = sitting_stance()[None]

    def describe(self) -> BusDescription:
        """Twelve position-controlled joints and an IMU."""
        joints = tuple(JointDescription(name, "position", "rad", self._simulation.name) for name in JOINT_NAMES)
        return BusDescription(joints, has_imu=True)

    def connect(self) -> None:
        """Put the robot down, sitting."""
        self._simulation.reset(np.zeros(1), self._targets)

    def read(self) -> Reading:
        """A new reading, with new noise."""
        sensors = self.read_sensors()
        imu = ImuReading(sensors.orientation[0], sensors.angular_velocity[0], sensors.linear_acceleration[0], 0.0)
        return Reading(
            sensors.joint_positions[0].ravel(),
            sensors.joint_velocities[0].ravel(),
            self._simulation.truth().joint_torques[0].ravel(),
            np.zeros(len(JOINT_NAMES)),
            imu,
            sensors.foot_forces[0] if self._measures_forces else None,
        )

    def read_sensors(self) -> Sensors:
        """The same as the batch of one that the estimation takes."""
        return self._noise.read(self._simulation.sensors())

    def write(self, values: Array) -> Array:
        """Set the joint targets of the next control period. Shape=(12,)."""
        self._targets = values.reshape(_SHAPE)
        return values

    def advance(self, force: Array) -> None:
        """Simulate a control period.

        Args:
            force: Push at the trunk, world axes, N. Shape=(1, 3).
        """
        self._simulation.advance(self._targets, force)

    def truth(self) -> Truth:
        """The true state."""
        return self._simulation.truth()

    def stop(self) -> None:
        """A simulated robot needs no stop."""

    def disconnect(self) -> None:
        """Release the simulator."""
        self._simulation.close()

    def counters(self) -> Mapping[str, object]:
        """Nothing is lost on the way."""
        return {}
