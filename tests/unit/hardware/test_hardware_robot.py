"""Real robots behind the driver, on buses that this test holds: engaging, limits, faults, stops; no ROS, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError
from demo_control.drivers.core import Command, DriverState, Rejection
from demo_control.drivers.hardware_robot import HardwareRobot
from demo_control.drivers.safety import Safety, SafetyRequest
from demo_control.drivers.walking import Request, Walking
from demo_control.hardware.bus import BusDescription, JointDescription, Reading
from demo_control.tasks import Array
from stoch2_sim.drivers.hardware_stoch2 import HardwareStoch2
from stoch2_sim.robots.stoch2.placement import sitting_stance

from .robot_benches import CartBus, LegsBus, armed, cartpole, legs, stoch2


def test_nothing_is_sent_before_somebody_arms() -> None:
    bus = CartBus()
    bench = cartpole(bus)
    bench.run(0.5, np.array([5.0]))
    assert (bus.written, bus.is_on) == ([], False)
    assert bench.robot.held
    assert bench.robot.core.rejections[Rejection.NOT_ACCEPTING] == 25
    bench.robot.request(SafetyRequest.ARM, "me")
    bench.run(0.48, np.array([5.0]))
    # While engaging the motor is on and gives nothing.
    assert (bus.is_on, max(bus.written)) == (True, 0.0)
    bench.run(0.1, np.array([5.0]))
    assert bus.force == 5.0
    assert not bench.robot.held
    assert bench.states == [Safety.IDLE, Safety.ENGAGING, Safety.ARMED]


def test_it_arms_by_itself_only_when_told_to_and_commanded() -> None:
    bus = CartBus()
    bench = cartpole(bus, arm_by_itself=True)
    bench.run(0.5)
    assert bench.robot.safety.state is Safety.IDLE
    bench.run(0.7, np.array([1.0]))
    assert bench.robot.safety.state is Safety.ARMED
    assert bus.force == 1.0


def test_it_arms_by_itself_once() -> None:
    bus = CartBus()
    bench = cartpole(bus, arm_by_itself=True)
    command = np.array([0.5])
    bench.run(1.0, command)
    assert bench.robot.request(SafetyRequest.DISARM, "me") == ""
    bench.run(3.0, command)
    assert bench.states[-2:] == [Safety.STOPPING, Safety.IDLE]
    assert bench.robot.request(SafetyRequest.ARM, "me") == ""
    bench.run(0.7, command)
    assert bench.robot.safety.state is Safety.ARMED
    bus.problems = ("cart (servo 1): overload",)
    bench.run(0.1, command)
    bus.problems = ()
    bench.run(0.1, command)
    assert bench.robot.request(SafetyRequest.RESET, "me") == ""
    bench.run(0.5, command)
    assert (bench.robot.safety.state, bus.is_on) == (Safety.IDLE, False)


def test_what_cannot_be_armed_by_itself_ends_all_the_same() -> None:
    bus = CartBus()
    bench = cartpole(bus, arm_by_itself=True)
    bus.is_lost = True
    bench.run(9.5, np.array([0.5]))
    assert (bench.robot.safety.state, bench.robot.held) == (Safety.IDLE, True)
    bench.run(1.5, np.array([0.5]))
    assert bench.robot.failure == "arm refused: port gone: lost while reading"
    assert (bus.is_on, bench.robot.held) == (False, False)
    assert bench.robot.time_s > 0.5


def test_a_robot_that_can_be_armed_a_moment_later_arms_by_itself() -> None:
    bus = CartBus()
    bench = cartpole(bus, arm_by_itself=True)
    bus.problems = ("cart (servo 1): overload",)
    bench.run(5.0, np.array([0.5]))
    bus.problems = ()
    bench.run(0.7, np.array([0.5]))
    assert bench.robot.safety.state is Safety.ARMED


def test_a_fault_while_it_engages_by_itself_begins_the_run_that_must_end() -> None:
    bus = CartBus()
    bench = cartpole(bus, arm_by_itself=True)
    bench.run(0.3, np.array([0.5]))
    assert bench.robot.safety.state is Safety.ENGAGING
    bus.problems = ("cart (servo 1): overload",)
    bench.run(1.0, np.array([0.5]))
    assert (bench.robot.failure, bench.robot.held) == ("cart (servo 1): overload", False)
    assert bench.robot.time_s > 0.9


def test_who_stops_it_before_it_begins_is_there_to_begin_it() -> None:
    bus = CartBus()
    bench = cartpole(bus, arm_by_itself=True)
    bench.run(0.3, np.array([0.5]))
    bench.robot.press(True, "button")
    bench.run(20.0, np.array([0.5]))
    assert bench.robot.held


def _disarm(robot: HardwareRobot) -> None:
    assert "refused" in robot.request(SafetyRequest.DISARM, "me")


def _press_and_reset(robot: HardwareRobot) -> None:
    robot.press(True, "button")
    robot.press(False, "button")
    assert robot.request(SafetyRequest.RESET, "me") == ""


def _stop_and_reset(robot: HardwareRobot) -> None:
    assert robot.request(SafetyRequest.EMERGENCY_STOP, "me") == ""
    assert robot.request(SafetyRequest.RESET, "me") == ""


@pytest.mark.parametrize("stop", [_disarm, _press_and_reset, _stop_and_reset])
def test_what_somebody_stopped_does_not_arm_by_itself(stop: Callable[[HardwareRobot], None]) -> None:
    bus = CartBus()
    bench = cartpole(bus, arm_by_itself=True)
    bench.run(0.1)
    stop(bench.robot)
    bench.run(0.5, np.array([0.5]))
    assert (bench.robot.safety.state, bus.is_on) == (Safety.IDLE, False)


def test_a_dry_run_sends_nothing() -> None:
    bus = CartBus()
    bench = cartpole(bus, dry_run=True, arm_by_itself=True)
    bench.run(1.0, np.array([3.0]))
    assert bench.robot.safety.state is Safety.ARMED
    assert (bus.written, bus.is_on) == ([], False)
    sent = bench.robot.sent
    assert sent is not None
    assert sent.guarded.values == pytest.approx([3.0])
    assert np.isnan(sent.sent).all()


def test_without_commands_the_cart_brakes_and_goes_on_when_they_return() -> None:
    bus = CartBus()
    bench = armed(bus)
    bench.run(0.3, np.array([5.0]))
    speed = bus.velocity
    bench.run(0.12)
    assert bench.robot.core.state is DriverState.STOPPED
    bench.run(1.0)
    assert abs(bus.velocity) < 0.05 * speed
    assert bench.robot.safety.state is Safety.ARMED
    bench.run(0.1, np.array([-2.0]))
    assert bus.force == -2.0


def test_one_command_is_written_in_each_period() -> None:
    bus = CartBus()
    bench = armed(bus)
    before = len(bus.written)
    bench.run(0.2, np.array([1.0]))
    bench.run(0.2)
    assert len(bus.written) - before == 20


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda bus: setattr(bus, "ages_s", np.array([0.0, 0.2])), "joint pole has been silent for 200 ms"),
        (lambda bus: setattr(bus, "problems", ("cart (servo 1): overload",)), "cart (servo 1): overload"),
        (lambda bus: setattr(bus, "position", 2.5), "rail_left"),
        (lambda bus: setattr(bus, "position", math.nan), "a joint's position or velocity is not a number"),
        (lambda bus: setattr(bus, "is_lost", True), "port gone: lost while reading"),
    ],
)
def test_faults_stop_it_within_a_period_and_stay(break_it: Callable[[CartBus], None], reason: str) -> None:
    bus = CartBus()
    bench = armed(bus)
    bench.run(0.2, np.array([1.0]))
    break_it(bus)
    before = len(bus.written)
    bench.run(0.02, np.array([1.0]))
    assert (bench.robot.safety.state, bench.robot.failure) == (Safety.FAULT, reason)
    bench.run(3.0, np.array([9.0]))
    assert bench.robot.safety.state is Safety.FAULT
    # It brakes against its speed for a while, then lets go; the commands count for nothing.
    assert all(force <= 0.0 for force in bus.written[before:])
    assert not bus.is_on
    assert bench.robot.request(SafetyRequest.RESET, "me") == f"reset refused: {reason}"


class MuteBus(CartBus):
    """A cart that may fall silent, and goes on doing what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.silent_s = 0.0
        self.is_mute = False
        self.newest = super().read()

    def read(self) -> Reading:
        if not self.is_mute:
            self.newest = super().read()
            return self.newest
        self.silent_s += 0.02
        return replace(self.newest, ages_s=np.array([self.silent_s, 0.0]))


def test_a_cart_that_falls_silent_is_not_braked_by_the_speed_that_it_had() -> None:
    bus = MuteBus()
    bench = armed(bus)
    bench.run(0.3, np.array([5.0]))
    bus.is_mute = True
    bench.run(0.1, np.array([0.0]))
    speed = bus.velocity
    bench.run(3.0, np.array([0.0]))
    assert bench.robot.failure == "joint cart has been silent for 120 ms"
    assert (bus.velocity, bus.is_on) == (speed, False)


def test_it_goes_on_after_a_reset_and_only_then() -> None:
    bus = CartBus()
    bench = armed(bus)
    bench.robot.press(True, "button")
    bench.run(0.5, np.array([1.0]))
    bench.robot.press(False, "button")
    bench.run(2.5, np.array([1.0]))
    assert (bench.robot.safety.state, bus.is_on) == (Safety.FAULT, False)
    assert bench.robot.request(SafetyRequest.RESET, "me") == ""
    bench.run(0.2, np.array([1.0]))
    assert not bus.is_on
    assert bench.robot.request(SafetyRequest.ARM, "me") == ""
    bench.run(0.7, np.array([1.0]))
    assert bus.force == 1.0


def test_a_second_publisher_is_noticed_and_never_obeyed() -> None:
    bus = CartBus()
    bench = armed(bus)
    bench.run(0.2, np.array([1.0]))
    robot = bench.robot
    for _ in range(20):
        now_ns = bench.tick * 20_000_000
        robot.core.observed(bench.tick, now_ns, bench.tick)
        robot.sense()
        # The other one is faster, and answers first.
        robot.deliver(Command(bench.tick, bench.tick, 0, "other", np.array([-9.0]), 3), now_ns + 1000)
        bench.publication += 1
        robot.deliver(Command(bench.tick, bench.tick, 0, "test", np.array([1.0]), bench.publication), now_ns + 2000)
        robot.run_period(now_ns)
        assert bus.force == 1.0
        bench.tick += 1
    assert robot.core.rejections[Rejection.SECOND_PUBLISHER] == 20


def test_closing_brakes_and_lets_go() -> None:
    bus = CartBus()
    bench = armed(bus)
    bench.run(0.2, np.array([2.0]))
    bench.robot.close()
    assert bus.written[-1] <= 0.0
    assert (bus.is_on, bus.disconnected) == (False, True)
    assert bench.robot.safety.state is Safety.IDLE


def test_joints_that_are_not_wired_are_refused() -> None:
    bus = CartBus()
    bus.describe = lambda: BusDescription((JointDescription("cart", "effort", "m", ""),), has_imu=False)  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="joint 'pole' is not wired; wired: cart"):
        cartpole(bus)


# --- Stoch2, on the bus of its simulation: the same protocol


def test_stoch2_engages_stands_up_walks_stops_and_sits_down() -> None:
    bench, bus = stoch2()
    robot = bench.robot
    assert isinstance(robot, HardwareStoch2)
    neutral = np.zeros(20)
    assert "refused: the robot is idle" in robot.ask(Request.STAND_UP, "me")
    robot.request(SafetyRequest.ARM, "me")
    bench.run(2.1, neutral)
    assert robot.safety.state is Safety.ARMED
    assert bus.read().positions == pytest.approx(sitting_stance().ravel(), abs=0.05)
    assert robot.ask(Request.STAND_UP, "me") == ""
    bench.run(0.7, neutral)
    assert robot.ask(Request.WALK, "me") == ""
    robot.commands.receive((0.3, 0.0, 0.0), robot.time_s)
    start = bus.truth().position[0, 0]
    for _ in range(8):
        robot.commands.receive((0.3, 0.0, 0.0), robot.time_s)
        bench.run(0.25, neutral)
    assert bus.truth().position[0, 0] - start > 0.25
    assert robot.machine.state is Walking.WALKING
    robot.request(SafetyRequest.DISARM, "me")
    bench.run(2.0, neutral)
    assert robot.safety.state is Safety.IDLE
    assert bus.truth().position[0, 2] < 0.17
    assert bench.states == [Safety.IDLE, Safety.ENGAGING, Safety.ARMED, Safety.STOPPING, Safety.IDLE]


def test_stoch2_engages_without_a_jump_from_wherever_its_legs_lie() -> None:
    bench, bus = stoch2()
    odd = sitting_stance() + np.array([0.3, -0.2, 0.3])
    bus.write(odd.ravel())
    for _ in range(100):
        bench.advance()
    bench.run(0.1)
    told: list[Array] = []
    bench.robot.request(SafetyRequest.ARM, "me")
    advance = bench.advance

    def note() -> None:
        assert bench.robot.sent is not None
        told.append(bench.robot.sent.sent)
        advance()

    measured = bus.read().positions
    bench.advance = note
    bench.run(1.9)
    steps = np.abs(np.diff([measured, *told], axis=0)).max()
    # A minimum-jerk course of 2 s over 0.3 rad is at most 0.3 rad / s.
    assert steps < 0.3 * 0.005
    assert bench.robot.guard.counts["rate"] == 0


def test_a_tilted_stoch2_is_damped_and_then_let_go() -> None:
    bench, _ = stoch2()
    robot = bench.robot
    assert isinstance(robot, HardwareStoch2)
    robot.request(SafetyRequest.ARM, "me")
    bench.run(2.1, np.zeros(20))
    robot.ask(Request.STAND_UP, "me")
    bench.run(0.7, np.zeros(20))
    imu = robot.reading.imu
    assert imu is not None
    fallen = np.array([math.cos(0.4), math.sin(0.4), 0.0, 0.0])
    robot.bus.read = lambda: Reading(  # type: ignore[method-assign]
        robot.reading.positions, np.zeros(12), np.zeros(12), np.zeros(12), type(imu)(fallen, *[np.zeros(3)] * 2, 0.0)
    )
    bench.run(0.005, np.zeros(20))
    assert robot.failure == "tilted by 46°"
    assert robot.machine.state is Walking.DAMPED
    # Told where they are: the position term vanishes, the velocity term brakes.
    assert robot.sent is not None
    assert robot.sent.guarded.wanted == pytest.approx(robot.reading.positions)
    bench.run(1.2)
    assert robot.sent is None


def test_a_stoch2_that_lies_on_its_side_is_neither_reset_nor_armed() -> None:
    """Beyond the roll at which it has fallen, within the tilt limit of its wiring."""
    bus = LegsBus()
    bench = legs(bus)
    robot = bench.robot
    assert isinstance(robot, HardwareStoch2)
    bus.roll = math.radians(36.0)
    bench.run(0.2)
    assert robot.request(SafetyRequest.ARM, "me") == "arm refused: fell"
    assert not robot.figures.fell
    bus.roll = 0.0
    bench.run(0.2)
    assert robot.request(SafetyRequest.ARM, "me") == ""
    bench.run(0.5)
    bus.roll = math.radians(36.0)
    bench.run(1.5)
    assert (robot.failure, robot.figures.fell, bus.is_on) == ("fell", True, False)
    assert robot.request(SafetyRequest.RESET, "me") == "reset refused: fell"
    bus.roll = 0.0
    bench.run(0.2)
    assert robot.request(SafetyRequest.RESET, "me") == ""
