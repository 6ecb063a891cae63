"""What an emergency stop does to real robots: it brakes what is on, and never switches anything on."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.drivers.safety import Safety, SafetyRequest
from demo_control.hardware.bus import BusError
from demo_control.tasks import Array

from .robot_benches import CartBus, LegsBus, cartpole, legs

_PERIOD_S = 0.005


@pytest.mark.parametrize("emergency", ["damp", "hold"])
def test_the_emergency_stop_of_an_idle_robot_switches_nothing_on(emergency: str) -> None:
    bus = LegsBus()
    bench = legs(bus, emergency=emergency)
    bench.run(0.2)
    # Somebody has moved the limp legs by hand: whatever was told last is far away.
    bus.positions = bus.positions + 0.4
    bench.run(0.1)
    bench.robot.press(True, "button")
    bench.run(2.0)
    assert bench.robot.safety.state is Safety.FAULT
    assert (bus.is_on, bus.written) == (False, [])


def test_the_emergency_stop_of_an_idle_cart_gives_no_force() -> None:
    bus = CartBus()
    bench = cartpole(bus)
    bus.velocity = 0.8
    bench.run(0.04)
    assert bench.robot.request(SafetyRequest.EMERGENCY_STOP, "me") == ""
    bench.run(0.5)
    assert (bus.is_on, bus.written) == (False, [])


def test_the_emergency_stop_before_the_first_goal_switches_nothing_on() -> None:
    bus = LegsBus()
    bench = legs(bus)
    bench.run(0.1)
    assert bench.robot.request(SafetyRequest.ARM, "me") == ""
    bench.robot.press(True, "button")
    bench.run(0.5)
    assert (bus.is_on, bus.written) == (False, [])


@pytest.mark.parametrize("emergency", ["damp", "hold"])
def test_a_robot_that_was_let_go_stays_limp_however_often_the_emergency_stop_is_pressed(emergency: str) -> None:
    bus = LegsBus()
    bench = legs(bus, emergency=emergency)
    bench.run(0.1)
    bench.robot.request(SafetyRequest.ARM, "me")
    bench.run(0.5)
    bench.robot.press(True, "button")
    bench.run(0.5)
    assert bus.is_on
    bench.run(1.0)
    assert not bus.is_on
    told = len(bus.written)
    bus.positions = bus.positions - 0.5
    bench.run(0.1)
    bench.robot.press(False, "button")
    bench.robot.press(True, "button")
    assert bench.robot.request(SafetyRequest.EMERGENCY_STOP, "me") == ""
    bench.run(0.5)
    assert (bus.is_on, len(bus.written)) == (False, told)


def test_pressing_again_and_again_keeps_no_motor_on() -> None:
    bus = LegsBus()
    bench = legs(bus)
    bench.run(0.1)
    bench.robot.request(SafetyRequest.ARM, "me")
    bench.run(0.5)
    was_on = []
    for _ in range(6):
        assert bench.robot.request(SafetyRequest.EMERGENCY_STOP, "me") == ""
        bench.run(0.4)
        was_on.append(bus.is_on)
    # It is damped for one second after the first.
    assert was_on == [True, True, False, False, False, False]


def test_a_fault_goes_on_braking_when_the_emergency_stop_is_pressed_besides() -> None:
    bus = LegsBus()
    bench = legs(bus, tilt_limit_deg=45.0)
    bench.run(0.1)
    bench.robot.request(SafetyRequest.ARM, "me")
    bench.run(0.5)
    bus.roll = 1.0
    bench.run(0.1)
    assert bench.robot.failure == "tilted by 57°"
    told = len(bus.written)
    bench.robot.press(True, "button")
    bench.run(0.1)
    assert (bus.is_on, len(bus.written) - told) == (True, round(0.1 / _PERIOD_S))
    assert bench.robot.failure == "emergency stop by button"


def test_actuators_that_cannot_be_switched_on_are_tried_once_and_told_to_be_off() -> None:
    bus = CartBus()
    attempts: list[Array] = []
    stops: list[int] = []

    def refuse(values: Array) -> Array:
        attempts.append(values)
        raise BusError("motor: cannot be switched on: servo 1")

    bus.write = refuse  # type: ignore[method-assign]
    bus.stop = lambda: stops.append(len(attempts))  # type: ignore[method-assign]
    bench = cartpole(bus)
    bench.run(0.1)
    bench.robot.request(SafetyRequest.ARM, "me")
    bench.run(1.5)
    assert bench.robot.failure == "motor: cannot be switched on: servo 1"
    # What stands on the same wire may be on already.
    assert (len(attempts), stops) == (1, [1])
    assert bench.robot.sent is None


def test_the_emergency_stop_of_a_dry_run_computes_what_it_would_send_and_sends_nothing() -> None:
    bus = CartBus()
    stops: list[None] = []
    bus.stop = lambda: stops.append(None)  # type: ignore[method-assign]
    bench = cartpole(bus, dry_run=True, arm_by_itself=True)
    bench.run(1.0, np.array([3.0]))
    bench.robot.press(True, "button")
    bench.run(0.1)
    assert bench.robot.sent is not None
    bench.run(2.0)
    assert bench.robot.sent is None
    assert (bus.written, stops) == ([], [])
