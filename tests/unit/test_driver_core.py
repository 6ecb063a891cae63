"""The driver's judgement: what is rejected and why, timeouts and recovery, and limits that nothing gets past."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo_control.configuration import ConfigurationError
from demo_control.drivers.core import Command, DriverCore, DriverState, Rejection
from demo_control.drivers.limits import Limits
from demo_control.tasks import Array

MS = 1_000_000
PERIOD_NS = 20 * MS
STAMP_OFFSET = 10**18


def brake(observation: Array) -> Array:
    """A safe stop for the tests."""
    return -5.0 * observation[:1]


def make_core(largest_change: float = 100.0, timeout_s: float = 0.1) -> DriverCore:
    """A core for one actuator of ±10 that has published observation 0 at time 0."""
    limits = Limits(np.array([-10.0]), np.array([10.0]), np.array([largest_change]))
    core = DriverCore(limits, brake, timeout_s, PERIOD_NS / 1e9)
    core.observed(0, 0, STAMP_OFFSET)
    return core


def command(sequence: int = 0, value: float = 1.0) -> Command:
    """A good command for observation ``sequence`` made at ``sequence`` periods."""
    stamp = STAMP_OFFSET + sequence * PERIOD_NS
    return Command(sequence, stamp, stamp + MS, "policy", np.array([value]))


def running_core(sequence: int = 5) -> DriverCore:
    """A core that has just accepted a command for the newest observation."""
    core = make_core()
    for k in range(sequence + 1):
        core.observed(k, k * PERIOD_NS, STAMP_OFFSET + k * PERIOD_NS)
    assert core.offer(command(sequence), sequence * PERIOD_NS) is None
    return core


def test_the_first_valid_command_starts_the_run() -> None:
    core = make_core()
    assert core.state is DriverState.WAITING
    assert core.tick(PERIOD_NS, np.ones(5)).values == [0.0]
    assert core.offer(command(value=3.0), 25 * MS) is None
    assert core.state is DriverState.RUNNING
    assert core.output.values == [3.0]
    assert core.output.source == "policy"
    assert core.output.time_ns == 25 * MS
    assert core.output.observation_stamp_ns == STAMP_OFFSET


BAD = [
    (replace(command(6), values=np.array([1.0, 2.0])), Rejection.WRONG_DIMENSION),
    (replace(command(6), values=np.array([])), Rejection.WRONG_DIMENSION),
    (replace(command(6), values=np.array([[1.0]])), Rejection.WRONG_DIMENSION),
    (replace(command(6), values=np.array([np.nan])), Rejection.NON_FINITE),
    (replace(command(6), values=np.array([-np.inf])), Rejection.NON_FINITE),
    (command(7), Rejection.UNKNOWN_OBSERVATION),
    (replace(command(6), observation_stamp_ns=0), Rejection.UNKNOWN_OBSERVATION),
    (command(5), Rejection.REPLAYED),
    (command(4), Rejection.REPLAYED),
    (command(5, value=2.0), Rejection.SECOND_PUBLISHER),
    (replace(command(5), stamp_ns=1), Rejection.SECOND_PUBLISHER),
]


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_bad_commands_are_rejected_counted_and_never_applied(bad: Command, reason: Rejection) -> None:
    core = running_core(5)
    core.observed(6, 6 * PERIOD_NS, STAMP_OFFSET + 6 * PERIOD_NS)
    before = core.output
    assert core.offer(bad, 6 * PERIOD_NS + MS) is reason
    assert core.output is before
    assert core.rejections[reason] == 1
    assert core.counters()[f"rejected_{reason.value}"] == 1
    assert core.accepted == 1
    assert core.offer(command(6), 6 * PERIOD_NS + MS) is None


def test_the_age_of_the_observation_decides_on_staleness() -> None:
    at_limit, beyond = make_core(), make_core()
    assert at_limit.offer(command(), 100 * MS) is None
    assert beyond.offer(command(), 100 * MS + 1) is Rejection.STALE
    assert beyond.state is DriverState.WAITING


def test_commands_that_stay_away_end_in_the_safe_stop_and_return_from_it() -> None:
    core = running_core(5)
    now = 5 * PERIOD_NS
    assert core.expires_ns == now + 100 * MS
    core.tick(now + 100 * MS - 1, np.array([1.0]))
    assert core.state is DriverState.RUNNING
    output = core.tick(now + 100 * MS, np.array([1.0]))
    assert core.state is DriverState.STOPPED
    assert core.reason == "command_timeout"
    assert output.values == [-5.0]
    assert output.source == "driver:command_timeout"
    assert core.expires_ns is None
    assert core.tick(now + 120 * MS, np.array([0.0])).values == [0.0]
    core.observed(12, 12 * PERIOD_NS, STAMP_OFFSET + 12 * PERIOD_NS)
    assert core.offer(command(12), 12 * PERIOD_NS) is None
    assert core.state is DriverState.RUNNING
    assert core.counters()["stops"] == 1


def test_rejected_commands_do_not_hold_off_the_timeout() -> None:
    core = running_core(5)
    for late in range(1, 20):
        core.offer(replace(command(5), values=np.array([np.nan])), 5 * PERIOD_NS + late * 10 * MS)
        core.tick(5 * PERIOD_NS + late * 10 * MS, np.zeros(5))
    assert core.state is DriverState.STOPPED


def test_a_broken_sensor_does_not_break_the_stop() -> None:
    core = running_core(5)
    output = core.tick(10**9, np.array([np.nan]))
    assert output.values == [0.0]


@pytest.mark.parametrize("end", ["finish", "fault"])
def test_final_states_are_final(end: str) -> None:
    core = running_core(5)
    getattr(core, end)("because", 6 * PERIOD_NS)
    assert core.reason == "because"
    assert core.output.values == [0.0]
    core.observed(6, 6 * PERIOD_NS, STAMP_OFFSET + 6 * PERIOD_NS)
    assert core.offer(command(6), 6 * PERIOD_NS) is Rejection.NOT_ACCEPTING
    core.tick(10**10, np.ones(5))
    assert core.state is (DriverState.FINISHED if end == "finish" else DriverState.FAULT)


def test_a_fault_after_the_end_changes_nothing() -> None:
    core = running_core(5)
    core.finish("run_over", 0)
    core.fault("rail_left", 1)
    assert (core.state, core.reason) == (DriverState.FINISHED, "run_over")


def test_a_restarted_driver_does_not_take_its_predecessors_commands() -> None:
    core = make_core()
    assert core.offer(command(0, 9.0), 0) is None
    other = make_core()
    other.observed(0, 0, STAMP_OFFSET + 77)
    assert other.offer(command(0, 9.0), 0) is Rejection.UNKNOWN_OBSERVATION


def test_old_observations_are_forgotten() -> None:
    core = make_core(timeout_s=10.0)
    for k in range(1, 1500):
        core.observed(k, k, STAMP_OFFSET + k * PERIOD_NS)
    assert core.offer(command(0), 1500) is Rejection.UNKNOWN_OBSERVATION
    assert core.offer(command(1499), 1500) is None


Event = tuple[str, int, float, int]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["command", "garbage", "tick", "observe"]),
        st.integers(-2, 3),
        st.floats(allow_nan=True, allow_infinity=True, width=64),
        st.integers(0, 60 * MS),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(EVENTS, st.floats(0.01, 30.0))
def test_nothing_leaves_the_box_or_the_rate_limit_whatever_comes_in(events: list[Event], change: float) -> None:
    core, now, newest = make_core(change), 0, 0
    outputs = [core.output]
    for kind, number, value, step in events:
        now += step
        if kind == "observe":
            newest += 1
            core.observed(newest, now, STAMP_OFFSET + newest * PERIOD_NS)
        elif kind == "tick":
            core.tick(now, np.full(5, value))
        else:
            values = np.full(abs(number), value) if kind == "garbage" else np.array([value])
            core.offer(replace(command(max(0, newest + number)), values=values), now)
        if core.output is not outputs[-1]:
            outputs.append(core.output)
    for output in outputs:
        assert np.isfinite(output.values).all()
        assert -10.0 <= output.values[0] <= 10.0
    for index, later in enumerate(outputs):
        for earlier, follower in pairwise(outputs[: index + 1]):
            in_force_until = follower.time_ns
            if in_force_until > later.time_ns - PERIOD_NS or follower is later:
                assert abs(later.values[0] - earlier.values[0]) <= change + 1e-9


@given(
    st.lists(st.floats(-1e12, 1e12), min_size=3, max_size=3),
    st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3),
)
def test_limits_give_the_nearest_allowed_output(wanted: list[float], previous: list[float]) -> None:
    limits = Limits(-np.ones(3), np.ones(3), np.array([0.1, 1.0, np.inf]))
    output = limits.apply(np.array(wanted), np.array([previous]))
    lowest = np.maximum(-1.0, np.array(previous) - limits.largest_change)
    highest = np.minimum(1.0, np.array(previous) + limits.largest_change)
    np.testing.assert_allclose(output, np.clip(wanted, lowest, highest), atol=1e-12)


def test_bad_limits_and_times_are_refused() -> None:
    one = np.ones(1)
    with pytest.raises(ConfigurationError, match="shapes"):
        Limits(-one, np.ones(2), one)
    with pytest.raises(ConfigurationError, match="not empty"):
        Limits(one, -one, one)
    with pytest.raises(ConfigurationError, match="largest change"):
        Limits(-one, one, 0 * one)
    with pytest.raises(ConfigurationError, match="must allow zero"):
        DriverCore(Limits(one, 2 * one, one), brake, 0.1, 0.02)
    with pytest.raises(ConfigurationError, match="command_timeout_s"):
        DriverCore(Limits(-one, one, one), brake, 0.0, 0.02)
