"""From what the robot measures to how its body moves: attitude, contacts, ground and odometry put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from demo_control.configuration import setting
from stoch2_sim.robots.stoch2.attitude import AttitudeFilter, AttitudeSettings, heading_rotation
from stoch2_sim.robots.stoch2.contacts import ContactEstimator, ContactSettings, forces_from_joints
from stoch2_sim.robots.stoch2.geometry import NUM_LEGS
from stoch2_sim.robots.stoch2.leg_motion import leg_motion
from stoch2_sim.robots.stoch2.observation import BodyState
from stoch2_sim.robots.stoch2.odometry import Odometry, OdometrySettings, velocities_from_feet
from stoch2_sim.robots.stoch2.simulation import Sensors
from stoch2_sim.robots.stoch2.support_plane import SupportPlane, SupportPlaneSettings, plane_angles
from stoch2_sim.simulators.protocol import Array, Mask


@dataclass(frozen=True)
class Instruments(AttitudeSettings):
    """What a robot measures with."""

    foot_sensors: bool = setting(
        True, "Whether the feet have force sensors; without, contacts come from the joints' tracking errors"
    )


@dataclass(frozen=True)
class EstimationSettings:
    """Settings of the estimators that all robots share."""

    contacts: ContactSettings = field(default_factory=ContactSettings)
    plane: SupportPlaneSettings = field(default_factory=SupportPlaneSettings)
    odometry: OdometrySettings = field(default_factory=OdometrySettings)


class BodyEstimator:
    """Estimates how the bodies of several robots stand and move.

    Args:
        instruments: Each robot's.
        settings: Of the estimators.
    """

    def __init__(self, instruments: Sequence[Instruments], settings: EstimationSettings) -> None:
        num_robots = len(instruments)
        self._attitude = AttitudeFilter(instruments)
        self._has_foot_sensors: Mask = np.array([one.foot_sensors for one in instruments])
        self._contacts = ContactEstimator(self._has_foot_sensors, settings.contacts)
        self._plane = SupportPlane(num_robots, settings.plane)
        self._odometry = Odometry(num_robots, settings.odometry)
        self._normal = np.tile([0.0, 0.0, 1.0], (num_robots, 1))
        self._standing: Mask = np.zeros((num_robots, NUM_LEGS), dtype=bool)

    @property
    def standing(self) -> Mask:
        """Which feet stand. Shape=(num_robots, 4)."""
        return self._standing

    def reset(self, position: Array, yaw: Array, selected: Mask | None = None) -> None:
        """Start the selected robots, or all, standing at a known place.

        Args:
            position: World x and y of all robots, m. Shape=(num_robots, 2).
            yaw: Headings of all robots, rad. Shape=(num_robots,).
            selected: Shape=(num_robots,).
        """
        self._attitude.reset(selected)
        self._contacts.reset(selected)
        self._plane.reset(yaw, selected)
        self._odometry.reset(position, yaw, selected)
        self._normal[slice(None) if selected is None else selected] = (0.0, 0.0, 1.0)

    def update(self, sensors: Sensors, joint_targets: Array, phases: Array) -> BodyState:
        """Take in one control period.

        Args:
            sensors: Measurements.
            joint_targets: Where the joint controller has held the joints, rad. Shape=(num_robots, 4, 3).
            phases: Phase of the gait, cycles. Shape=(num_robots,).
        """
        angles = self._attitude.update(sensors.orientation, sensors.angular_velocity)
        yaw = angles[:, 2]
        rotation = heading_rotation(angles)
        legs = leg_motion(sensors.joint_positions, sensors.joint_velocities)
        forces = self._forces(sensors, joint_targets, rotation)
        self._standing = self._contacts.update(forces, phases)
        normal = (self._normal[:, None] @ rotation)[:, 0]
        velocities = velocities_from_feet(legs, sensors.angular_velocity, normal)
        vectors = np.concatenate([legs.feet, velocities, sensors.linear_acceleration[:, None]], axis=1)
        level = vectors @ np.swapaxes(rotation, 1, 2)
        feet, velocities, acceleration = level[:, :NUM_LEGS], level[:, NUM_LEGS:-1], level[:, -1]
        self._normal = self._plane.update(feet, self._standing, yaw)
        grip = self._contacts.grip(forces, phases)
        self._odometry.update(velocities, feet, grip, self._normal, acceleration, yaw)
        return BodyState(
            angles=angles,
            angular_velocity=sensors.angular_velocity,
            velocity=self._odometry.velocity,
            height=self._odometry.height,
            support=plane_angles(self._normal),
            position=self._odometry.position,
        )

    def _forces(self, sensors: Sensors, joint_targets: Array, rotation: Array) -> Array:
        """The force on every foot, measured or inferred. Shape=(num_robots, 4)."""
        if self._has_foot_sensors.all():
            return sensors.foot_forces
        inferred = forces_from_joints(
            sensors.joint_positions, sensors.joint_velocities, joint_targets, up=rotation[:, 2]
        )
        return np.where(self._has_foot_sensors[:, None], sensors.foot_forces, inferred)
