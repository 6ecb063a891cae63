"""Safety states and the last word on joints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.drivers.joint_guard import JointGuard
from demo_control.drivers.safety import POSSIBLE, Safety, SafetyMachine, SafetyRequest
from demo_control.hardware.bus import JointDescription
from demo_control.hardware.wiring import JointWiring

PERIOD_S = 0.01
RATE, EFFORT_RATE = 5.0, 400.0


def joint(name: str, unit: str = "rad") -> JointWiring:
    return JointWiring(name, 1, "", 1, 0.0, 1.0, unit, -1.0, 1.5, RATE, 10.0, EFFORT_RATE)


def guard() -> JointGuard:
    """A joint that takes positions, and one that takes efforts."""
    descriptions = [JointDescription("hip", "position", "rad", ""), JointDescription("cart", "effort", "m", "")]
    return JointGuard([joint("hip"), joint("cart", "m")], descriptions, PERIOD_S)


def test_the_way_to_armed_and_back() -> None:
    machine = SafetyMachine()
    assert machine.request(SafetyRequest.ARM, "me") == ""
    assert machine.state is Safety.ENGAGING
    machine.engaged()
    assert machine.state is Safety.ARMED
    assert machine.request(SafetyRequest.DISARM, "me") == ""
    machine.stopped()
    assert (machine.state, machine.reason) == (Safety.IDLE, "stopped (me)")


def test_a_fault_is_latched_until_its_cause_is_gone_and_somebody_resets() -> None:
    machine = SafetyMachine()
    machine.request(SafetyRequest.ARM, "me")
    machine.fault("joint hip is silent")
    machine.fault("joint knee is silent")
    machine.engaged()
    machine.stopped()
    assert (machine.state, machine.reason) == (Safety.FAULT, "joint hip is silent")
    assert "possible now: reset, emergency_stop" in machine.request(SafetyRequest.ARM, "me")
    assert machine.request(SafetyRequest.RESET, "me", "joint hip is silent") == "reset refused: joint hip is silent"
    assert machine.request(SafetyRequest.RESET, "me") == ""
    assert machine.state is Safety.IDLE
    assert machine.request(SafetyRequest.ARM, "me", "too cold") == "arm refused: too cold"


@pytest.mark.parametrize("state", list(Safety))
def test_the_emergency_stop_works_in_every_state(state: Safety) -> None:
    machine = SafetyMachine()
    machine.state = state
    assert SafetyRequest.EMERGENCY_STOP in POSSIBLE[state]
    machine.press(True, "button")
    assert (machine.state, machine.reason) == (Safety.FAULT, "emergency stop by button")
    assert machine.request(SafetyRequest.RESET, "me") == "reset refused: the emergency stop is pressed"
    machine.press(False, "button")
    assert machine.state is Safety.FAULT
    assert machine.request(SafetyRequest.RESET, "me") == ""


@given(st.lists(st.sampled_from([*SafetyRequest, "fault", "engaged", "stopped", True, False]), max_size=30))
def test_nothing_but_arming_leads_to_armed(events: list[object]) -> None:
    machine = SafetyMachine()
    asked = False
    for event in events:
        before = machine.state
        if isinstance(event, SafetyRequest):
            refused = machine.request(event, "me")
            asked = (asked or event is SafetyRequest.ARM) if not refused else asked
        elif isinstance(event, bool):
            machine.press(event, "button")
        elif event == "fault":
            machine.fault("broken")
        else:
            getattr(machine, str(event))()
        if machine.state is Safety.ARMED:
            assert asked
            assert before in (Safety.ARMED, Safety.ENGAGING)
        if before is Safety.FAULT and machine.state is not Safety.FAULT:
            assert event is SafetyRequest.RESET
            assert not machine.is_pressed


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(-3, 3), st.floats(-3, 3)), max_size=20), st.floats(-1.0, 1.5))
def test_nothing_leaves_the_limits(steps: list[tuple[float, float, float, float]], start: float) -> None:
    limits = guard()
    limits.begin(np.array([start, 0.7]))
    previous = np.array([start, 0.0])
    for hip, cart, hip_at, cart_at in steps:
        guarded = limits.apply(np.array([hip, cart]), np.array([hip_at, cart_at]))
        values = guarded.values
        assert np.isfinite(values).all()
        assert -1.0 <= values[0] <= 1.5
        assert -10.0 <= values[1] <= 10.0
        assert abs(values[0] - previous[0]) <= RATE * PERIOD_S + 1e-12
        # Letting go where the travel ends is always allowed at once.
        assert abs(values[1] - previous[1]) <= EFFORT_RATE * PERIOD_S + 1e-12 or values[1] == 0.0
        assert not (cart_at > 1.5 and values[1] > 0.0)
        assert not (cart_at < -1.0 and values[1] < 0.0)
        changed = [not np.array_equal(one, two) for one, two in zip(values, guarded.wanted, strict=True)]
        assert changed == [bool(reason) for reason in guarded.limited_by]
        previous = values


def test_what_limited_a_command_is_told_and_counted() -> None:
    limits = guard()
    limits.begin(np.zeros(2))
    told = [
        limits.apply(np.array(wanted), np.array([0.0, at])).limited_by
        for wanted, at in (([0.01, 1.0], 0.0), ([9.0, 99.0], 0.0), ([0.05, 5.0], 2.0), ([np.nan, np.inf], 0.0))
    ]
    assert told == [("", ""), ("rate", "rate"), ("", "travel"), ("not_finite", "not_finite")]
    assert limits.counts == {"rate": 2, "travel": 1, "not_finite": 2}


def test_a_joint_found_outside_of_its_range_comes_back_without_a_jump() -> None:
    limits = guard()
    limits.begin(np.array([2.0, 0.0]))
    courses = [limits.apply(np.array([2.5, 0.0]), np.array([2.0, 0.0])).values[0] for _ in range(3)]
    assert courses == [2.0, 2.0, 2.0]
    courses = [limits.apply(np.array([0.0, 0.0]), np.array([2.0, 0.0])).values[0] for _ in range(50)]
    assert max(np.abs(np.diff([2.0, *courses]))) <= RATE * PERIOD_S + 1e-12
    assert courses[-1] == 0.0
