"""Velocity, height and position of the body from the feet that stand, the gyroscope and the accelerometer.

A foot that stands does not slip but its sphere rolls: its centre moves with the shank's angular velocity times the
radius. Every standing foot thus yields the body's velocity; the accelerometer carries the estimate from tick to tick,
and a foot that contradicts it, because it slips or is still landing, counts little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Settings, setting
from stoch2_sim.robots.stoch2.attitude import turned, wrapped
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S, FOOT_RADIUS_M, GRAVITY_MPS2, NEUTRAL_FOOT_HEIGHT_M
from stoch2_sim.robots.stoch2.leg_motion import LegMotion
from stoch2_sim.robots.stoch2.vectors import cross
from stoch2_sim.simulators.protocol import Array, Mask

# Feet that contradict the accelerometer for long are right in the end. A few times more, and one slipping foot could
# draw the estimate so far that the foot that holds counted as the slipping one.
_LEAST_WEIGHT = 0.01


@dataclass(frozen=True)
class OdometrySettings(Settings):
    """How much is believed of what."""

    foot_trust: float = setting(
        0.3, "Share by which one agreeing foot corrects the velocity at every tick", minimum=0.01, maximum=1.0
    )
    slip_speed_m_s: float = setting(
        0.05, "A foot that disagrees by this speed counts half, m/s", minimum=0.001, maximum=100.0
    )
    height_trust: float = setting(
        0.2, "Share by which the standing feet correct the height at every tick", minimum=0.01, maximum=1.0
    )


class Odometry:
    """Estimates how several robots move.

    Args:
        num_robots: Number of robots.
        settings: Trust in feet.
    """

    def __init__(self, num_robots: int, settings: OdometrySettings) -> None:
        self._settings = settings
        self._foot_variance = 1.0 / settings.foot_trust - 1.0
        self._velocity = np.zeros((num_robots, 3))
        self._height = np.zeros(num_robots)
        self._position = np.zeros((num_robots, 2))
        self._yaw = np.zeros(num_robots)

    @property
    def velocity(self) -> Array:
        """Velocity of the trunk's origin, heading frame, m/s. Shape=(num_robots, 3)."""
        return self._velocity

    @property
    def height(self) -> Array:
        """Distance of the trunk's origin from the ground's plane, m. Shape=(num_robots,)."""
        return self._height

    @property
    def position(self) -> Array:
        """World x and y, as far as adding up velocities goes, m. Shape=(num_robots, 2)."""
        return self._position

    def reset(self, position: Array, yaw: Array, selected: Mask | None = None) -> None:
        """Start the selected robots, or all, at rest.

        Args:
            position: World x and y of all robots, m. Shape=(num_robots, 2).
            yaw: Headings of all robots, rad. Shape=(num_robots,).
            selected: Shape=(num_robots,).
        """
        rows = slice(None) if selected is None else selected
        self._velocity[rows] = 0.0
        self._height[rows] = -NEUTRAL_FOOT_HEIGHT_M
        self._position[rows] = position[rows]
        self._yaw[rows] = yaw[rows]

    def update(
        self,
        foot_velocities: Array,
        feet: Array,
        grip: Array,
        normal: Array,
        acceleration: Array,
        yaw: Array,
    ) -> None:
        """Take in one control period.

        Args:
            foot_velocities: The body's velocity as each foot tells it; see :func:`velocities_from_feet`. Heading
                frame, m/s. Shape=(num_robots, 4, 3).
            feet: Relative to the trunk, heading frame, m. Shape=(num_robots, 4, 3).
            grip: How well each foot holds, from 0 to 1; see :meth:`ContactEstimator.grip`. Shape=(num_robots, 4).
            normal: Of the ground, heading frame. Shape=(num_robots, 3).
            acceleration: Specific force, heading frame, m/s². Shape=(num_robots, 3).
            yaw: Headings, rad. Shape=(num_robots,).
        """
        turn = wrapped(yaw - self._yaw)
        before = self._velocity
        predicted = before + CONTROL_PERIOD_S * acceleration
        predicted[:, 2] -= CONTROL_PERIOD_S * GRAVITY_MPS2
        predicted[:, 0] += turn * before[:, 1]
        predicted[:, 1] -= turn * before[:, 0]
        differences = foot_velocities - predicted[:, None]
        squares = np.einsum("nfi,nfi->nf", differences, differences)
        doubt = squares / self._settings.slip_speed_m_s**2
        weights = grip * np.maximum(1.0 / (1.0 + doubt), _LEAST_WEIGHT)
        total = weights.sum(axis=1)
        correction = (weights[:, None] @ differences)[:, 0]
        self._velocity = predicted + correction / (total + self._foot_variance)[:, None]
        self._position = self._position + turned(
            (0.5 * CONTROL_PERIOD_S) * (before + self._velocity)[:, :2], self._yaw + 0.5 * turn
        )
        self._yaw = yaw
        self._update_height(feet, grip, normal)

    def _update_height(self, feet: Array, grip: Array, normal: Array) -> None:
        """Height over the standing feet, carried on by the velocity across the ground."""
        predicted = self._height + CONTROL_PERIOD_S * np.einsum("ni,ni->n", self._velocity, normal)
        heights = FOOT_RADIUS_M - (feet @ normal[:, :, None])[:, :, 0]
        difference = np.einsum("nf,nf->n", heights - predicted[:, None], grip)
        self._height = predicted + self._settings.height_trust * difference / np.maximum(grip.sum(axis=1), 1.0)


def velocities_from_feet(legs: LegMotion, angular_velocity: Array, normal: Array) -> Array:
    """The body's velocity as each foot tells it, were it rolling on the ground without slip.

    Args:
        legs: The legs relative to the trunk.
        angular_velocity: Of the trunk, body axes, rad/s. Shape=(num_robots, 3).
        normal: Of the ground, body axes. Shape=(num_robots, 3).

    Returns:
        Body axes, m/s. Shape=(num_robots, 4, 3).
    """
    up = FOOT_RADIUS_M * normal[:, None]
    # The point of contact stands still; it lies one radius below the foot's centre and moves with the shank.
    velocities = cross(angular_velocity[:, None], up - legs.feet)
    velocities += cross(legs.shank_rates, up)
    velocities -= legs.foot_velocities
    return velocities
