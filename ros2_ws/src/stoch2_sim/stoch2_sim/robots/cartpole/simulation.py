"""A cart-pole in the simulator of one's choice, and its state as an observation."""

from __future__ import annotations

import numpy as np

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.cartpole.equations import AnalyticSimulator, fastest_decay_per_s
from stoch2_sim.robots.cartpole.model import robot_model
from stoch2_sim.robots.cartpole.parameters import CONTROL_PERIOD_S, PlantParameters
from stoch2_sim.simulators.checks import check_layout
from stoch2_sim.simulators.protocol import Array, Simulator

SIMULATORS = ("mujoco", "pybullet", "analytic")

# Physics steps in a control period. MuJoCo and the equations run at fourth order, where these keep
# the error over an episode below what matters; Bullet is of first order and so cheap that many
# steps pay.
DEFAULT_SUBSTEPS = {"mujoco": 4, "pybullet": 40, "analytic": 2}
# All of them take friction explicitly: beyond two (Bullet; the others a little later) it makes motions grow.
_LARGEST_DECAY_PER_STEP = 2.0


def make_simulator(
    name: str,
    parameters: PlantParameters,
    num_robots: int = 1,
    substeps: int | None = None,
    period_s: float = CONTROL_PERIOD_S,
) -> Simulator:
    """Cart-poles in a physics engine; the engines' packages are imported only when asked for.

    Args:
        name: One of :data:`SIMULATORS`.
        parameters: The plant.
        num_robots: Number of copies.
        substeps: Physics steps in a control period; None takes the engine's
            :data:`DEFAULT_SUBSTEPS`.
        period_s: Control period.

    Raises:
        ConfigurationError: An unknown or missing simulator, a wrong argument, or more friction than the steps allow.
    """
    if name not in SIMULATORS:
        raise ConfigurationError(f"simulator '{name}': must be one of {', '.join(SIMULATORS)}")
    count = DEFAULT_SUBSTEPS[name] if substeps is None else substeps
    check_layout(num_robots, period_s, count)
    _check_friction(name, parameters, period_s / count)
    if name == "analytic":
        return AnalyticSimulator(parameters, num_robots, period_s, count)
    model = robot_model(parameters)
    if name == "pybullet":
        from stoch2_sim.simulators.pybullet_simulator import PybulletSimulator  # noqa: PLC0415

        return PybulletSimulator(model, num_robots, period_s, count)
    from stoch2_sim.simulators.mujoco_simulator import MujocoSimulator  # noqa: PLC0415

    return MujocoSimulator(model, num_robots, period_s, count)


def _check_friction(name: str, parameters: PlantParameters, step_s: float) -> None:
    """Check that friction does not grow out of the simulator's steps.

    Raises:
        ConfigurationError: It does.
    """
    decay = fastest_decay_per_s(parameters) * step_s
    if decay > _LARGEST_DECAY_PER_STEP:
        raise ConfigurationError(
            f"damping = {parameters.cart_damping:g} N s/m, pole_damping = {parameters.pole_damping:g} N m s/rad: "
            f"{decay / _LARGEST_DECAY_PER_STEP:.2g} times more friction than the steps of {1000.0 * step_s:g} ms of "
            f"simulator '{name}' allow with these masses and lengths"
        )


def to_observation(positions: Array, velocities: Array) -> Array:
    """The observation of a joint state: (x, x', cos angle, sin angle, angle').

    Args:
        positions: Cart position and pole angle. Shape=(..., 2).
        velocities: Their rates. Shape=(..., 2).

    Returns:
        Shape=(..., 5).
    """
    angle = positions[..., 1]
    return np.stack(
        [positions[..., 0], velocities[..., 0], np.cos(angle), np.sin(angle), velocities[..., 1]],
        axis=-1,
    )


def from_observation(observations: Array) -> tuple[Array, Array]:
    """Joint positions and velocities of observations; the angle lies within ±pi."""
    angle = np.arctan2(observations[..., 3], observations[..., 2])
    positions = np.stack([observations[..., 0], angle], axis=-1)
    return positions, observations[..., [1, 4]]


def hanging_start(generator: np.random.Generator, noise: float) -> tuple[Array, Array]:
    """Positions and velocities of a start, hanging at rest plus noise. Shape=(2,) each."""
    deviation = noise * generator.standard_normal(4)
    return np.array([deviation[0], np.pi + deviation[1]]), deviation[2:]
