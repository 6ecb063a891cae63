"""What the DeMo layer decides on Stoch2: corrections of the gait, held for 50 ms, and what they are worth.

The 200 Hz policy stays in the loop; the model is that of the walking robot with its policy. What is known needs no
learning: the gait's clock, the commands, and how a displacement makes the errors to the moving reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from demo_control.configuration import Scalar
from demo_control.tasks import BEFORE, Array, CostTerm, Namespace, Planning, Quantity, Transition
from stoch2_sim.robots.stoch2.attitude import wrapped
from stoch2_sim.robots.stoch2.gait_correction import CORRECTION, GaitCorrection
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S, GAIT_FREQUENCY_HZ

Columns = Mapping[str, Any]

DECISION_TICKS = 10
PLANNING_TICKS = 4
DECISION_S = DECISION_TICKS * CONTROL_PERIOD_S
_CLOCK_ANGLE = 2.0 * math.pi * GAIT_FREQUENCY_HZ * DECISION_S

OBSERVATION = (
    "roll", "pitch", "yaw_error", "support_roll", "support_pitch", "roll_rate", "pitch_rate", "yaw_rate",
    "forward_velocity", "lateral_velocity", "vertical_velocity", "height", "phase_sine", "phase_cosine",
    "forward_error", "lateral_error", "forward_command", "lateral_command", "yaw_rate_command",
)  # fmt: skip

_CHANGING = (
    "roll", "pitch", "roll_rate", "pitch_rate", "yaw_rate",
    "forward_velocity", "lateral_velocity", "vertical_velocity", "height",
)  # fmt: skip
_STAYING = ("support_roll", "support_pitch", "forward_command", "lateral_command", "yaw_rate_command")

_MODEL_INPUTS = (
    *(name for name in OBSERVATION
      if name not in ("forward_error", "lateral_error", "forward_command", "lateral_command")),
    *(quantity.name + BEFORE for quantity in CORRECTION),
)  # fmt: skip


def _targets(x: Array, x_next: Array, _u: Array) -> Array:
    """What the network should have said; see :data:`OUTPUTS`. Shape=(batch, num_outputs)."""
    before = {name: x[:, index] for index, name in enumerate(OBSERVATION)}
    after = {name: x_next[:, index] for index, name in enumerate(OBSERVATION)}
    # A command may ramp within the interval: its mean moved the reference.
    command = {name: (before[name] + after[name]) / 2.0 for name in _STAYING if name.endswith("_command")}
    turn = command["yaw_rate_command"] * DECISION_S
    yaw_change = wrapped(after["yaw_error"] - before["yaw_error"] + turn)
    forward, lateral = _rotated(after["forward_error"], after["lateral_error"], np.cos(turn), np.sin(turn))
    moved = _rotated(
        command["forward_command"] * DECISION_S, command["lateral_command"] * DECISION_S,
        np.cos(turn / 2.0), np.sin(turn / 2.0),
    )  # fmt: skip
    forward, lateral = forward - before["forward_error"] + moved[0], lateral - before["lateral_error"] + moved[1]
    forward, lateral = _rotated(forward, lateral, np.cos(before["yaw_error"]), -np.sin(before["yaw_error"]))
    changes = [after[name] - before[name] for name in _CHANGING]
    return np.stack([*changes, yaw_change, forward, lateral], axis=1)


OUTPUTS = (
    *(f"{name}_change" for name in _CHANGING),
    "yaw_change",
    "forward_displacement",
    "lateral_displacement",
)
"""What the network learns; displacements in metres, in the robot's heading at the interval's start."""


def _apply(x: Columns, y: Columns, u: Columns, xp: Namespace) -> Columns:
    """The next observation from the learned quantities; see :class:`demo_control.tasks.Transition`."""
    result: dict[str, Any] = {name: x[name] + y[f"{name}_change"] for name in _CHANGING}
    result.update({name: x[name] for name in _STAYING})
    result["phase_sine"], result["phase_cosine"] = (
        math.cos(_CLOCK_ANGLE) * x["phase_sine"] + math.sin(_CLOCK_ANGLE) * x["phase_cosine"],
        math.cos(_CLOCK_ANGLE) * x["phase_cosine"] - math.sin(_CLOCK_ANGLE) * x["phase_sine"],
    )
    turn = x["yaw_rate_command"] * DECISION_S
    result["yaw_error"] = x["yaw_error"] + y["yaw_change"] - turn
    moved = _rotated(
        x["forward_command"] * DECISION_S, x["lateral_command"] * DECISION_S, xp.cos(turn * 0.5), xp.sin(turn * 0.5)
    )
    displacement = _rotated(
        y["forward_displacement"], y["lateral_displacement"], xp.cos(x["yaw_error"]), xp.sin(x["yaw_error"])
    )
    result["forward_error"], result["lateral_error"] = _rotated(
        x["forward_error"] + displacement[0] - moved[0],
        x["lateral_error"] + displacement[1] - moved[1],
        xp.cos(turn), xp.sin(turn) * -1.0,
    )  # fmt: skip
    result.update({quantity.name + BEFORE: u[quantity.name] for quantity in CORRECTION})
    return result


def _rotated(x: Any, y: Any, cosine: Any, sine: Any) -> tuple[Any, Any]:  # noqa: ANN401 - columns of any kind
    """A plane vector turned by the angle whose cosine and sine are given."""
    return x * cosine - y * sine, x * sine + y * cosine


PLANNING = Planning(
    observation=OBSERVATION,
    correction=CORRECTION,
    correct=GaitCorrection(),
    decision_ticks=DECISION_TICKS,
    planning_ticks=PLANNING_TICKS,
    model_inputs=_MODEL_INPUTS,
    transition=Transition(OUTPUTS, _targets, _apply),
    offset_entries=("yaw_error", "forward_error", "lateral_error"),
)


def _speed(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return x["forward_error"] * x["forward_error"]


def _path(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return x["lateral_error"] * x["lateral_error"]


def _heading(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return x["yaw_error"] * x["yaw_error"]


def _turn_rate(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    error = x["yaw_rate"] - x["yaw_rate_command"]
    return error * error


def _side_speed(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    error = x["lateral_velocity"] - x["lateral_command"]
    return error * error


def _posture(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    roll, pitch = x["roll"] - x["support_roll"], x["pitch"] - x["support_pitch"]
    return roll * roll + pitch * pitch


def _rocking(x: Columns, _u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return x["roll_rate"] * x["roll_rate"] + x["pitch_rate"] * x["pitch_rate"]


def _fall(x: Columns, _u: Columns, xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    roll = xp.maximum(xp.abs(x["roll"]) - 0.35, 0.0)
    pitch = xp.maximum(xp.abs(x["pitch"]) - 0.42, 0.0)
    return roll + pitch


_STEPS = tuple(quantity for quantity in CORRECTION if quantity.name.endswith("_step"))
_STANCE = tuple(quantity for quantity in CORRECTION if quantity not in _STEPS)


def _steps(_x: Columns, u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return _squares(u, _STEPS)


def _stance(_x: Columns, u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    return _squares(u, _STANCE)


def _squares(u: Columns, quantities: tuple[Quantity, ...]) -> Any:  # noqa: ANN401 - columns of any kind
    """Sum of the squares of some corrections, relative to their limits."""
    total: Any = 0.0
    for quantity in quantities:
        relative = u[quantity.name] * (1.0 / quantity.maximum)
        total = relative * relative + total
    return total


def _change(x: Columns, u: Columns, _xp: Namespace) -> Any:  # noqa: ANN401 - see CostFunction
    total: Any = 0.0
    for quantity in CORRECTION:
        relative = (u[quantity.name] - x[quantity.name + BEFORE]) * (1.0 / quantity.maximum)
        total = relative * relative + total
    return total


COST_TERMS = (
    CostTerm("speed", 375.0, _speed, "Squared distance to the moving reference along its heading, m²", "end"),
    CostTerm("path", 65.0, _path, "Squared distance to the moving reference across its heading, m²"),
    CostTerm("heading", 20.0, _heading, "Squared heading error, rad²"),
    CostTerm("turn_rate", 0.5, _turn_rate, "Squared yaw rate error, rad²/s²"),
    CostTerm("side_speed", 3.0, _side_speed, "Squared lateral velocity error, m²/s²"),
    CostTerm("posture", 40.0, _posture, "Squared roll and pitch relative to the ground, rad²"),
    CostTerm("rocking", 0.0075, _rocking, "Squared roll and pitch rates, rad²/s²"),
    CostTerm("fall", 80.0, _fall, "Roll beyond 0.35 rad and pitch beyond 0.42 rad, rad"),
    CostTerm("steps", 0.02, _steps, "Squared corrections of the steps relative to their limits", "stages"),
    # A narrower or lower stance gains a little in calm walking and loses the reserve for a push.
    CostTerm("stance", 0.2, _stance, "Squared corrections of the stance relative to their limits", "stages"),
    CostTerm("change", 0.02, _change, "Squared change of the correction relative to its limits", "stages"),
)

PLANNER: dict[str, Scalar] = {
    "shift": "shift_and_repeat",
    "num_samples": 420,
    "elite_fraction": 0.12,
    "horizon": 8,
    # Calm walking takes one, a push all. With up to eight, plans look better to the model, and robots fall more.
    "mirror_steps": 3,
    "mirror_step_tolerance": 0.06,
    "step_size": 0.75,
    "noise_standard_deviation": 0.8,
    "noise_smallest_share": 0.03,
    "noise_held_share": 0.5,
    "terminal_weight": 1.0,
    "plan_period_ticks": DECISION_TICKS,
    "maximum_plan_age_ticks": 60,
    # The gate: calm walking at the policy's own speed is left to the policy, without a switch that would jerk.
    "minimum_gain": 0.2,
    "full_gain": 1.0,
    "rejected_plan_share": 0.5,
    "maximum_disagreement": 10.0,
    "adapt_model": False,
    "offset_gain": 0.15,
}
"""Settings of the layer that measured best; eight steps of 50 ms are one cycle of the gait."""
