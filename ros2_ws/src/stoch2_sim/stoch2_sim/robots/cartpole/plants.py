"""Cart-poles for training and evaluation: physics, delay, sensor noise and pushes in one place."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from demo_control.configuration import Scalar
from stoch2_sim.robots.cartpole.disturbances import Pushes
from stoch2_sim.robots.cartpole.parameters import FORCE_LIMIT_N, RAIL_LIMIT_M, PlantSettings
from stoch2_sim.robots.cartpole.simulation import hanging_start, make_simulator, to_observation
from stoch2_sim.simulators.checks import check_shape
from stoch2_sim.simulators.protocol import Array, Mask, Simulator

OBSERVATION_DIM = 5


class CartpolePlants:
    """Independent cart-poles, stepped together; implements :class:`demo_control.tasks.Plants`.

    A plant fails when its cart leaves the rail, or is nowhere since the physics diverged, or when it is
    given an action that is not finite (a controller that breaks down must not look like one that lets
    go). Failed plants stay where they are.

    Args:
        simulator: The physics; owned from now on.
        settings: How the plants depart from the nominal one. The masses and lengths are already in
            the simulator.
    """

    def __init__(self, simulator: Simulator, settings: PlantSettings) -> None:
        self._simulator = simulator
        self._settings = settings
        self._failed: Mask = np.zeros(simulator.num_robots, dtype=bool)
        self._pending: deque[Array] = deque()
        self._pushes: list[Pushes] = []
        self._noises: list[np.random.Generator] = []
        self._periods = 0

    @property
    def num_plants(self) -> int:
        """Number of plants."""
        return self._simulator.num_robots

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """Start every plant anew; the start is drawn first, so it does not depend on the settings.

        Args:
            generators: One for each plant.

        Returns:
            The first observations. Shape=(num_plants, 5).

        Raises:
            ValueError: Not one generator for each plant.
        """
        if len(generators) != self.num_plants:
            raise ValueError(f"{len(generators)} generators for {self.num_plants} plants")
        settings = self._settings
        starts = [hanging_start(generator, settings.initial_noise) for generator in generators]
        self._simulator.reset(np.array([start[0] for start in starts]), np.array([start[1] for start in starts]))
        # Streams of their own: noise must not change when the pushes do.
        self._noises = [_child(generator) for generator in generators]
        self._pushes = [Pushes(_child(generator), settings.push_n, settings.push_s) for generator in generators]
        idle = np.zeros((self.num_plants, 1))
        self._pending = deque([idle] * settings.delay_ticks)
        self._failed = self._off_the_rail()
        self._periods = 0
        return self._sensed()

    def step(self, actions: Array) -> tuple[Array, Mask]:
        """Apply one force per plant for one control period.

        Args:
            actions: Force on the cart in newtons, clipped to ±10 N. Shape=(num_plants, 1).

        Returns:
            Observations with sensor noise, Shape=(num_plants, 5), and which plants have failed so
            far, Shape=(num_plants,).
        """
        check_shape("actions", actions, (self.num_plants, 1))
        self._failed = self._failed | ~np.isfinite(actions[:, 0])
        forces = np.clip(np.nan_to_num(actions), -FORCE_LIMIT_N, FORCE_LIMIT_N)
        self._pending.append(forces)
        self._push()
        self._simulator.advance(self._pending.popleft(), self._simulator.substeps, ~self._failed)
        self._periods += 1
        self._failed = self._failed | self._off_the_rail()
        return self._sensed(), self._failed.copy()

    def _off_the_rail(self) -> Mask:
        """Whose cart is not between the rail's ends. Shape=(num_plants,)."""
        states = np.concatenate([self._simulator.positions(), self._simulator.velocities()], axis=1)
        on: Mask = np.isfinite(states).all(axis=1) & (np.abs(states[:, 0]) <= RAIL_LIMIT_M)
        return ~on

    def _push(self) -> None:
        """Set the pushes of the coming control period."""
        if self._settings.push_n == 0.0:
            return
        start_s = self._periods * self._simulator.period_s
        end_s = start_s + self._simulator.period_s
        forces = np.zeros((self.num_plants, 3))
        forces[:, 0] = [pushes.mean_force_n(start_s, end_s) for pushes in self._pushes]
        self._simulator.set_external_force("cart", forces)

    def _sensed(self) -> Array:
        """Observations as the sensor reports them. Shape=(num_plants, 5)."""
        true = self.true_observations()
        if self._settings.observation_noise == 0.0:
            return true
        noise = np.array([generator.standard_normal(OBSERVATION_DIM) for generator in self._noises])
        return true + self._settings.observation_noise * noise

    def true_observations(self) -> Array:
        """The true states in the observation's coordinates. Shape=(num_plants, 5)."""
        return to_observation(self._simulator.positions(), self._simulator.velocities())

    def close(self) -> None:
        """Release the simulator."""
        self._simulator.close()


def make_plants(simulator: str, num_plants: int, settings: Mapping[str, Scalar]) -> CartpolePlants:
    """Build plants; implements :data:`demo_control.tasks.PlantFactory`.

    Args:
        simulator: 'mujoco', 'pybullet' or 'analytic' (NumPy, for thousands of plants).
        num_plants: Number of plants.
        settings: Names and values of :class:`PlantSettings`.

    Raises:
        ConfigurationError: An unknown simulator or setting, a bad value, or PyBullet missing.
    """
    checked = PlantSettings.from_mapping(settings, source="plant settings")
    return CartpolePlants(make_simulator(simulator, checked.parameters(), num_plants), checked)


def _child(generator: np.random.Generator) -> np.random.Generator:
    """An independent generator drawn from another."""
    return np.random.default_rng(generator.integers(2**63, size=4))
