"""What shift models make of the previous plan."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.mpc import SHIFT_MODELS
from demo_control.mpc.shift_models import Previous, moved_on

MIDDLE = np.array([0.25])
PLAN = np.array([[1.0], [2.0], [3.0], [4.0]])


def test_repeat_drops_what_has_passed_and_repeats_the_last_step() -> None:
    controls, feedback = moved_on(Previous(PLAN, 1), 4, SHIFT_MODELS["shift_and_repeat"], MIDDLE)
    np.testing.assert_array_equal(controls[:, 0], [2.0, 3.0, 4.0, 4.0])
    assert not feedback.any()


def test_missed_plans_move_further() -> None:
    controls, _ = moved_on(Previous(PLAN, 3), 4, SHIFT_MODELS["shift_and_repeat"], MIDDLE)
    np.testing.assert_array_equal(controls[:, 0], [4.0, 4.0, 4.0, 4.0])


def test_middle_appends_the_middle_of_the_range() -> None:
    controls, feedback = moved_on(Previous(PLAN, 2), 4, SHIFT_MODELS["shift_and_middle"], MIDDLE)
    np.testing.assert_array_equal(controls[:, 0], [3.0, 4.0, 0.25, 0.25])
    assert not feedback.any()


@pytest.mark.parametrize("name", ["policy_tail", "hybrid"])
def test_policy_tail_asks_the_policy_for_the_end(name: str) -> None:
    controls, feedback = moved_on(Previous(PLAN, 1), 4, SHIFT_MODELS[name], MIDDLE)
    np.testing.assert_array_equal(controls[:, 0], [2.0, 3.0, 4.0, 0.0])
    np.testing.assert_array_equal(feedback[:, 0], [0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("elapsed", [4, 100])
def test_an_outlived_plan_is_forgotten(elapsed: int) -> None:
    controls, feedback = moved_on(Previous(PLAN, elapsed), 4, SHIFT_MODELS["policy_tail"], MIDDLE)
    assert not controls.any()
    assert feedback.all()


@pytest.mark.parametrize(("name", "expected"), [("shift_and_repeat", 0.25), ("shift_and_middle", 0.25)])
def test_without_a_plan_the_start_is_the_middle(name: str, expected: float) -> None:
    controls, feedback = moved_on(None, 4, SHIFT_MODELS[name], MIDDLE)
    np.testing.assert_array_equal(controls, np.full((4, 1), expected))
    assert not feedback.any()


@pytest.mark.parametrize("horizon", [2, 6])
def test_the_horizon_may_differ_from_the_previous_plans(horizon: int) -> None:
    controls, feedback = moved_on(Previous(PLAN, 1), horizon, SHIFT_MODELS["policy_tail"], MIDDLE)
    kept = min(3, horizon)
    np.testing.assert_array_equal(controls[:kept], PLAN[1 : 1 + kept])
    assert feedback[kept:].all()
    assert not feedback[:kept].any()
