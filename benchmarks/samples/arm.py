"""A planar arm of two links whose shoulder is too weak to lift it stretched out: it has to fold or to swing.

With the shoulder's angle q₁ from upright, the elbow's q₂ relative to the upper arm, masses mᵢ, lengths lᵢ, centres of
mass at rᵢ and inertias Iᵢ about them, the equations of motion are M(q) q'' + C(q, q') q' + g(q) = τ - f q' with::

    M = [a + 2 b cos q₂    d + b cos q₂]      C q' = b sin q₂ [-(2 q₁' + q₂') q₂']
        [d + b cos q₂      d           ]                      [q₁'²              ]
    g = -G [(m₁ r₁ + m₂ l₁) sin q₁ + m₂ r₂ sin(q₁ + q₂),  m₂ r₂ sin(q₁ + q₂)]
    a = I₁ + I₂ + m₁ r₁² + m₂ (l₁² + r₂²),   b = m₂ l₁ r₂,   d = I₂ + m₂ r₂²

(M. W. Spong, S. Hutchinson, M. Vidyasagar, *Robot Modeling and Control*, 2006, section 7.4, planar elbow manipulator;
R. M. Murray, Z. Li, S. S. Sastry, *A Mathematical Introduction to Robotic Manipulation*, 1994, section 4.2.3.) The job
is to swing the hand up, from hanging, to the highest point that it reaches, and to hold it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from demo_control.configuration import Scalar
from demo_control.mpc import PlannerSettings
from demo_control.tasks import Array, CostTerm, Namespace, Plants, Quantity, Task
from samples.closed_loop import HeldScore, Outcome, run_closed_loop, true_model
from samples.equations import ModelPlants, runge_kutta

Columns = Mapping[str, Any]

GRAVITY_MPS2 = 9.81
MASS_KG = 1.0
LENGTH_M = 0.5
"""Both links are uniform rods of this mass and length."""
TORQUE_LIMITS_NM = (8.0, 3.0)
"""Of shoulder and elbow; held out level the arm needs 9.81 N m and 2.45 N m."""
FRICTION_NMS = 0.2
"""Viscous friction of each joint, N m s/rad."""
PERIOD_S = 0.04
_SUBSTEPS = 2
EPISODE_S = 4.0
HOLD_S = 0.5
NEAR_M = 0.15
_CENTRE_M = LENGTH_M / 2.0
_INERTIA_KGM2 = MASS_KG * LENGTH_M**2 / 12.0
_ELBOW_INERTIA = _INERTIA_KGM2 + MASS_KG * _CENTRE_M**2
_COUPLING = MASS_KG * LENGTH_M * _CENTRE_M
_SHOULDER_INERTIA = _ELBOW_INERTIA + _INERTIA_KGM2 + MASS_KG * (_CENTRE_M**2 + LENGTH_M**2)
_UPPER_MOMENT = MASS_KG * (_CENTRE_M + LENGTH_M)
_FORE_MOMENT = MASS_KG * _CENTRE_M
_LIMITS = np.array(TORQUE_LIMITS_NM)


def mass_matrix(elbow: Array) -> Array:
    """M(q) in kg m², which depends on the elbow alone. Shape=(...) → Shape=(..., 2, 2)."""
    coupling = _COUPLING * np.cos(elbow)
    mixed = _ELBOW_INERTIA + coupling
    first = np.stack([_SHOULDER_INERTIA + 2.0 * coupling, mixed], axis=-1)
    return np.stack([first, np.stack([mixed, np.full_like(mixed, _ELBOW_INERTIA)], axis=-1)], axis=-2)


def energy(states: Array) -> Array:
    """Kinetic and potential energy in joules, 0 at rest at the shoulder's height. Shape=(..., 4) → (...)."""
    rates = states[..., 2:]
    kinetic = 0.5 * np.einsum("...i,...ij,...j->...", rates, mass_matrix(states[..., 1]), rates)
    heights = _UPPER_MOMENT * np.cos(states[..., 0]) + _FORE_MOMENT * np.cos(states[..., 0] + states[..., 1])
    return np.asarray(kinetic + GRAVITY_MPS2 * heights)


def accelerations(states: Array, torques: Array) -> Array:
    """Angular accelerations in rad/s². Shape=(4, batch), (2, batch) → Shape=(2, batch)."""
    shoulder, elbow, shoulder_rate, elbow_rate = states
    cosine, sine = np.cos(elbow), np.sin(elbow)
    fore = GRAVITY_MPS2 * _FORE_MOMENT * np.sin(shoulder + elbow)
    upper = GRAVITY_MPS2 * _UPPER_MOMENT * np.sin(shoulder)
    first = (
        torques[0]
        - FRICTION_NMS * shoulder_rate
        + _COUPLING * sine * (2.0 * shoulder_rate + elbow_rate) * elbow_rate
        + upper
        + fore
    )
    second = torques[1] - FRICTION_NMS * elbow_rate - _COUPLING * sine * shoulder_rate**2 + fore
    mixed = _ELBOW_INERTIA + _COUPLING * cosine
    both = _SHOULDER_INERTIA + 2.0 * _COUPLING * cosine
    determinant = both * _ELBOW_INERTIA - mixed**2
    return np.stack(
        [(_ELBOW_INERTIA * first - mixed * second) / determinant, (both * second - mixed * first) / determinant]
    )


def step(states: Array, torques: Array, period_s: float = PERIOD_S) -> Array:
    """One control period under constant torques, within their limits. Shape=(batch, 4), (batch, 2) → (batch, 4)."""
    applied = np.clip(torques, -_LIMITS, _LIMITS).T

    def rates(state: Array) -> Array:
        return np.concatenate([state[2:], accelerations(state, applied)])

    state = states.T
    for _ in range(_SUBSTEPS):
        state = runge_kutta(rates, state, period_s / _SUBSTEPS)
    return np.asarray(state.T)


def policy(states: Array) -> Array:
    """A saturated proportional-derivative law towards upright, 20 N m/rad and 4 N m s/rad. (batch, 4) → (batch, 2)."""
    errors = (states[:, :2] + np.pi) % (2.0 * np.pi) - np.pi
    return np.clip(-20.0 * errors - 4.0 * states[:, 2:], -_LIMITS, _LIMITS)


def start(generator: np.random.Generator) -> Array:
    """Hanging, every angle and rate off by 0.2 (rad, rad/s). Shape=(4,)."""
    return np.array([np.pi, 0.0, 0.0, 0.0]) + 0.2 * generator.standard_normal(4)


def _upper(x: Columns, _u: Columns, xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return 1.0 - xp.cos(x["shoulder_angle"])


def _fore(x: Columns, _u: Columns, xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return 1.0 - xp.cos(x["shoulder_angle"] + x["elbow_angle"])


def _speed(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return x["shoulder_rate"] * x["shoulder_rate"] + x["elbow_rate"] * x["elbow_rate"]


def _torque(_x: Columns, u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    shoulder, elbow = u["shoulder_torque"] / TORQUE_LIMITS_NM[0], u["elbow_torque"] / TORQUE_LIMITS_NM[1]
    return shoulder * shoulder + elbow * elbow


def is_near(observation: Array) -> bool:
    """Whether the hand is at its target."""
    fore = observation[0] + observation[1]
    beside = LENGTH_M * (math.sin(observation[0]) + math.sin(fore))
    below = LENGTH_M * (2.0 - math.cos(observation[0]) - math.cos(fore))
    return math.hypot(beside, below) < NEAR_M


def task() -> Task:
    """The arm's task."""

    def make_plants(_simulator: str, num_plants: int, _settings: Mapping[str, Scalar]) -> Plants:
        return ModelPlants(num_plants, step, start)

    angle, rate = 2.0 * np.pi, 20.0
    return Task(
        name="arm",
        observation=(
            Quantity("shoulder_angle", "rad", -angle, angle),
            Quantity("elbow_angle", "rad", -angle, angle),
            Quantity("shoulder_rate", "rad/s", -rate, rate),
            Quantity("elbow_rate", "rad/s", -rate, rate),
        ),
        action=tuple(
            Quantity(f"{joint}_torque", "N m", -limit, limit)
            for joint, limit in zip(("shoulder", "elbow"), TORQUE_LIMITS_NM, strict=True)
        ),
        control_period_s=PERIOD_S,
        episode_s=EPISODE_S,
        cost_terms=(
            CostTerm("upper", 0.5, _upper, "One minus the cosine of the upper arm's angle from upright"),
            CostTerm("fore", 0.5, _fore, "One minus the cosine of the forearm's angle from upright"),
            CostTerm("speed", 0.002, _speed, "Squared rates of the joints, rad²/s²"),
            CostTerm("torque", 0.01, _torque, "Squared torques relative to their limits"),
        ),
        model_inputs=("shoulder_angle", "elbow_angle", "shoulder_rate", "elbow_rate"),
        simulators=("equations",),
        make_plants=make_plants,
        make_score=lambda: HeldScore(is_near, EPISODE_S, HOLD_S),
        unmodelled_ticks=0,
    )


def run(settings: PlannerSettings | None, num_seeds: int, seed: int) -> Outcome:
    """Episodes on the true model; see :func:`samples.closed_loop.run_closed_loop`."""
    problem = task()
    plants = problem.make_plants("equations", num_seeds, {})
    return run_closed_loop(problem, plants, policy, true_model(problem, step, policy), settings, seed)
