"""The simulated cart-pole behind the driver."""

from __future__ import annotations

import numpy as np

from demo_control.drivers.core import DriverCore
from demo_control.drivers.imperfections import NoisySensor
from demo_control.drivers.limits import Limits
from demo_control.drivers.simulated_robot import SimulatedRobot, make_wire
from demo_control.tasks import Array, Task
from stoch2_sim.drivers.cartpole_settings import CartpoleDriverSettings
from stoch2_sim.drivers.simulated_cartpole_bus import SimulatedCartpoleBus
from stoch2_sim.robots.cartpole.disturbances import Pushes
from stoch2_sim.robots.cartpole.parameters import CONTROL_PERIOD_S, RAIL_LIMIT_M, PlantSettings
from stoch2_sim.robots.cartpole.simulation import hanging_start, to_observation

PERIOD_NS = round(CONTROL_PERIOD_S * 1e9)

# A command's arrival is met within a millisecond; multiples of what each engine's accuracy needs.
_SUBSTEPS = {"mujoco": 20, "pybullet": 40, "analytic": 20}

# Strong enough to stop the cart from 3 m/s within half a second, weak enough to be stable at 50 Hz:
# gain × period / mass = 0.4, and below 1 it cannot overshoot.
_BRAKE_NSPM = 20.0
_AT_REST_MPS = 0.02


def brake(observation: Array) -> Array:
    """The safe stop: a force against the cart's velocity, nothing once it rests. Shape=(1,)."""
    velocity = float(observation[1])
    return np.array([0.0 if abs(velocity) < _AT_REST_MPS else -_BRAKE_NSPM * velocity])


class SimulatedCartpole(SimulatedRobot):
    """A cart-pole that is held at its start until the first valid command.

    Args:
        task: The cart-pole task.
        settings: Of the driver.
        plant: How the plant departs from the nominal one.

    Raises:
        ConfigurationError: The simulator is missing.
    """

    def __init__(self, task: Task, settings: CartpoleDriverSettings, plant: PlantSettings) -> None:
        seeds = np.random.SeedSequence(settings.seed).spawn(4)
        start, sensor, wire, pushes = (np.random.default_rng(seed) for seed in seeds)
        substeps = _SUBSTEPS[settings.simulator]
        change = np.full(task.action_dim, settings.force_rate_limit_nps * CONTROL_PERIOD_S)
        limits = Limits(task.action_minimum, task.action_maximum, change)
        core = DriverCore(limits, brake, settings.command_timeout_s, CONTROL_PERIOD_S)
        super().__init__(core, make_wire(wire, settings, plant.delay_ticks * CONTROL_PERIOD_S), PERIOD_NS, substeps)
        positions, velocities = hanging_start(start, plant.initial_noise)
        self.bus = SimulatedCartpoleBus(settings.simulator, plant.parameters(), substeps, positions, velocities)
        self.bus.connect()
        self._sensor = NoisySensor(sensor, plant.observation_noise)
        self._pushes = Pushes(pushes, plant.push_n, plant.push_s)
        self.sense()

    def true_observation(self) -> Array:
        """The true state in the observation's coordinates. Shape=(5,)."""
        observation: Array = to_observation(*self.joint_state())
        return observation

    def joint_state(self) -> tuple[Array, Array]:
        """Joint positions and velocities. Shape=(2,) each."""
        reading = self.bus.read()
        return reading.positions, reading.velocities

    def _read(self) -> Array:
        return self._sensor.read(self.true_observation())

    def _begin_period(self) -> None:
        force = self._pushes.mean_force_n(self.time_s - CONTROL_PERIOD_S, self.time_s)
        self.bus.push(force)

    def _advance(self, action: Array, substeps: int) -> None:
        self.bus.write(action)
        self.bus.advance(substeps)

    def _watch(self, now_ns: int) -> None:
        position = float(self.bus.read().positions[0])
        if not np.isfinite(position):
            self.core.fault("simulation_diverged", now_ns)
        elif abs(position) > RAIL_LIMIT_M:
            self.core.fault("rail_left", now_ns)

    def close(self) -> None:
        """Release the simulator."""
        self.bus.disconnect()
