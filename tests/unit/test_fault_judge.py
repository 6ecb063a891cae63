"""The judge of the fault campaign on logs made up by hand: what must be found is found, and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from demo_control.faults.judge import Bounds, Lives, Sent, bounds_of, judge, outside_limits, overlong, times_to_safe
from demo_control.faults.table import EITHER, GOES_ON, SILENT, STOPS

PERIOD_S = 0.02
BOUNDS = Bounds(minimum=[-10.0], maximum=[10.0], rate=[100.0], period_s=PERIOD_S, timeout_s=0.1)
STEP = 2.0  # of the rate in a period


def commanded(count: int, first: int = 0, value: float = 1.0) -> list[Sent]:
    return [Sent(PERIOD_S * k, (value,), "demo_layer", k) for k in range(first, first + count)]


def held(sent: Sent, periods: int) -> list[Sent]:
    return [replace(sent, time_s=sent.time_s + PERIOD_S * k) for k in range(1, periods + 1)]


def safe(time_s: float, sequence: int, value: float = 1.0) -> Sent:
    return Sent(time_s, (value,), "driver:command_timeout", sequence)


def stop_after_timeout() -> list[Sent]:
    """Ten commands; the last is held for the timeout, to the nanosecond."""
    log = commanded(10)
    return [*log, *held(log[-1], 4), safe(log[-1].time_s + 0.1, 9), safe(log[-1].time_s + 0.12, 9)]


def test_a_good_run_has_no_violation() -> None:
    log = [*stop_after_timeout(), *commanded(10, first=20)]
    verdict = judge(log, BOUNDS, STOPS, undone_at=16, recovered=True)
    assert verdict.failures == []
    assert verdict.commands_outside_limits == verdict.unsafe == 0
    assert verdict.time_to_safe_ms == pytest.approx(100.0)
    assert verdict.outputs == len(log)


@pytest.mark.parametrize("value", [10.001, -10.001, math.nan, math.inf, -math.inf])
def test_one_value_outside_the_box_is_found(value: float) -> None:
    log = commanded(10, value=9.5)
    log[4] = replace(log[4], values=(value,))
    assert outside_limits(log, BOUNDS) >= 1
    assert judge(log, BOUNDS, EITHER, 10, recovered=True).failures


@pytest.mark.parametrize("values", [(), (1.0, 1.0)])
def test_a_wrong_dimension_is_found(values: tuple[float, ...]) -> None:
    log = commanded(10)
    log[4] = replace(log[4], values=values)
    assert outside_limits(log, BOUNDS) == 1


def test_the_edges_of_box_and_rate_are_allowed() -> None:
    values = [10.0, 8.0, 10.0, 8.0]
    log = [replace(sent, values=(value,)) for sent, value in zip(commanded(4), values, strict=True)]
    assert outside_limits(log, BOUNDS) == 0


def test_a_change_beyond_the_rate_is_found() -> None:
    log = commanded(10)
    log[5:] = [replace(sent, values=(1.0 + STEP + 0.001,)) for sent in log[5:]]
    assert outside_limits(log, BOUNDS) == 1


def test_two_allowed_changes_within_one_period_that_add_up_are_found() -> None:
    values = [(0.0, 0.0), (PERIOD_S, 1.5), (1.4 * PERIOD_S, 3.0)]
    log = [Sent(time_s, (value,), "demo_layer", k) for k, (time_s, value) in enumerate(values)]
    assert outside_limits(log, BOUNDS) == 1
    # A period later, the first value has not been in force for a period.
    late = [*log[:2], replace(log[2], time_s=2.0 * PERIOD_S)]
    assert outside_limits(late, BOUNDS) == 0


def test_a_new_driver_begins_where_its_robot_is() -> None:
    log = [*commanded(5, value=9.0), *(replace(sent, life=1, values=(0.0,)) for sent in commanded(5))]
    assert outside_limits(log, BOUNDS) == 0
    assert overlong(log, BOUNDS) == []


def test_a_command_that_is_carried_out_for_too_long_is_unsafe() -> None:
    log = commanded(10)
    log += held(log[-1], 7)  # 140 ms
    assert len(overlong(log, BOUNDS)) == 1
    verdict = judge(log, BOUNDS, EITHER, len(log), recovered=True)
    assert verdict.unsafe == 1
    assert verdict.failures == ["1 commands carried out for too long"]


def test_timeout_and_one_period_are_allowed_and_not_more() -> None:
    log = commanded(10)
    end_s = log[-1].time_s + 0.12
    assert judge([*log, safe(end_s, 9)], BOUNDS, STOPS, 11, recovered=True).failures == []
    late = judge([*log, safe(end_s + 0.0001, 9)], BOUNDS, STOPS, 11, recovered=True)
    assert late.unsafe == 1
    assert "safe too late" in late.failures
    assert late.time_to_safe_ms == pytest.approx(120.1)


def test_a_new_command_for_the_old_one_is_no_safe_stop() -> None:
    assert list(times_to_safe(commanded(10))) == []
    assert judge(commanded(10), BOUNDS, GOES_ON, 10, recovered=True).did == "went on"


def test_what_is_expected_must_come() -> None:
    assert judge(commanded(20), BOUNDS, STOPS, 20, recovered=True).failures == ["did not stop"]
    assert judge(stop_after_timeout(), BOUNDS, GOES_ON, 16, recovered=True).failures == ["stopped: command_timeout"]


def test_a_stop_before_the_fault_is_not_its_doing() -> None:
    log = [*stop_after_timeout(), *commanded(20, first=20)]
    assert judge(log, BOUNDS, GOES_ON, len(log), injected_at=20, recovered=True).failures == []
    assert judge(log, BOUNDS, STOPS, len(log), injected_at=20, recovered=True).failures == ["did not stop"]


def test_a_second_publisher_that_is_obeyed_is_found() -> None:
    log = commanded(10)
    log[5] = replace(log[5], source="rival")
    assert judge(log, BOUNDS, EITHER, 10, recovered=True).failures == ["1 outputs of a second publisher"]


def test_who_does_not_recover_must_be_latched_for_a_reason() -> None:
    log = stop_after_timeout()
    assert judge(log, BOUNDS, STOPS, 16, recovered=False).failures == ["did not recover"]
    latched = judge(log, BOUNDS, STOPS, 16, recovered=False, latched="fell; damped", may_latch=True)
    assert latched.failures == []
    assert latched.did == "latched: fell; damped"


def test_a_robot_that_falls_where_no_number_was_wrong_is_a_failure() -> None:
    verdict = judge(stop_after_timeout(), BOUNDS, STOPS, 16, recovered=False, latched="fell; damped")
    assert verdict.failures == ["latched: fell; damped"]


def test_a_dead_driver_says_nothing() -> None:
    assert judge(commanded(3), BOUNDS, SILENT, 3, recovered=True).did == "no output while the driver was gone"


def test_a_dead_drivers_last_words_are_not_its_successors() -> None:
    lives = Lives()
    assert lives.at(1_000) == lives.newest == 0
    lives.begin(2_000)
    # Heard after the restart, said before it.
    assert lives.at(1_999) == 0
    assert lives.at(2_000) == lives.newest == 1
    lives.begin(3_000)
    assert [lives.at(stamp_ns) for stamp_ns in (1_000, 2_500, 3_500)] == [0, 1, 2]


def test_a_stop_from_before_the_fault_is_told_as_such() -> None:
    log = [*stop_after_timeout(), *commanded(10, first=20)]
    stopped = judge(log, BOUNDS, GOES_ON, len(log), injected_at=15, recovered=True)
    assert stopped.failures == ["stopped: command_timeout (since before the fault)"]
    stops = judge(log, BOUNDS, GOES_ON, len(log), injected_at=14, recovered=True)
    assert stops.failures == ["stopped: command_timeout"]


def numbered(log: list[Sent], numbers: list[int]) -> list[Sent]:
    return [replace(sent, number=number) for sent, number in zip(log, numbers, strict=True)]


def test_what_was_in_force_while_outputs_were_lost_is_not_judged_but_told() -> None:
    # Ten outputs in time, then one half a second later.
    log = [*commanded(10), *(replace(sent, time_s=sent.time_s + 0.5) for sent in commanded(5, first=10))]
    heard = numbered(log, [*range(1, 11), *range(11, 16)])
    assert len(overlong(heard, BOUNDS)) == 1, "all were heard: one command was in force for half a second"
    lossy = numbered(log, [*range(1, 11), *range(61, 66)])
    assert not overlong(lossy, BOUNDS)
    assert not list(times_to_safe(lossy))
    verdict = judge(lossy, BOUNDS, EITHER, len(lossy), recovered=True)
    assert verdict.unheard == 50
    assert "50 outputs not heard" in verdict.did
    assert not verdict.failures


def test_a_new_drivers_numbers_begin_anew() -> None:
    log = numbered(commanded(4), [98, 99, 1, 2])
    lives = [replace(sent, life=life) for sent, life in zip(log, (0, 0, 1, 1), strict=True)]
    assert judge(lives, BOUNDS, EITHER, 4, recovered=True).unheard == 0


@pytest.mark.parametrize(
    ("parameters", "rate"),
    [
        ({}, [math.inf, math.inf]),
        ({"torque_rate_limit_nmps": 100.0}, [100.0, 100.0]),
        ({"action_rate_limit_per_s": 200.0}, [400.0, 300.0]),
        ({"torque_rate_limit_nmps": 350.0, "action_rate_limit_per_s": 200.0}, [350.0, 300.0]),
    ],
)
def test_the_rate_is_what_the_driver_declares_and_none_is_too_large_where_it_declares_none(
    parameters: dict[str, float], rate: list[float]
) -> None:
    """Robots of others have limits of their own; a range need not lie around zero."""
    bounds = bounds_of([-2.0, -3.0], [2.0, 0.0], PERIOD_S, {"command_timeout_s": 0.1, **parameters})
    assert bounds == Bounds([-2.0, -3.0], [2.0, 0.0], rate, PERIOD_S, 0.1)
    leap = [replace(sent, values=(2.0 * (-1) ** sent.sequence, -1.5)) for sent in commanded(10)]
    assert (outside_limits(leap, bounds) == 0) == (min(rate) * PERIOD_S >= 4.0)
