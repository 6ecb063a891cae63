"""Planning on the linear-quadratic task, whose best plan is known."""

from __future__ import annotations

import numpy as np

from demo_control.mpc import Planner, PlannerSettings, Previous, Situations
from demo_control.rollout import NumpyEngine, Rollouts, RolloutShape
from demo_control.tasks import Array, Task

from .conftest import INPUT_COST, INPUT_MATRIX, POLICY_GAIN, STATE_COST, STATE_MATRIX

HORIZON = 8
TERMINAL_WEIGHT = 3.0
START = np.array([1.0, -0.5])
PENDING = np.array([[0.7]])
PLANNED_FROM = STATE_MATRIX @ START + INPUT_MATRIX @ PENDING[0]
"""Where the plan begins: the command that is on its way acts first."""


def riccati_controls(start: Array, terminal_weight: float = TERMINAL_WEIGHT) -> Array:
    """The best controls over the horizon, by dynamic programming. Shape=(HORIZON, 1)."""
    a, b, q, r = STATE_MATRIX, INPUT_MATRIX, STATE_COST, INPUT_COST
    cost_to_go = terminal_weight * q
    gains = []
    for _ in range(HORIZON):
        gain = np.linalg.solve(r + b.T @ cost_to_go @ b, b.T @ cost_to_go @ a)
        cost_to_go = q + a.T @ cost_to_go @ (a - b @ gain)
        gains.insert(0, gain)
    controls, state = [], start
    for gain in gains:
        controls.append(-gain @ state)
        state = a @ state + b @ controls[-1]
    return np.array(controls)


def policy_controls(start: Array) -> Array:
    """What the policy does over the horizon. Shape=(HORIZON, 1)."""
    controls, state = [], start
    for _ in range(HORIZON):
        controls.append(POLICY_GAIN @ state)
        state = STATE_MATRIX @ state + INPUT_MATRIX @ controls[-1]
    return np.array(controls)


def plan_cost(start: Array, controls: Array, terminal_weight: float = TERMINAL_WEIGHT) -> float:
    """Cost of controls from a state, by the equations."""
    cost, state = 0.0, start
    for control in controls:
        cost += float(state @ STATE_COST @ state + control @ INPUT_COST @ control)
        state = STATE_MATRIX @ state + INPUT_MATRIX @ control
    return cost + terminal_weight * float(state @ STATE_COST @ state)


class RecordingEngine(NumpyEngine):
    """Remembers what was rolled out."""

    def __init__(self, task: Task, shape: RolloutShape) -> None:
        super().__init__(task, lambda x, u: x @ STATE_MATRIX.T + u @ INPUT_MATRIX.T, lambda x: x @ POLICY_GAIN.T, shape)
        self.controls: list[Array] = []
        self.results: list[Rollouts] = []

    def roll_out(self, *arguments: Array) -> Rollouts:  # type: ignore[override]
        """See the base; arguments are passed by place."""
        result = super().roll_out(*arguments)
        self.controls.append(np.array(arguments[1], copy=True))
        self.results.append(result)
        return result


def make_planner(task: Task, engines: list[RecordingEngine] | None = None, **settings: object) -> Planner:
    """A planner on the true model; its engines, first for few rows and then for samples, are put into ``engines``."""
    values = {
        "shift": "shift_and_middle",
        "horizon": HORIZON,
        "terminal_weight": TERMINAL_WEIGHT,
        "mirror_steps": 60,
        "noise_standard_deviation": 0.05,
        **settings,
    }
    made = [] if engines is None else engines

    def make_engine(shape: RolloutShape) -> RecordingEngine:
        made.append(RecordingEngine(task, shape))
        return made[-1]

    return Planner(task, PlannerSettings.from_mapping(values), make_engine)


def situation(observations: Array, pending: Array, previous: list[Previous | None] | None = None) -> Situations:
    """Nothing planned before unless given, the model as it is."""
    unknown, ones = previous or [None] * len(observations), np.ones_like(observations)
    return Situations(observations, pending, unknown, ones, 0.0 * ones)


def here(previous: Previous | None = None) -> Situations:
    """One robot at the start."""
    return situation(START[None], PENDING[None], [previous])
