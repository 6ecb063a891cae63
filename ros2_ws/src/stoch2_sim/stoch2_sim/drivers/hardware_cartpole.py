"""The real cart-pole behind the driver: a motor that pulls the cart, an encoder on the pole."""

from __future__ import annotations

import numpy as np

from demo_control.drivers.core import DriverCore
from demo_control.drivers.hardware_robot import HardwareRobot
from demo_control.drivers.hardware_settings import HardwareSettings
from demo_control.drivers.limits import Limits
from demo_control.drivers.safety import Safety
from demo_control.hardware.bus import Bus, Reading
from demo_control.hardware.wiring import Wiring
from demo_control.tasks import Array, Task
from stoch2_sim.drivers.cartpole_settings import CartpoleDriverSettings
from stoch2_sim.drivers.simulated_cartpole import PERIOD_NS, brake
from stoch2_sim.robots.cartpole.model import JOINTS
from stoch2_sim.robots.cartpole.parameters import CONTROL_PERIOD_S, RAIL_LIMIT_M
from stoch2_sim.robots.cartpole.simulation import to_observation


class HardwareCartpole(HardwareRobot):
    """A cart-pole on a bus.

    Args:
        task: The cart-pole task.
        settings: Of the driver.
        hardware: Of the hardware.
        wiring: Of the robot.
        bus: Instead of the wiring's own.

    Raises:
        ConfigurationError: The wiring does not fit, or the bus cannot be connected.
    """

    def __init__(
        self,
        task: Task,
        settings: CartpoleDriverSettings,
        hardware: HardwareSettings,
        wiring: Wiring,
        bus: Bus | None = None,
    ) -> None:
        change = np.full(task.action_dim, settings.force_rate_limit_nps * CONTROL_PERIOD_S)
        limits = Limits(task.action_minimum, task.action_maximum, change)
        core = DriverCore(limits, brake, settings.command_timeout_s, CONTROL_PERIOD_S)
        super().__init__(core, wiring, JOINTS, hardware, PERIOD_NS, bus)
        self._sensed = self._observe(self.reading)

    def joint_state(self) -> tuple[Array, Array]:
        """Joint positions and velocities. Shape=(2,) each."""
        return self.reading.positions, self.reading.velocities

    def _observe(self, reading: Reading) -> Array:
        observation: Array = to_observation(reading.positions, reading.velocities)
        return observation

    def _wanted(self, state: Safety) -> Array:
        if state is Safety.STOPPING:
            return brake(self._sensed)
        return self.core.output.values if state is Safety.ARMED else np.zeros(1)

    def _braking(self, kind: str) -> Array:
        # A motor that gives a force cannot hold a place: it can only brake, or let go. By the speed that a cart had
        # before it fell silent it would be driven the other way.
        is_heard = self.reading.ages_s[0] <= self.wiring.safety.silence_limit_s
        return brake(self._sensed) if kind == "damp" and is_heard else np.zeros(1)

    def _problem(self, reading: Reading) -> str:
        return "rail_left" if abs(float(reading.positions[0])) > RAIL_LIMIT_M else ""
