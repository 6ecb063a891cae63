"""The simulated cart-pole as a bus: what is written acts until the next writing, in time that the owner simulates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from demo_control.hardware.bus import BusDescription, JointDescription, Reading
from demo_control.tasks import Array
from stoch2_sim.robots.cartpole.model import JOINTS
from stoch2_sim.robots.cartpole.parameters import PlantParameters
from stoch2_sim.robots.cartpole.simulation import make_simulator


class SimulatedCartpoleBus:
    """Cart and pole of a simulated cart-pole; see :class:`demo_control.hardware.bus.Bus`.

    Args:
        simulator: Physics engine.
        parameters: The plant.
        substeps: Parts of a control period.
        positions: Start. Shape=(2,).
        velocities: Start. Shape=(2,).

    Raises:
        ConfigurationError: The simulator is missing.
    """

    def __init__(
        self, simulator: str, parameters: PlantParameters, substeps: int, positions: Array, velocities: Array
    ) -> None:
        self._simulator = make_simulator(simulator, parameters, 1, substeps)
        self._start = positions[None], velocities[None]
        self._force = np.zeros((1, 1))

    def describe(self) -> BusDescription:
        """A cart that takes forces, and a pole that is only measured."""
        cart = JointDescription(JOINTS[0], "effort", "m", self._simulator.name)
        pole = JointDescription(JOINTS[1], "none", "rad", self._simulator.name)
        return BusDescription((cart, pole), has_imu=False)

    def connect(self) -> None:
        """Put the plant into its start."""
        self._simulator.reset(*self._start)

    def read(self) -> Reading:
        """The true joint state."""
        efforts = np.array([self._force[0, 0], 0.0])
        return Reading(self._simulator.positions()[0], self._simulator.velocities()[0], efforts, np.zeros(len(JOINTS)))

    def write(self, values: Array) -> Array:
        """Set the force on the cart. Shape=(1,)."""
        self._force = values[None]
        return values

    def advance(self, substeps: int) -> None:
        """Simulate a part of a period with the force as it is."""
        self._simulator.advance(self._force, substeps)

    def push(self, force_n: float) -> None:
        """Push the cart from outside, from now on."""
        self._simulator.set_external_force("cart", np.array([[force_n, 0.0, 0.0]]))

    def stop(self) -> None:
        """Let go of the cart."""
        self._force = np.zeros((1, 1))

    def disconnect(self) -> None:
        """Release the simulator."""
        self._simulator.close()

    def counters(self) -> Mapping[str, object]:
        """Nothing is lost on the way."""
        return {}
