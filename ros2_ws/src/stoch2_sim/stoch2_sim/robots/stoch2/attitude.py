"""Roll, pitch and yaw of the body: the attitude that the IMU reports, smoothed by its gyroscope.

Angles are those of R = Rz(yaw) Ry(pitch) Rx(roll), which maps body axes (x forward, y left, z up) to the world's. The
filter is the steady Kalman filter of an angle that is measured with white noise and whose rate is measured too; it
predicts with the rate, so it smooths without lagging behind a motion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Settings, setting
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.simulators.protocol import Array, Mask

# Between two samples the rate is not a straight line (feet hit the ground); this much noise stands for that.
_SAMPLING_NOISE_RAD_S = 0.06
# Share of the squared gain by which the gyroscope's drift is followed; 1/4 leaves nothing that swings.
_DRIFT_GAIN = 0.25
# cos(pitch) is kept above this, so that a robot that lies on its nose yields numbers.
_SMALLEST_COSINE = 0.05


@dataclass(frozen=True)
class AttitudeSettings(Settings):
    """What the data sheet of the IMU says."""

    attitude_noise_rad: float = setting(
        0.0,
        "White noise of each angle of the IMU's attitude, standard deviation per sample, rad; 0 takes it as it is",
        minimum=0.0,
        maximum=1.0,
    )
    gyroscope_noise_rad_s: float = setting(
        0.0, "White noise of each rate, standard deviation per sample, rad/s", minimum=0.0, maximum=10.0
    )

    @property
    def gain(self) -> float:
        """Share of the difference between measurement and prediction that the filter follows, in (0, 1]."""
        rate_noise = math.hypot(self.gyroscope_noise_rad_s, _SAMPLING_NOISE_RAD_S)
        process, measurement = (rate_noise * CONTROL_PERIOD_S) ** 2, self.attitude_noise_rad**2
        predicted = (process + math.sqrt(process**2 + 4.0 * process * measurement)) / 2.0
        return predicted / (predicted + measurement)


class AttitudeFilter:
    """Estimates roll, pitch and yaw of several robots.

    Args:
        settings: Each robot's IMU.
    """

    def __init__(self, settings: Sequence[AttitudeSettings]) -> None:
        num_robots = len(settings)
        self._gain = np.array([[imu.gain] for imu in settings])
        self._is_exact = bool((self._gain == 1.0).all())
        self._angles = np.zeros((num_robots, 3))
        self._rates = np.zeros((num_robots, 3))
        self._drift = np.zeros((num_robots, 3))
        self._samples = np.zeros((num_robots, 1))

    def reset(self, selected: Mask | None = None) -> None:
        """Forget the past of the selected robots, or of all. Shape=(num_robots,)."""
        rows = slice(None) if selected is None else selected
        for memory in (self._angles, self._rates, self._drift, self._samples):
            memory[rows] = 0.0

    def update(self, orientation: Array, angular_velocity: Array) -> Array:
        """Take in one sample of the IMU, one control period after the sample before.

        Args:
            orientation: Quaternions (w, x, y, z), body to world. Shape=(num_robots, 4).
            angular_velocity: In body axes, rad/s. Shape=(num_robots, 3).

        Returns:
            Roll, pitch and yaw in rad, yaw in [-π, π]. Shape=(num_robots, 3).
        """
        measured = euler_angles(orientation)
        if self._is_exact:
            return measured
        expected = self._angles + CONTROL_PERIOD_S * self._rates
        rates = euler_rates(expected, angular_velocity) - self._drift
        predicted = self._angles + (0.5 * CONTROL_PERIOD_S) * (self._rates + rates)
        # Before the filter has settled, every sample counts as much as every other.
        gain = np.maximum(self._gain, 1.0 / (self._samples + 1.0))
        difference = wrapped(measured - predicted)
        angles = wrapped(predicted + gain * difference)
        has_settled = self._samples * self._gain > 1.0
        self._drift = self._drift - (_DRIFT_GAIN / CONTROL_PERIOD_S) * self._gain**2 * has_settled * difference
        # A copy: what was handed out must outlast a reset, which is told the very yaw that it ends.
        self._angles, self._rates = angles.copy(), rates
        self._samples += 1.0
        return angles


def euler_angles(orientation: Array) -> Array:
    """Roll, pitch and yaw of unit quaternions (w, x, y, z).

    Args:
        orientation: Shape=(..., 4).

    Returns:
        In rad, roll and yaw in [-π, π], pitch in [-π/2, π/2]. Shape=(..., 3).
    """
    squares = orientation * orientation
    w, x, y, z = (orientation[..., index] for index in range(4))
    angles = np.empty((*orientation.shape[:-1], 3))
    angles[..., 0] = np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (squares[..., 1] + squares[..., 2]))
    angles[..., 1] = np.arcsin(np.clip(2.0 * (w * y - z * x), -1.0, 1.0))
    angles[..., 2] = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (squares[..., 2] + squares[..., 3]))
    return angles


def quaternions(angles: Array) -> Array:
    """Unit quaternions (w, x, y, z) of roll, pitch and yaw: the inverse of :func:`euler_angles`.

    Args:
        angles: In rad. Shape=(..., 3).

    Returns:
        Shape=(..., 4).
    """
    half = 0.5 * angles
    cosine, sine = np.cos(half), np.sin(half)
    (cr, cp, cy), (sr, sp, sy) = np.moveaxis(cosine, -1, 0), np.moveaxis(sine, -1, 0)
    return np.stack(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ],
        axis=-1,
    )


def euler_rates(angles: Array, angular_velocity: Array) -> Array:
    """Rates of roll, pitch and yaw under an angular velocity.

    Args:
        angles: Roll, pitch and yaw, rad. Shape=(..., 3).
        angular_velocity: In body axes, rad/s. Shape=(..., 3).

    Returns:
        In rad/s. Shape=(..., 3).
    """
    cosine, sine = np.cos(angles), np.sin(angles)
    across = sine[..., 0] * angular_velocity[..., 1] + cosine[..., 0] * angular_velocity[..., 2]
    rates = np.empty_like(angles)
    rates[..., 2] = across / np.maximum(cosine[..., 1], _SMALLEST_COSINE)
    rates[..., 1] = cosine[..., 0] * angular_velocity[..., 1] - sine[..., 0] * angular_velocity[..., 2]
    rates[..., 0] = angular_velocity[..., 0] + sine[..., 1] * rates[..., 2]
    return rates


def heading_rotation(angles: Array) -> Array:
    """Rotations from body axes to the heading frame (x forward, y left, both level, z up): Ry(pitch) Rx(roll).

    Args:
        angles: Roll, pitch and (unused) yaw, rad. Shape=(num_robots, 3).

    Returns:
        Shape=(num_robots, 3, 3).
    """
    cosine, sine = np.cos(angles), np.sin(angles)
    rotation = np.empty((len(angles), 3, 3))
    rotation[:, 0, 0] = cosine[:, 1]
    rotation[:, 0, 1] = sine[:, 1] * sine[:, 0]
    rotation[:, 0, 2] = sine[:, 1] * cosine[:, 0]
    rotation[:, 1, 0] = 0.0
    rotation[:, 1, 1] = cosine[:, 0]
    rotation[:, 1, 2] = -sine[:, 0]
    rotation[:, 2, 0] = -sine[:, 1]
    rotation[:, 2, 1] = cosine[:, 1] * sine[:, 0]
    rotation[:, 2, 2] = cosine[:, 1] * cosine[:, 0]
    return rotation


def turned(vectors: Array, angle: Array) -> Array:
    """Level vectors turned about the vertical.

    Args:
        vectors: Forward and left. Shape=(num_robots, 2).
        angle: Counter-clockwise seen from above, rad. Shape=(num_robots,).

    Returns:
        Shape=(num_robots, 2).
    """
    cosine, sine = np.cos(angle), np.sin(angle)
    result = np.empty_like(vectors)
    result[:, 0] = cosine * vectors[:, 0] - sine * vectors[:, 1]
    result[:, 1] = sine * vectors[:, 0] + cosine * vectors[:, 1]
    return result


def wrapped(angles: Array) -> Array:
    """Angles brought into [-π, π]; only a few turns off at most in practice, so the remainder is exact enough."""
    return angles - 2.0 * np.pi * np.rint(angles / (2.0 * np.pi))
