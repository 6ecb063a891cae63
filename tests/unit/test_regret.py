"""Regret: the bound of dynamic mirror descent on convex problems with known drift, and the running figures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from demo_control.mpc import Previous
from demo_control.mpc.mirror_step import STEP_SIZES, mirror_step
from demo_control.mpc.regret import Regret, regret_bound
from demo_control.tasks import Array, Task

from .conftest import INPUT_MATRIX, STATE_MATRIX
from .linear_planning import PLANNED_FROM, make_planner, riccati_controls, situation

ANGLE = 0.1
ROTATION = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
STEPS = 2000


def drifting_minima(drift: float, seed: int) -> Array:
    """θ_{t+1} = A θ_t + w_t, ‖w_t‖ = ``drift``, kept within the unit circle. Shape=(STEPS, 2)."""
    generator, minima = np.random.default_rng(seed), [np.array([0.6, 0.0])]
    for _ in range(STEPS - 1):
        angle = generator.uniform(0.0, 2.0 * np.pi)
        moved = ROTATION @ minima[-1] + drift * np.array([np.cos(angle), np.sin(angle)])
        minima.append(moved / max(np.linalg.norm(moved), 1.0))
    return np.array(minima)


def descend(minima: Array, shift: Callable[[Array], Array], step_size: float) -> tuple[float, float, float]:
    """Dynamic mirror descent on J_t(η) = ½‖η − θ_t‖², with the mirror step of the planner.

    Returns:
        Regret against θ_t, the largest gradient, and the path length of the decisions themselves.
    """
    steps = STEP_SIZES["diminishing"](step_size, np.arange(1, STEPS + 1))
    decision, regret, largest, path = np.zeros(2), 0.0, 0.0, 0.0
    for minimum, step in zip(minima, np.broadcast_to(steps, STEPS), strict=True):
        gradient = decision - minimum
        regret += 0.5 * float(gradient @ gradient)
        largest = max(largest, float(np.linalg.norm(gradient)))
        # A single sample at the minimum: the step is exactly −α times the gradient.
        moved = mirror_step(decision[None], minimum[None, None], np.ones(1), float(step))[0]
        path += float(np.linalg.norm(moved - decision))
        decision = shift(moved)
    return regret, largest, path


def path_length(minima: Array, shift: Callable[[Array], Array]) -> float:
    return float(sum(np.linalg.norm(after - shift(before)) for before, after in pairwise(minima)))


SHIFTS = {"anticipates": lambda eta: ROTATION @ eta, "stays": lambda eta: eta}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("drift", [0.0, 1e-3, 1e-2, 0.1])
@pytest.mark.parametrize("step_size", [0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_measured_regret_obeys_the_bound(shift: str, drift: float, step_size: float, seed: int) -> None:
    minima = drifting_minima(drift, seed)
    steps = np.asarray(STEP_SIZES["diminishing"](step_size, np.arange(1, STEPS + 1)))
    regret, largest, _ = descend(minima, SHIFTS[shift], step_size)
    assert 0.0 < regret <= regret_bound(steps, path_length(minima, SHIFTS[shift]), largest, 1.0)


def test_the_bound_says_something() -> None:
    """It is far below what doing nothing costs, where the shift model anticipates."""
    minima = drifting_minima(0.0, 0)
    steps = np.asarray(STEP_SIZES["diminishing"](0.5, np.arange(1, STEPS + 1)))
    idle = 0.5 * float(np.square(minima).sum())
    regret, largest, _ = descend(minima, SHIFTS["anticipates"], 0.5)
    assert regret < 0.01 * idle
    assert regret_bound(steps, path_length(minima, SHIFTS["anticipates"]), largest, 1.0) < 0.6 * idle


def test_regret_grows_like_the_root_of_time_without_drift_and_worse_with_it() -> None:
    """Theorem 3.1: O(√T (1 + path length))."""
    regrets = {}
    for drift in (0.0, 0.1):
        minima = drifting_minima(drift, 0)
        for steps in (STEPS // 4, STEPS):
            regrets[drift, steps] = sum_of_losses(minima[:steps])
    assert regrets[0.0, STEPS] <= 2.2 * regrets[0.0, STEPS // 4]
    assert regrets[0.1, STEPS] > 3.0 * regrets[0.1, STEPS // 4]


def sum_of_losses(minima: Array) -> float:
    decision, total = np.zeros(2), 0.0
    for number, minimum in enumerate(minima, start=1):
        total += 0.5 * float(np.square(decision - minimum).sum())
        moved = mirror_step(decision[None], minimum[None, None], np.ones(1), 0.5 / np.sqrt(number))[0]
        decision = SHIFTS["anticipates"](moved)
    return total


def test_the_path_length_of_the_decisions_tells_which_shift_model_anticipates() -> None:
    """That is what a robot can measure: it knows its own decisions, not the minima."""
    minima = drifting_minima(1e-3, 0)
    found = {name: descend(minima, shift, 0.5) for name, shift in SHIFTS.items()}
    assert found["anticipates"][0] < 0.1 * found["stays"][0]
    assert found["anticipates"][2] < 0.1 * found["stays"][2]


def test_the_planner_s_path_length_is_that_of_its_shift_model(linear_task: Task) -> None:
    """From the best plan to the next best one, where both are known: what each Φ leaves to be searched."""
    state = PLANNED_FROM
    best = riccati_controls(state)
    following = riccati_controls(STATE_MATRIX @ state + INPUT_MATRIX @ best[0])
    tails = {"shift_and_repeat": best[-1], "shift_and_zero": np.zeros(1), "shift_and_mean": best.mean(axis=0)}
    for name, tail in tails.items():
        fine = {"num_samples": 4000, "noise_standard_deviation": 0.002, "step_size": 0.2, "elite_fraction": 0.3}
        planner = make_planner(linear_task, shift=name, mirror_steps=100, **fine)
        moved = situation(state[None], best[:1][None], [Previous(best, 1)])
        result = planner.plan(moved, [np.random.default_rng(0)])
        expected = np.linalg.norm(following - np.concatenate([best[1:], tail[None]])) / 50.0
        assert result.path_step[0] == pytest.approx(expected, rel=0.1)


def test_running_figures() -> None:
    regret = Regret(2)
    regret.add(0.5, 3.0, np.array([4.0, 5.0]), 1.0)
    regret.add(0.25, 2.0, np.array([3.0, 1.0]), 2.0)
    assert regret.path_length == 0.75
    assert regret.realised_cost == 3.0
    # Rules: 7 and 6; the plans: 5.
    assert regret.regret == -1.0


def test_a_rule_that_diverges_is_never_the_best_and_a_plan_that_does_is_left_out() -> None:
    regret = Regret(2)
    regret.add(0.5, 3.0, np.array([np.nan, 2.0]), 1.0)
    regret.add(np.nan, 3.0, np.array([1.0, 2.0]), np.nan)
    regret.add(0.5, np.inf, np.array([1.0, 2.0]), 1.0)
    assert regret.path_length == 0.5
    assert regret.realised_cost == 2.0
    assert regret.regret == 1.0
