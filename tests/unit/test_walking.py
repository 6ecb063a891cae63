"""The states of a walking robot: what follows what, what is refused, and that no joint target ever jumps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo_control.drivers.walking import POSSIBLE, Request, Walking, WalkingMachine, WalkingSettings, minimum_jerk

PERIOD_S = 0.005
SITTING, STANDING = np.array([0.0, -0.7]), np.array([0.1, 0.0])


class Robot:
    """A machine with a gait and perfect joints."""

    def __init__(self, **changes: float) -> None:
        self.machine = WalkingMachine(WalkingSettings(**changes), SITTING, STANDING)
        self.time_s = 0.0
        self.targets = SITTING
        self.largest_step = 0.0

    def run(self, duration_s: float) -> None:
        for _ in range(round(duration_s / PERIOD_S)):
            self.time_s += PERIOD_S
            self.machine.tick(self.time_s)
            gait = STANDING + 0.3 * np.sin([5.0 * np.pi * self.time_s, 1.0])
            targets = self.machine.targets(gait, measured=self.targets)
            self.largest_step = max(self.largest_step, float(np.abs(targets - self.targets).max()))
            self.targets = targets

    def ask(self, request: Request) -> str:
        return self.machine.request(request, "test")


def test_a_whole_outing() -> None:
    robot = Robot()
    states = []
    for request, duration_s in (
        (Request.STAND_UP, 1.6), (Request.WALK, 2.0), (Request.STOP, 1.5), (Request.SIT_DOWN, 1.6)
    ):  # fmt: skip
        assert robot.ask(request) == ""
        states.append(robot.machine.state)
        robot.run(duration_s)
        states.append(robot.machine.state)
    assert states == [
        Walking.STANDING_UP, Walking.STANDING, Walking.WALKING, Walking.WALKING,
        Walking.STOPPING, Walking.STANDING, Walking.SITTING_DOWN, Walking.SITTING,
    ]  # fmt: skip
    assert robot.targets == pytest.approx(SITTING)


def test_states_last_as_long_as_they_say() -> None:
    robot = Robot(stand_up_s=1.0, brake_s=0.5, stop_s=0.25)
    robot.ask(Request.STAND_UP)
    assert robot.machine.change.duration_s == 1.0
    robot.run(0.995)
    assert robot.machine.state is Walking.STANDING_UP
    robot.run(PERIOD_S)
    assert (robot.machine.state, robot.machine.reason) == (Walking.STANDING, "done")
    assert robot.targets == pytest.approx(STANDING, abs=1e-6)
    robot.ask(Request.WALK)
    robot.run(1.0)
    robot.ask(Request.STOP)
    robot.run(0.5)
    assert robot.machine.blend == 1.0
    robot.run(0.245)
    assert 0.0 < robot.machine.blend < 0.01
    robot.run(PERIOD_S)
    assert robot.machine.state is Walking.STANDING


def test_what_cannot_be_done_is_refused_with_what_can() -> None:
    robot = Robot()
    assert robot.ask(Request.WALK) == "walk refused: the robot is sitting; possible now: stand_up"
    robot.ask(Request.STAND_UP)
    robot.run(0.1)
    assert robot.ask(Request.WALK) == "walk refused: the robot is standing up; possible now: sit_down"
    robot.run(2.0)
    assert robot.ask(Request.STOP) == "stop refused: the robot is standing; possible now: walk, sit_down"
    robot.machine.damp("it fell")
    for request in Request:
        assert robot.ask(request) == f"{request.value} refused: the robot is damped (it fell); possible now: nothing"
    assert robot.machine.state is Walking.DAMPED


def test_a_damped_robot_gives_way_and_stays_so() -> None:
    robot = Robot()
    robot.ask(Request.STAND_UP)
    robot.run(0.5)
    robot.machine.damp("first")
    robot.machine.damp("second")
    measured = np.array([0.2, -0.2])
    assert robot.machine.targets(np.zeros(2), measured) is measured
    assert robot.machine.reason == "first"


def test_minimum_jerk_begins_and_ends_at_rest() -> None:
    shares = np.linspace(-0.5, 1.5, 2001)
    course = np.array([minimum_jerk(share) for share in shares])
    assert course[0] == 0.0
    assert course[-1] == 1.0
    assert (np.diff(course) >= 0.0).all()
    assert np.abs(np.diff(course, 2)).max() < 1e-5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Request), st.floats(0.0, 2.0)), max_size=12))
def test_targets_never_jump_whatever_is_asked(requests: list[tuple[Request, float]]) -> None:
    robot = Robot()
    for request, pause_s in requests:
        possible = request in POSSIBLE[robot.machine.state]
        assert (robot.ask(request) == "") is possible
        robot.run(pause_s)
    # The gait alone moves by 0.3 × 5 π × 5 ms = 0.024 rad a tick; blending adds the stance's share.
    assert robot.largest_step < 0.035
