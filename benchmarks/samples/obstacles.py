"""A point that is pushed about in the plane (a double integrator) and has to get round discs to its goal.

Position p and velocity v, acceleration u held over a period T: p ← p + T v + T² u / 2, v ← v + T u, exactly.
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
from samples.equations import Mask, ModelPlants

Columns = Mapping[str, Any]

PERIOD_S = 0.1
EPISODE_S = 8.0
HOLD_S = 1.0
NEAR_M = 0.25
ACCELERATION_LIMIT_MPS2 = 1.5
GOAL_M = (6.0, 0.0)
OBSTACLES_M = (
    (1.6, 0.0, 0.6), (1.8, 1.6, 0.5), (1.8, -1.6, 0.5), (3.2, 0.9, 0.6), (3.2, -0.9, 0.6), (4.6, 0.0, 0.6),
    (4.4, 2.0, 0.6), (4.4, -2.0, 0.6),
)  # fmt: skip
"""Centre and radius of each disc."""
MARGIN_M = 0.15
"""The cost rises from here on towards a disc."""
COLLISION_COST = 8.0
"""Of each period after a collision: more than standing still anywhere near the start."""


def step(states: Array, accelerations: Array) -> Array:
    """One control period. Shape=(batch, 4), (batch, 2) → Shape=(batch, 4)."""
    applied = np.clip(accelerations, -ACCELERATION_LIMIT_MPS2, ACCELERATION_LIMIT_MPS2)
    position = states[:, :2] + PERIOD_S * states[:, 2:] + 0.5 * PERIOD_S**2 * applied
    return np.concatenate([position, states[:, 2:] + PERIOD_S * applied], axis=1)


def policy(states: Array) -> Array:
    """A saturated proportional-derivative law straight to the goal, 1/s² and 2/s. (batch, 4) → (batch, 2)."""
    wanted = np.array(GOAL_M) - states[:, :2] - 2.0 * states[:, 2:]
    return np.clip(wanted, -ACCELERATION_LIMIT_MPS2, ACCELERATION_LIMIT_MPS2)


def start(generator: np.random.Generator) -> Array:
    """At rest, up to 0.2 m before or behind the origin and 1.5 m to its sides. Shape=(4,)."""
    return np.array([generator.uniform(-0.2, 0.2), generator.uniform(-1.5, 1.5), 0.0, 0.0])


def collides(before: Array, after: Array) -> Mask:
    """Whether the way between two states, taken as straight, meets a disc. Shape=(batch, 4), (batch, 4) → (batch,)."""
    way = after[:, :2] - before[:, :2]
    length = np.maximum(np.square(way).sum(axis=1), 1e-12)
    hit = np.zeros(len(before), bool)
    for x, y, radius in OBSTACLES_M:
        to_centre = np.array([x, y]) - before[:, :2]
        share = np.clip((to_centre * way).sum(axis=1) / length, 0.0, 1.0)
        nearest = to_centre - share[:, None] * way
        hit |= np.square(nearest).sum(axis=1) < radius**2
    return hit


def _distance(x: Columns, _u: Columns, xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    beside, ahead = x["x"] - GOAL_M[0], x["y"] - GOAL_M[1]
    # Rounded off near the goal, so that the point may come to rest there.
    return xp.sqrt(beside * beside + ahead * ahead + 0.04) - 0.2


def _speed(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return x["x_velocity"] * x["x_velocity"] + x["y_velocity"] * x["y_velocity"]


def _effort(_x: Columns, u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return (u["x_acceleration"] * u["x_acceleration"] + u["y_acceleration"] * u["y_acceleration"]) * (
        1.0 / ACCELERATION_LIMIT_MPS2**2
    )


def _nearness(x: Columns, _u: Columns, xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    total: Any = 0.0
    for centre_x, centre_y, radius in OBSTACLES_M:
        beside, ahead = x["x"] - centre_x, x["y"] - centre_y
        within = xp.maximum(radius + MARGIN_M - xp.sqrt(beside * beside + ahead * ahead), 0.0) * (1.0 / MARGIN_M)
        total = within * within + total
    return total


def is_near(observation: Array) -> bool:
    """Whether the point is at its goal."""
    return math.hypot(observation[0] - GOAL_M[0], observation[1] - GOAL_M[1]) < NEAR_M


def task() -> Task:
    """The point's task."""

    def make_plants(_simulator: str, num_plants: int, _settings: Mapping[str, Scalar]) -> Plants:
        return ModelPlants(num_plants, step, start, collides)

    return Task(
        name="obstacles",
        observation=(
            *(Quantity(name, "m", -8.0, 8.0) for name in ("x", "y")),
            *(Quantity(f"{name}_velocity", "m/s", -5.0, 5.0) for name in ("x", "y")),
        ),
        action=tuple(
            Quantity(f"{name}_acceleration", "m/s2", -ACCELERATION_LIMIT_MPS2, ACCELERATION_LIMIT_MPS2)
            for name in ("x", "y")
        ),
        control_period_s=PERIOD_S,
        episode_s=EPISODE_S,
        cost_terms=(
            CostTerm("distance", 1.0, _distance, "Distance to the goal, rounded off within 0.2 m, m"),
            CostTerm("speed", 0.02, _speed, "Squared speed, m²/s²"),
            CostTerm("effort", 0.02, _effort, "Squared acceleration relative to its limit"),
            CostTerm("nearness", 10.0, _nearness, "Squared intrusion into the margin around each disc, in margins"),
        ),
        model_inputs=("x", "y", "x_velocity", "y_velocity"),
        simulators=("equations",),
        make_plants=make_plants,
        make_score=lambda: HeldScore(is_near, EPISODE_S, HOLD_S),
        alive_reward=COLLISION_COST,
        unmodelled_ticks=0,
    )


def run(settings: PlannerSettings | None, num_seeds: int, seed: int) -> Outcome:
    """Episodes on the true model; see :func:`samples.closed_loop.run_closed_loop`."""
    problem = task()
    plants = problem.make_plants("equations", num_seeds, {})
    return run_closed_loop(problem, plants, policy, true_model(problem, step, policy), settings, seed)
