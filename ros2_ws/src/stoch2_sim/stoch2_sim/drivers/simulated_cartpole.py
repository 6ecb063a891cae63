"""The simulated cart-pole behind the driver: plant, wire, sensor and driver core, one control period at a time.

Knows no ROS. Its time line is the driver's: nanoseconds, control period k begins at k × period.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.tasks import Array, Task
from stoch2_sim.drivers.core import Command, DriverCore, DriverState, Output
from stoch2_sim.drivers.imperfections import NoisySensor, Wire
from stoch2_sim.drivers.limits import Limits
from stoch2_sim.drivers.settings import CartpoleDriverSettings
from stoch2_sim.robots.cartpole.disturbances import Pushes
from stoch2_sim.robots.cartpole.parameters import CONTROL_PERIOD_S, RAIL_LIMIT_M, PlantSettings
from stoch2_sim.robots.cartpole.simulation import hanging_start, make_simulator, to_observation

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


@dataclass(frozen=True)
class PeriodReport:
    """What happened in one control period.

    Attributes:
        outputs: What the actuator got, in the order of taking effect; empty while the plant is held.
        released: Whether the plant was released in this period; it began to move at the period's start.
    """

    outputs: tuple[Output, ...]
    released: bool


class SimulatedCartpole:
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
        self._substeps = _SUBSTEPS[settings.simulator]
        self._simulator = make_simulator(settings.simulator, plant.parameters(), 1, self._substeps)
        positions, velocities = hanging_start(start, plant.initial_noise)
        self._simulator.reset(positions[None], velocities[None])
        self._sensor = NoisySensor(sensor, plant.observation_noise)
        self._pushes = Pushes(pushes, plant.push_n, plant.push_s)
        delay_s = settings.wire_delay_s + plant.delay_ticks * CONTROL_PERIOD_S
        self.wire: Wire[Command] = Wire(
            wire, delay_s, settings.wire_jitter_s, settings.wire_loss, settings.wire_duplication
        )
        change = np.full(task.action_dim, settings.force_rate_limit_nps * CONTROL_PERIOD_S)
        limits = Limits(task.action_minimum, task.action_maximum, change)
        self.core = DriverCore(limits, brake, settings.command_timeout_s, CONTROL_PERIOD_S)
        self.periods_run = 0
        self._sensed = self.sense()

    @property
    def time_s(self) -> float:
        """Time since the release."""
        return self.periods_run * CONTROL_PERIOD_S

    def true_observation(self) -> Array:
        """The true state in the observation's coordinates. Shape=(5,)."""
        observation: Array = to_observation(self._simulator.positions(), self._simulator.velocities())[0]
        return observation

    def joint_state(self) -> tuple[Array, Array]:
        """Joint positions and velocities. Shape=(2,) each."""
        return self._simulator.positions()[0], self._simulator.velocities()[0]

    def sense(self) -> Array:
        """A new reading of the sensor. Shape=(5,)."""
        self._sensed = self._sensor.read(self.true_observation())
        return self._sensed

    def run_period(self, start_ns: int) -> PeriodReport:
        """Simulate the control period that began at ``start_ns``, each command taking effect when it arrived."""
        was_waiting = self.core.state is DriverState.WAITING
        held = self.core.output
        outputs = self._decide(start_ns)
        if self.core.state is DriverState.WAITING:
            return PeriodReport((), released=False)
        self.periods_run += 1
        if self.core.state is DriverState.FAULT:
            return PeriodReport((), released=False)
        self._push()
        cursor, force = 0, held.values
        for output in outputs:
            # Delays round to the nearest substep; the last may be the next period's first.
            substep = round((output.time_ns - start_ns) * self._substeps / PERIOD_NS)
            self._simulator.advance(force[None], substep - cursor)
            cursor, force = substep, output.values
        self._simulator.advance(force[None], self._substeps - cursor)
        self._watch(start_ns + PERIOD_NS)
        if not outputs:
            outputs = [Output(start_ns, held.values, held.source, held.observation_sequence, held.observation_stamp_ns)]
        return PeriodReport(tuple(outputs), released=was_waiting)

    def _decide(self, start_ns: int) -> list[Output]:
        """Have the core judge what arrives in a period; the outputs that this leads to, in order."""
        end_ns = start_ns + PERIOD_NS
        outputs = []
        if self.core.state is DriverState.STOPPED:
            outputs.append(self.core.tick(start_ns, self._sensed))
        for arrival_ns, command in self.wire.receive(end_ns):
            # What arrived between two periods, or before the driver looked, takes effect at the start.
            now_ns = max(arrival_ns, start_ns)
            outputs += self._expire(now_ns)
            if self.core.offer(command, now_ns) is None:
                outputs.append(self.core.output)
        outputs += self._expire(end_ns - 1)
        return outputs

    def _expire(self, until_ns: int) -> list[Output]:
        """The start of the safe stop if the command times out before a time, else nothing."""
        expires_ns = self.core.expires_ns
        if expires_ns is None or expires_ns > until_ns:
            return []
        return [self.core.tick(expires_ns, self._sensed)]

    def _push(self) -> None:
        """Set the push of the period that is being simulated."""
        force = self._pushes.mean_force_n(self.time_s - CONTROL_PERIOD_S, self.time_s)
        self._simulator.set_external_force("cart", np.array([[force, 0.0, 0.0]]))

    def _watch(self, now_ns: int) -> None:
        """Find out whether the plant can go on."""
        position = float(self._simulator.positions()[0, 0])
        if not np.isfinite(position):
            self.core.fault("simulation_diverged", now_ns)
        elif abs(position) > RAIL_LIMIT_M:
            self.core.fault("rail_left", now_ns)

    def close(self) -> None:
        """Release the simulator."""
        self._simulator.close()
