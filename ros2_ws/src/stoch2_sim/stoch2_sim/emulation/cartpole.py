"""The cart-pole behind emulated devices: a motor that pulls the cart, an encoder on the pole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Scalar, Settings, setting
from demo_control.hardware.emulation.plant import Drive, PlantState
from demo_control.tasks import Array
from stoch2_sim.robots.cartpole.model import JOINTS
from stoch2_sim.robots.cartpole.parameters import CONTROL_PERIOD_S, EPISODE_S, PlantSettings
from stoch2_sim.robots.cartpole.score import SwingUpScore
from stoch2_sim.robots.cartpole.simulation import hanging_start, make_simulator, to_observation

_STEPS_PER_PERIOD = 20


@dataclass(frozen=True)
class EmulatedCartpoleSettings(Settings):
    """How the plant departs from the nominal one."""

    pole_length: float = setting(1.0, "Factor on the pole's length", minimum=0.1, maximum=10.0)
    damping: float = setting(0.0, "Viscous friction between cart and rail, N s/m", minimum=0.0, maximum=100.0)
    motor_drag_nspm: float = setting(
        0.0, "Drag of the motor and its gear on the cart, N s/m, also with the power off", minimum=0.0, maximum=100.0
    )


class EmulatedCartpole:
    """A hanging cart-pole; see :class:`~demo_control.hardware.emulation.plant.EmulatedPlant`.

    Args:
        seed: Of the start.
        settings: See :class:`EmulatedCartpoleSettings`.

    Raises:
        ConfigurationError: A bad setting.
    """

    joints = JOINTS
    step_s = CONTROL_PERIOD_S / _STEPS_PER_PERIOD

    def __init__(self, seed: int, settings: Mapping[str, Scalar]) -> None:
        own = EmulatedCartpoleSettings.from_mapping(settings, source="cart-pole")
        plant = PlantSettings(pole_length=own.pole_length, damping=own.damping + own.motor_drag_nspm)
        self._simulator = make_simulator("mujoco", plant.parameters(), 1, _STEPS_PER_PERIOD)
        start = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
        positions, velocities = hanging_start(start, plant.initial_noise)
        # It has been hanging there for a while.
        self._simulator.reset(positions[None], 0.0 * velocities[None])
        self._force = np.zeros((1, 1))
        self._score = SwingUpScore()
        self._driven_steps = 0
        self._is_over = False
        self._largest_force = 0.0

    def state(self) -> PlantState:
        """The state now."""
        return PlantState(
            self._simulator.positions()[0], self._simulator.velocities()[0], np.array([self._force[0, 0], 0.0])
        )

    def advance(self, drives: Sequence[Drive]) -> None:
        """A millisecond."""
        cart = drives[0]
        limit = cart.effort_limit
        self._force[0, 0] = np.clip(cart.target, -limit, limit) if cart.kind == "effort" else 0.0
        self._simulator.advance(self._force, 1)
        self._largest_force = max(self._largest_force, abs(float(self._force[0, 0])))
        # The verdict is that of the control: when the motor is switched off, the pole falls, as it should.
        self._is_over = self._is_over or (self._driven_steps > 0 and cart.kind != "effort")
        is_judged = self._driven_steps * self.step_s < EPISODE_S and not self._is_over
        if is_judged and (self._driven_steps or self._force[0, 0]):
            self._judge()

    def _judge(self) -> None:
        """Judge an episode from the first force on, once a control period."""
        self._driven_steps += 1
        if self._driven_steps % _STEPS_PER_PERIOD == 0:
            self._score.update(self._driven_steps * self.step_s, self.observation(), failed=False)

    def observation(self) -> Array:
        """The true state in the task's coordinates. Shape=(5,)."""
        observation: Array = to_observation(self._simulator.positions(), self._simulator.velocities())[0]
        return observation

    def verdict(self) -> Mapping[str, object]:
        """The swing-up's, from the true states, and the state at the end."""
        result = self._score.result() if self._driven_steps >= _STEPS_PER_PERIOD else {"success": False}
        return {
            **result,
            "largest_force_n": self._largest_force,
            "force_at_the_end_n": float(self._force[0, 0]),
            "cart_velocity_at_the_end_m_s": float(self._simulator.velocities()[0, 0]),
        }
