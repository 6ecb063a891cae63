"""Which observations nothing may follow from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from demo_control.tasks import Task, load_task


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.0, 0.0], ""),
        ([50.0, -50.0], ""),  # ten times the range of ±5
        ([50.1, 0.0], "implausible"),
        ([0.0, -1e30], "implausible"),
        ([math.nan, 1e30], "non_finite"),
        ([0.0, -math.inf], "non_finite"),
        ([0.0], "wrong_shape"),
        ([0.0, 0.0, 0.0], "wrong_shape"),
        ([], "wrong_shape"),
    ],
)
def test_an_observation_is_used_unless_no_robot_can_have_it(
    linear_task: Task, values: list[float], reason: str
) -> None:
    assert linear_task.unusable_observation(np.array(values)) == reason


def test_who_is_told_of_an_implausible_observation_learns_which_entry_it_is(linear_task: Task) -> None:
    told = linear_task.told_implausible(np.array([0.0, -1e30]))
    assert told == "velocity = -1e+30, plausible are -50 to 50 m/s"
    assert linear_task.told_implausible(np.zeros(2)) == ""


@pytest.mark.parametrize("name", ["cartpole", "stoch2"])
def test_ends_of_the_ranges_of_shipped_robots_are_plausible(name: str) -> None:
    task = load_task(name)
    for end in ("minimum", "maximum"):
        assert task.unusable_observation(np.array([getattr(q, end) for q in task.observation])) == ""
