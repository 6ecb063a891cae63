"""The simulated Stoch2 behind its driver: script, requests, commands, pushes, falls, figures; no ROS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.configuration import ConfigurationError, Settings
from demo_control.drivers.core import Command, DriverState
from demo_control.drivers.walking import Request, Walking, WalkingSettings
from demo_control.tasks import Array
from stoch2_sim.bringups import Stoch2WalkArguments, ground_parameters
from stoch2_sim.drivers.simulated_stoch2 import SimulatedStoch2
from stoch2_sim.drivers.stoch2_figures import WalkFigures
from stoch2_sim.drivers.stoch2_motion import PERIOD_NS, Stoch2Setup, tread
from stoch2_sim.drivers.stoch2_script import SPEEDS, CommandSource, Pushes, Script
from stoch2_sim.drivers.stoch2_settings import Stoch2DriverSettings
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.observation import INDEX
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.reference import CommandSettings, LeashSettings
from stoch2_sim.robots.stoch2.walk_metrics import Walk, gait_cycles

PERIOD_S = 0.005
NEUTRAL = np.zeros(20)
# Short, so that the tests are.
QUICK = {"stand_up_s": 0.5, "brake_s": 0.2, "stop_s": 0.2}


def setup(**values: Any) -> Stoch2Setup:  # noqa: ANN401
    """All settings by name."""
    values = {"ideal_sensing": False, **QUICK, **values}
    kinds: list[type[Settings]] = [
        Stoch2DriverSettings, RobotParameters, SensingParameters, WalkingSettings, CommandSettings, LeashSettings
    ]  # fmt: skip
    names = [{entry.name for entry in kind.entries()} for kind in kinds]
    # One flat set of ROS parameters: a name may not mean two things.
    assert sum(map(len, names)) == len(set().union(*names))
    assert set(values) <= set().union(*names)
    parts = [
        kind.from_mapping({k: v for k, v in values.items() if k in own}) for kind, own in zip(kinds, names, strict=True)
    ]
    return Stoch2Setup(*parts)  # type: ignore[arg-type]


class Bench:
    """A robot whose observations are answered at once."""

    def __init__(self, **values: Any) -> None:  # noqa: ANN401
        self.robot = SimulatedStoch2(setup(**values))
        self.tick = 0
        self.states = [self.robot.machine.state]
        self.observations: list[Array] = []
        self.truths: list[Array] = []

    def run(self, duration_s: float, action: Array | None = NEUTRAL) -> None:
        for _ in range(round(duration_s / PERIOD_S)):
            robot, now_ns = self.robot, self.tick * PERIOD_NS
            self.observations.append(robot.sense().copy())
            self.truths.append(robot.true_observation())
            robot.core.observed(self.tick, now_ns, self.tick)
            if action is not None:
                robot.wire.send(Command(self.tick, self.tick, self.tick, "test", action), now_ns)
            robot.run_period(now_ns)
            self.tick += 1
            if robot.machine.state is not self.states[-1]:
                self.states.append(robot.machine.state)

    def entry(self, name: str) -> float:
        return float(self.robot.sense()[INDEX[name]])


Maker = Callable[..., Bench]


@pytest.fixture
def bench() -> Iterator[Maker]:
    made: list[Bench] = []

    def make(**values: Any) -> Bench:  # noqa: ANN401
        made.append(Bench(**values))
        return made[-1]

    yield make
    for one in made:
        one.robot.close()


def test_the_script_stands_up_walks_stops_in_time_and_stands(bench: Maker) -> None:
    one = bench(duration_s=4.0, command="0.3,0")
    one.run(4.0)
    assert one.states == [
        Walking.SITTING, Walking.STANDING_UP, Walking.WALKING, Walking.STOPPING, Walking.STANDING
    ]  # fmt: skip
    figures = one.robot.figures.result()
    assert figures["success"] is True
    assert figures["falls"] == 0
    assert 0.5 < float(figures["distance_m"] or 0.0) < 1.2
    # It really stands: upright, still, at its height.
    assert np.abs(one.robot.state.velocity).max() < 0.05
    assert float(one.robot.state.height[0]) == pytest.approx(0.247, abs=0.01)
    # Velocity and position come from odometry: near the truth, but not the truth.
    difference = np.array(one.observations)[:, 14] - np.array(one.truths)[:, 14]
    assert 0.0 < np.sqrt(np.mean(difference**2)) < 0.1


def test_it_sits_held_until_the_first_action(bench: Maker) -> None:
    one = bench()
    one.run(0.2, action=None)
    assert (one.robot.held, one.robot.time_s, one.states) == (True, 0.0, [Walking.SITTING])
    one.run(0.1)
    assert (one.robot.held, one.states[-1]) == (False, Walking.STANDING_UP)


def test_requests_need_no_policy_except_walking(bench: Maker) -> None:
    one = bench()
    assert one.robot.ask(Request.WALK, "service").startswith("walk refused: the robot is sitting")
    assert one.robot.ask(Request.STAND_UP, "service") == ""
    one.run(0.6, action=None)
    assert one.robot.machine.state is Walking.STANDING
    assert one.robot.ask(Request.WALK, "service") == "walk refused: no actions arrive; is a policy running?"
    one.run(0.1)
    assert one.robot.machine.state is Walking.STANDING, "the script has ended with the first request from outside"
    assert one.robot.ask(Request.WALK, "service") == ""
    one.run(0.5)
    assert one.robot.ask(Request.STOP, "service") == ""
    one.run(0.5)
    assert one.robot.ask(Request.SIT_DOWN, "service") == ""
    one.run(0.6)
    assert one.robot.machine.state is Walking.SITTING
    assert float(one.robot.state.height[0]) == pytest.approx(0.135, abs=0.012)


def test_without_actions_it_treads_and_then_stops_walking(bench: Maker) -> None:
    one = bench(patience_s=0.3)
    one.run(1.5)
    assert one.robot.machine.walks
    one.run(0.2, action=None)
    assert one.robot.core.state is DriverState.STOPPED
    assert one.robot.machine.walks
    np.testing.assert_array_equal(one.robot.core.output.values, tread(NEUTRAL))
    one.run(1.0, action=None)
    assert one.states[-2:] == [Walking.STOPPING, Walking.STANDING]
    assert one.robot.machine.change.reason == "done"
    assert one.robot.figures.fell is False


def test_a_fall_damps_the_joints_for_good(bench: Maker) -> None:
    one = bench()
    one.run(1.5)
    one.robot.pushes.add(np.array([0.0, 900.0, 0.0]), one.robot.time_s)
    one.run(1.5)
    assert one.robot.machine.state is Walking.DAMPED
    assert (one.robot.core.state, one.robot.core.reason) == (DriverState.FAULT, "fell")
    assert one.robot.figures.result()["success"] is False
    assert "damped (fell)" in one.robot.ask(Request.STAND_UP, "service")
    before = one.robot.time_s
    one.run(0.1)
    assert one.robot.time_s == pytest.approx(before + 0.1), "time goes on"


def test_a_push_goes_to_the_robots_left_wherever_it_looks(bench: Maker) -> None:
    one = bench(push_n=150.0, push_every_s=1.0, seed=3, command="0,0.5")
    one.run(1.5)
    assert one.robot.pushes.count == 0
    one.run(0.5)
    assert one.robot.pushes.count == 1
    assert not one.robot.push_n.any(), "it is over"
    lateral = np.array(one.truths)[:, INDEX["lateral_velocity"]]
    assert np.abs(lateral[-100:]).max() > 0.3
    assert np.abs(lateral[:-100]).max() < 0.25


def test_commands_from_outside_replace_the_scripts_and_grow_stale(bench: Maker) -> None:
    one = bench(command="0.5,0.4", request_timeout_s=0.3)
    one.run(2.0)
    assert (one.entry("forward_command"), one.entry("yaw_rate_command")) == pytest.approx((0.5, 0.4))
    one.robot.commands.receive((0.2, 0.05, 0.0), one.robot.time_s)
    one.run(0.28)
    assert (one.entry("forward_command"), one.entry("lateral_command")) == pytest.approx((0.276, 0.05))
    one.run(1.5)
    assert (one.entry("forward_command"), one.entry("yaw_rate_command")) == (0.0, 0.0)
    assert one.robot.machine.walks


def test_latency_and_noise_reach_the_observation_but_not_the_truth(bench: Maker) -> None:
    exact, late = bench(command="0.3,0"), bench(command="0.3,0", latency_ms=20.0)
    noisy = bench(command="0.3,0", imu_noise_rad=0.01)
    for one in (exact, late, noisy):
        one.run(1.2)
    np.testing.assert_array_equal(np.array(exact.observations)[50:-4], np.array(late.observations)[54:])
    assert not np.array_equal(np.array(exact.observations)[:, 6], np.array(noisy.observations)[:, 6])


def test_the_same_seed_gives_the_same_run(bench: Maker) -> None:
    runs = [bench(seed=5, push_n=50.0, push_every_s=1.0, imu_noise_rad=0.01) for _ in range(2)]
    for one in runs:
        one.run(1.8)
    np.testing.assert_array_equal(runs[0].observations, runs[1].observations)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"command": "fast"}, "command = 'fast': expected VX,WZ"),
        ({"command": "0.3"}, "expected VX,WZ"),
        ({"command": "nan,0"}, "expected VX,WZ"),
        ({"push_n": -1.0}, "push_n = -1.0: must be between 0 and 2000"),
    ],
)
def test_bad_settings_are_told(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Stoch2DriverSettings(**values)


def test_a_bringups_slope_makes_a_slope() -> None:
    assert ground_parameters("flat", 0.0) == {"terrain": "flat"}
    assert ground_parameters("flat", -5.0) == {"terrain": "slope", "slope_deg": -5.0}
    assert ground_parameters("slope", 0.0)["slope_deg"] == 7.0
    with pytest.raises(ConfigurationError, match="slope = 5: must be 0 on terrain 'stairs'"):
        ground_parameters("stairs", 5.0)
    assert Stoch2WalkArguments().duration == 20.0


def test_the_scripts_speeds_follow_one_another_and_repeat() -> None:
    script = Script(Stoch2DriverSettings(), WalkingSettings())
    total_s = sum(duration_s for duration_s, _, _ in SPEEDS)
    assert script.speeds(0.0) == script.speeds(total_s) == (SPEEDS[0][1], 0.0, SPEEDS[0][2])
    assert script.speeds(SPEEDS[0][0]) == (SPEEDS[1][1], 0.0, SPEEDS[1][2])
    assert CommandSource(script).request(False, 1.0, 1.0)[0].tolist() == [[0.0, 0.0, 0.0]]


@given(st.integers(0, 1000))
def test_the_scripts_pushes_alternate_and_last_as_long_as_they_should(seed: int) -> None:
    pushes = Pushes(Stoch2DriverSettings(push_n=100.0, push_every_s=2.0), np.random.default_rng(seed))
    forces = []
    for tick in range(1300):
        pushes.follow_script(tick * PERIOD_S, tick * PERIOD_S)
        forces.append(pushes.force_n(tick * PERIOD_S))
    lateral = np.array(forces)[:, 1]
    starts = np.flatnonzero((lateral != 0.0) & (np.roll(lateral, 1) == 0.0))
    assert len(starts) == pushes.count == 3
    assert (np.abs(lateral) > 0.0).sum() == 3 * 6
    assert lateral[starts[0]] == -lateral[starts[1]] == lateral[starts[2]]
    assert np.abs(starts * PERIOD_S - [2.0, 4.0, 6.0]).max() <= 0.41


def test_the_scripts_pushes_begin_anew_with_every_walk() -> None:
    pushes = Pushes(Stoch2DriverSettings(push_n=100.0, push_every_s=2.0), np.random.default_rng(0))
    counts = []
    for walk in range(2):
        for tick in range(1300):
            pushes.follow_script(tick * PERIOD_S, 10.0 * walk + tick * PERIOD_S)
        counts.append(pushes.count)
    assert counts == [3, 6]


def test_figures_are_those_of_walk_metrics() -> None:
    generator = np.random.default_rng(0)
    num_ticks = 1000
    yaw = np.cumsum(generator.normal(0.0015, 0.003, num_ticks + 1))
    speed = 0.3 + 0.1 * np.sin(np.arange(num_ticks) / 30.0)
    middle = 0.5 * (yaw[1:] + yaw[:-1])
    steps = PERIOD_S * speed[:, None] * np.column_stack([np.cos(middle), np.sin(middle)])
    position = np.zeros((num_ticks + 1, 3))
    position[1:, :2] = np.cumsum(steps, axis=0)
    commands = np.tile([0.25, 0.0, 0.2], (num_ticks + 1, 1))
    figures = WalkFigures(PERIOD_S)
    for place, angle, command in zip(position, yaw, commands, strict=True):
        figures.walk(place[0], place[1], math.remainder(angle, 2.0 * math.pi), command)
    angles = np.column_stack([np.zeros((num_ticks + 1, 2)), yaw])
    cycles = gait_cycles(Walk(position, angles, np.zeros_like(position), commands, np.zeros(2)))
    result = figures.result()
    errors = np.sqrt(np.mean(cycles.errors**2, axis=0))
    assert [
        result["speed_error_rms"],
        result["lateral_speed_error_rms"],
        result["yaw_rate_error_rms"],
    ] == pytest.approx(errors.tolist())
    assert result["speed_m_s_mean"] == pytest.approx(cycles.measured[:, 0].mean())
    assert result["distance_m"] == pytest.approx(PERIOD_S * speed.sum())
    assert WalkFigures(PERIOD_S).result()["speed_error_rms"] is None
