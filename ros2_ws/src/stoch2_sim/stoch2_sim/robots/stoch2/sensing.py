"""The simulated sensors' noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stoch2_sim.robots.stoch2.attitude import euler_angles, quaternions
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.simulation import Sensors
from stoch2_sim.simulators.protocol import Array

_BLOCK_TICKS = 256
_CHANNELS = 9


class NoisySensors:
    """Adds white noise to what several robots measure; each robot has a stream of its own.

    Args:
        sensing: Each robot's noise.
    """

    def __init__(self, sensing: Sequence[SensingParameters]) -> None:
        deviations = [
            [one.imu_noise_rad] * 3 + [one.gyroscope_noise_rad_s] * 3 + [one.accelerometer_noise_m_s2] * 3
            for one in sensing
        ]
        self._deviations = np.array(deviations)
        self._is_exact = not self._deviations.any()
        self._generators: Sequence[np.random.Generator] = ()
        self._block = np.zeros((_BLOCK_TICKS, len(sensing), _CHANNELS))
        self._used = _BLOCK_TICKS

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Start anew with one generator for each robot."""
        self._generators = generators
        self._used = _BLOCK_TICKS

    def read(self, sensors: Sensors) -> Sensors:
        """The measurements of one control period, with noise.

        Args:
            sensors: Exact.
        """
        if self._is_exact:
            return sensors
        if self._used == _BLOCK_TICKS:
            # Many ticks at a time: a call per robot and tick would cost more than the physics.
            draws = [generator.standard_normal((_BLOCK_TICKS, _CHANNELS)) for generator in self._generators]
            self._block = np.stack(draws, axis=1) * self._deviations
            self._used = 0
        noise: Array = self._block[self._used]
        self._used += 1
        return replace(
            sensors,
            orientation=quaternions(euler_angles(sensors.orientation) + noise[:, :3]),
            angular_velocity=sensors.angular_velocity + noise[:, 3:6],
            linear_acceleration=sensors.linear_acceleration + noise[:, 6:],
        )
