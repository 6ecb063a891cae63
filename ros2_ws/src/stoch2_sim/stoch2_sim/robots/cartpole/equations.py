"""The cart-pole's equations of motion, and a simulator that integrates thousands at once.

With c = cos(angle), s = sin(angle), masses M and m, half length l, inertia I about the pole's
centre, frictions b and d, and F on the cart::

    (M + m) x'' + m l c angle'' = F - b x' + m l s angle'^2
    m l c x'' + (I + m l^2) angle'' = m g l s - d angle'

For a uniform rod (I = m l²/3) these are the classic equations of Barto, Sutton and Anderson (1983)
with the factor 4/3.
"""

from __future__ import annotations

import numpy as np

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.cartpole.parameters import GRAVITY_MPS2, PlantParameters
from stoch2_sim.simulators.checks import check_layout, check_shape
from stoch2_sim.simulators.protocol import Array, Mask


def accelerations(
    angle: Array,
    cart_velocity: Array,
    pole_velocity: Array,
    force: Array,
    parameters: PlantParameters,
) -> tuple[Array, Array]:
    """Accelerations of cart (m/s²) and pole (rad/s²) from angle, rates and force on the cart (SI).

    All arrays have the same Shape=(...), and so have the results.
    """
    sine, cosine = np.sin(angle), np.cos(angle)
    first_moment = parameters.pole_mass_kg * parameters.pole_half_length_m
    hinge_inertia = parameters.pole_inertia_kgm2 + first_moment * parameters.pole_half_length_m
    total_mass = parameters.cart_mass_kg + parameters.pole_mass_kg
    coupling = first_moment * cosine
    cart_load = force - parameters.cart_damping * cart_velocity + first_moment * sine * pole_velocity**2
    pole_load = first_moment * GRAVITY_MPS2 * sine - parameters.pole_damping * pole_velocity
    determinant = total_mass * hinge_inertia - coupling**2
    cart = (hinge_inertia * cart_load - coupling * pole_load) / determinant
    pole = (total_mass * pole_load - coupling * cart_load) / determinant
    return cart, pole


def fastest_decay_per_s(parameters: PlantParameters) -> float:
    """The greatest rate at which friction takes a motion away, whatever the pole's angle; 1/s."""
    first_moment = parameters.pole_mass_kg * parameters.pole_half_length_m
    hinge_inertia = parameters.pole_inertia_kgm2 + first_moment * parameters.pole_half_length_m
    masses = np.array(
        [[parameters.cart_mass_kg + parameters.pole_mass_kg, first_moment], [first_moment, hinge_inertia]]
    )
    frictions = np.diag([parameters.cart_damping, parameters.pole_damping])
    return float(np.linalg.eigvals(np.linalg.solve(masses, frictions)).real.max())


def energy(positions: Array, velocities: Array, parameters: PlantParameters) -> Array:
    """Mechanical energy in joules, zero potential at the hinge.

    Args:
        positions: Cart position and pole angle. Shape=(..., 2).
        velocities: Their rates. Shape=(..., 2).
        parameters: The plant.

    Returns:
        Shape=(...).
    """
    angle = positions[..., 1]
    cart_velocity, pole_velocity = velocities[..., 0], velocities[..., 1]
    first_moment = parameters.pole_mass_kg * parameters.pole_half_length_m
    hinge_inertia = parameters.pole_inertia_kgm2 + first_moment * parameters.pole_half_length_m
    total_mass = parameters.cart_mass_kg + parameters.pole_mass_kg
    kinetic = (
        0.5 * total_mass * cart_velocity**2
        + 0.5 * hinge_inertia * pole_velocity**2
        + first_moment * np.cos(angle) * cart_velocity * pole_velocity
    )
    return np.asarray(kinetic + first_moment * GRAVITY_MPS2 * np.cos(angle))


class AnalyticSimulator:
    """Cart-poles integrated with NumPy (classical Runge-Kutta of fourth order), all at once.

    Args:
        parameters: The plant.
        num_robots: Number of copies.
        period_s: Control period.
        substeps: Integration steps in a control period.

    Raises:
        ConfigurationError: A wrong argument.
    """

    name = "analytic"

    def __init__(self, parameters: PlantParameters, num_robots: int, period_s: float, substeps: int) -> None:
        check_layout(num_robots, period_s, substeps)
        self.num_robots = num_robots
        self.period_s = period_s
        self.substeps = substeps
        self._parameters = parameters
        self._state: Array = np.zeros((4, num_robots))
        self._force = np.zeros(num_robots)
        self._times_s: Array = np.zeros(num_robots)

    @property
    def times_s(self) -> Array:
        """Simulated time since the reset. Shape=(num_robots,)."""
        return np.array(self._times_s)

    def reset(self, positions: Array, velocities: Array) -> None:
        """Put every copy into a state; see the protocol."""
        check_shape("positions", positions, (self.num_robots, 2))
        check_shape("velocities", velocities, (self.num_robots, 2))
        self._state = np.concatenate([positions.T, velocities.T]).astype(float)
        self._force = np.zeros(self.num_robots)
        self._times_s = np.zeros(self.num_robots)

    def advance(self, efforts: Array, num_substeps: int, active: Mask | None = None) -> None:
        """Advance by integration steps under constant efforts; see the protocol."""
        check_shape("efforts", efforts, (self.num_robots, 1))
        step_s = self.period_s / self.substeps
        force = efforts[:, 0] + self._force
        state = self._state
        for _ in range(num_substeps):
            state = self._runge_kutta(state, force, step_s)
        moved = np.ones(self.num_robots, dtype=bool) if active is None else active
        self._state = np.where(moved, state, self._state)
        self._times_s = np.where(moved, self._times_s + num_substeps * step_s, self._times_s)

    def _runge_kutta(self, state: Array, force: Array, step_s: float) -> Array:
        """One step of the classical Runge-Kutta method. Shape=(4, num_robots)."""
        first = self._rates(state, force)
        second = self._rates(state + 0.5 * step_s * first, force)
        third = self._rates(state + 0.5 * step_s * second, force)
        fourth = self._rates(state + step_s * third, force)
        return np.asarray(state + step_s / 6.0 * (first + 2.0 * (second + third) + fourth))

    def _rates(self, state: Array, force: Array) -> Array:
        """Time derivative of (x, angle, x', angle'). Shape=(4, num_robots)."""
        cart, pole = accelerations(state[1], state[2], state[3], force, self._parameters)
        return np.stack([state[2], state[3], cart, pole])

    def positions(self) -> Array:
        """Cart positions and pole angles. Shape=(num_robots, 2)."""
        return np.array(self._state[:2].T)

    def velocities(self) -> Array:
        """Their rates. Shape=(num_robots, 2)."""
        return np.array(self._state[2:].T)

    def set_external_force(self, body: str, forces: Array) -> None:
        """Push the cart along the rail until changed; see the protocol."""
        check_shape("forces", forces, (self.num_robots, 3))
        if body != "cart":
            raise ConfigurationError(f"body '{body}': the analytic simulator can only push 'cart'")
        self._force = forces[:, 0].astype(float)

    def close(self) -> None:
        """Nothing is held."""
