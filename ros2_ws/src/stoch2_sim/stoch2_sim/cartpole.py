"""The task cart-pole swing-up: swing a hanging pole up and keep it there, on a rail of ±2.4 m."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from demo_control.configuration import Scalar
from demo_control.tasks import Array, CostTerm, Namespace, Quantity, RecordedRun, Task
from stoch2_sim.robots.cartpole.parameters import (
    CONTROL_PERIOD_S,
    EPISODE_S,
    FORCE_LIMIT_N,
    RAIL_LIMIT_M,
    PlantSettings,
)
from stoch2_sim.robots.cartpole.plants import make_plants
from stoch2_sim.robots.cartpole.score import SwingUpScore
from stoch2_sim.robots.cartpole.simulation import SIMULATORS

Columns = Mapping[str, Any]

# Of the pole, beside and above the rail's middle, in the robot description.
_HINGE_Y_M, _HINGE_Z_M = -0.15, 1.23
# From here on outwards the rail's end costs; leaving the rail ends the episode.
RAIL_MARGIN_M = 0.8 * RAIL_LIMIT_M


LEARNING: Mapping[str, Scalar] = MappingProxyType({
    "sac.hidden_units": 64, "sac.batch_size": 128, "sac.learning_rate": 1e-3,
    "learning.steps": 150_000, "learning.plants": 4, "learning.updates_per_step": 0.5,
})  # fmt: skip
"""Soft actor-critic on a problem this small: networks of 64 units, and more plants than gradient steps."""


def task() -> Task:
    """The cart-pole task, as the entry point ``demo_control.tasks`` names it."""
    return Task(
        name="cartpole",
        observation=(
            Quantity("cart_position", "m", -RAIL_LIMIT_M, RAIL_LIMIT_M),
            Quantity("cart_velocity", "m/s", -10.0, 10.0),
            Quantity("pole_cosine", "1", -1.0, 1.0),
            Quantity("pole_sine", "1", -1.0, 1.0),
            Quantity("pole_velocity", "rad/s", -25.0, 25.0),
        ),
        action=(Quantity("cart_force", "N", -FORCE_LIMIT_N, FORCE_LIMIT_N),),
        control_period_s=CONTROL_PERIOD_S,
        episode_s=EPISODE_S,
        cost_terms=COST_TERMS,
        model_inputs=("cart_velocity", "pole_cosine", "pole_sine", "pole_velocity"),
        simulators=SIMULATORS,
        make_plants=make_plants,
        make_score=SwingUpScore,
        bringup="cartpole_swingup",
        render_video=_render_video,
        planned_path=_planned_path,
        unit_circles=(("pole_cosine", "pole_sine"),),
        # The equations agree with MuJoCo and step thirty plants in the time of one.
        training={"collection.simulator": "analytic", **LEARNING},
        # A model of the nominal plant alone fails with a pole 20 % longer; one of these does not.
        training_plants=tuple({"pole_length": factor} for factor in (0.9, 1.0, 1.1, 1.2)),
    )


def _render_video(path: Path, runs: Sequence[RecordedRun], progress: Callable[[float], None]) -> str:
    """See :data:`demo_control.tasks.VideoRenderer`."""
    # Only here: it needs graphics libraries that a robot does not have.
    from stoch2_sim.robots.cartpole.video import Run, render_video  # noqa: PLC0415

    drawn = [Run(run.label, run.times_s, run.observations, _pole_length(run)) for run in runs]
    return render_video(path, drawn, progress=progress)


def _planned_path(states: Array) -> Array:
    """The pole's tip along a plan, in the world; see :attr:`demo_control.tasks.Task.planned_path`."""
    length = 2.0 * PlantSettings().parameters().pole_half_length_m
    position, cosine, sine = states[..., 0], states[..., 2], states[..., 3]
    tip = (position + length * sine, np.full_like(position, _HINGE_Y_M), _HINGE_Z_M + length * cosine)
    return np.stack(tip, axis=-1)


def _pole_length(run: RecordedRun) -> float:
    """What the driver simulated, as a factor on the nominal length; 1 where it is not known."""
    length = run.parameters.get("cartpole_driver", {}).get("pole_length", 1.0)
    return float(length) if isinstance(length, int | float) else 1.0


def _upright(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return 1.0 - x["pole_cosine"]


def _centre(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return x["cart_position"] * x["cart_position"]


def _cart_speed(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return x["cart_velocity"] * x["cart_velocity"]


def _pole_speed(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return x["pole_velocity"] * x["pole_velocity"]


def _force(_x: Columns, u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    relative = u["cart_force"] / FORCE_LIMIT_N
    return relative * relative


def _rail(x: Columns, _u: Columns, xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    beyond = xp.maximum(xp.abs(x["cart_position"]) - RAIL_MARGIN_M, 0.0)
    return beyond * beyond


COST_TERMS = (
    CostTerm("upright", 0.5, _upright, "One minus the cosine of the pole's angle"),
    CostTerm("centre", 0.05, _centre, "Squared distance from the rail's centre, m²"),
    CostTerm("cart_speed", 0.002, _cart_speed, "Squared velocity of the cart, m²/s²"),
    CostTerm("pole_speed", 0.002, _pole_speed, "Squared angular velocity of the pole, rad²/s²"),
    CostTerm("force", 0.01, _force, "Squared force relative to its limit"),
    CostTerm("rail", 20.0, _rail, "Squared distance beyond 80 % of the rail, m²"),
)
