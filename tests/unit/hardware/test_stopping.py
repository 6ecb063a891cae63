"""How real robots stop when they are disarmed, or their driver ends."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.drivers import hardware_robot
from demo_control.drivers.safety import Safety, SafetyRequest
from demo_control.drivers.walking import Request, Walking
from demo_control.tasks import Array
from stoch2_sim.drivers.hardware_stoch2 import HardwareStoch2
from stoch2_sim.drivers.simulated_stoch2_bus import SimulatedStoch2Bus
from stoch2_sim.drivers.stoch2_motion import tread

from .robot_benches import Bench, CartBus, armed, stoch2

_TREADING = tread(np.zeros(0))


def _walking(action: Array) -> tuple[Bench, HardwareStoch2, SimulatedStoch2Bus]:
    """A Stoch2 that has walked for 2 s, and stops as slowly as it does by default."""
    bench, bus = stoch2(quick=False)
    robot = bench.robot
    assert isinstance(robot, HardwareStoch2)
    robot.request(SafetyRequest.ARM, "me")
    bench.run(2.1, action)
    robot.ask(Request.STAND_UP, "me")
    bench.run(1.7, action)
    assert robot.ask(Request.WALK, "me") == ""
    bench.run(2.0, action)
    assert robot.machine.state is Walking.WALKING
    return bench, robot, bus


@pytest.mark.parametrize("ends", ["disarmed", "run over"])
def test_a_stoch2_that_treads_stays_where_it_is_while_it_stops(ends: str) -> None:
    bench, robot, bus = _walking(_TREADING)
    if ends == "run over":
        robot.core.finish("run_over", 0)
    assert robot.request(SafetyRequest.DISARM, "me") == ""
    start = bus.truth().position[0, 0]
    bench.run(1.5, _TREADING)
    assert robot.safety.state is Safety.STOPPING
    # Half-length steps would take it 0.35 m forward.
    assert abs(bus.truth().position[0, 0] - start) < 0.05
    bench.run(2.0)
    assert robot.safety.state is Safety.IDLE


def test_a_stoch2_that_walks_comes_to_a_stop_without_falling() -> None:
    bench, robot, bus = _walking(np.zeros(20))
    assert robot.request(SafetyRequest.DISARM, "me") == ""
    bench.run(0.5)
    braked = bus.truth().position[0, 0]
    bench.run(0.5)
    assert abs(bus.truth().position[0, 0] - braked) < 0.05
    bench.run(3.0)
    assert bench.states[-2:] == [Safety.STOPPING, Safety.IDLE]


class _Clock:
    """Time that goes by as the robot waits; stands for the module ``time``."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(hardware_robot, "time", clock)
    return clock


def test_the_emergency_stop_is_heard_in_each_period_while_the_driver_ends(clock: _Clock) -> None:
    bus = CartBus()
    bench = armed(bus, stop_s=1.0)
    waits: list[float] = []

    def spin(timeout_s: float) -> None:
        waits.append(timeout_s)
        if len(waits) == 10:
            bench.robot.press(True, "button")

    bench.robot.rest(spin)
    assert waits == pytest.approx([0.02] * len(waits))
    assert bench.robot.failure == "emergency stop by button"
    # It is damped for a second, as after any emergency stop; then the driver can go.
    assert (len(waits), bus.is_on) == (60, False)


@pytest.mark.parametrize("stop", ["damp", "robot"])
def test_a_stop_may_take_as_long_as_the_wiring_says(clock: _Clock, stop: str) -> None:
    bus = CartBus()
    bench = armed(bus, stop=stop, stop_s=25.0)
    began_s = clock.now_s
    bench.robot.rest()
    assert bench.robot.safety.state is Safety.IDLE
    assert clock.now_s - began_s == pytest.approx(25.0, abs=0.1)


def test_a_stop_that_never_ends_is_given_up_once(clock: _Clock) -> None:
    bus = CartBus()
    bench = armed(bus)
    bench.robot._is_stopped = lambda: False  # type: ignore[method-assign]
    began_s = clock.now_s
    bench.robot.rest()
    assert clock.now_s - began_s == pytest.approx(bench.robot.wiring.safety.rest_limit_s(0.0), abs=0.1)
    bench.robot.close()
    assert clock.now_s - began_s == pytest.approx(bench.robot.wiring.safety.rest_limit_s(0.0), abs=0.1)
    assert (bus.is_on, bus.disconnected) == (False, True)


def test_nobody_arms_a_robot_whose_driver_ends(clock: _Clock) -> None:
    bench = armed(CartBus())
    bench.robot.rest()
    assert bench.robot.request(SafetyRequest.ARM, "me") == "arm refused: the driver ends"
    assert bench.robot.safety.state is Safety.IDLE


def test_a_stoch2_that_a_fault_stopped_has_not_succeeded() -> None:
    bench, robot, _ = _walking(_TREADING)
    assert robot.figures.result()["success"]
    assert robot.request(SafetyRequest.EMERGENCY_STOP, "me") == ""
    bench.run(0.1, _TREADING)
    assert robot.request(SafetyRequest.RESET, "me") == ""
    bench.run(0.1, _TREADING)
    result = robot.figures.result()
    assert (result["success"], result["falls"]) == (False, 0)
