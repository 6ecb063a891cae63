"""Settings of cartpole_driver; what the plant is like is in PlantSettings."""

from __future__ import annotations

from dataclasses import dataclass

from demo_control.configuration import setting
from demo_control.drivers.settings import DriverSettings
from stoch2_sim.robots.cartpole.simulation import SIMULATORS


@dataclass(frozen=True)
class CartpoleDriverSettings(DriverSettings):
    """How the simulated cart-pole is driven; :class:`PlantSettings` says what the plant is like."""

    simulator: str = setting("mujoco", "Physics engine", choices=SIMULATORS)
    force_rate_limit_nps: float = setting(
        1000.0,
        "Largest change of the force in N/s, from one output to the next one a control period later. "
        "At 1000 a full reversal takes one period; much less, and the pole cannot be swung up",
        minimum=1.0,
        maximum=1e6,
    )
