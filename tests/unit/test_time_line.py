"""From the driver's own time to ROS stamps: a clock that was set is followed, a process that was held up is not one."""

from __future__ import annotations

from demo_control.drivers.time_line import TimeLine, waited
from demo_control.nodes.messages import nanoseconds

SECOND_NS = 1_000_000_000
ORIGIN_NS = 1_700_000_000 * SECOND_NS
HELD_UP_NS = 60_000_000


def stamp_ns(line: TimeLine, own_ns: int) -> int:
    return nanoseconds(line.stamp(own_ns))


def test_a_clock_that_is_set_is_followed() -> None:
    for jump_ns in (3600 * SECOND_NS, -3600 * SECOND_NS):
        line = TimeLine(ORIGIN_NS)
        line.follow(SECOND_NS, ORIGIN_NS + SECOND_NS + jump_ns, SECOND_NS + 1000)
        assert stamp_ns(line, SECOND_NS) == ORIGIN_NS + SECOND_NS + jump_ns


def test_a_clock_that_drifts_or_is_slewed_is_not() -> None:
    line = TimeLine(ORIGIN_NS)
    line.follow(SECOND_NS, ORIGIN_NS + SECOND_NS + 1_000_000, SECOND_NS + 1000)
    assert stamp_ns(line, SECOND_NS) == ORIGIN_NS + SECOND_NS


def test_being_held_up_between_the_two_clocks_is_no_jump() -> None:
    line = TimeLine(ORIGIN_NS)
    # Own time was read, then the processor was somebody else's for 60 ms, then ROS time was read.
    line.follow(SECOND_NS, ORIGIN_NS + SECOND_NS + HELD_UP_NS, SECOND_NS + HELD_UP_NS + 1000)
    assert stamp_ns(line, SECOND_NS) == ORIGIN_NS + SECOND_NS


def test_a_jump_that_was_seen_while_held_up_is_followed_at_the_next_look() -> None:
    line = TimeLine(ORIGIN_NS)
    jumped_ns = ORIGIN_NS + 3600 * SECOND_NS
    line.follow(SECOND_NS, jumped_ns + SECOND_NS + HELD_UP_NS, SECOND_NS + HELD_UP_NS)
    line.follow(2 * SECOND_NS, jumped_ns + 2 * SECOND_NS, 2 * SECOND_NS + 1000)
    assert stamp_ns(line, 2 * SECOND_NS) == jumped_ns + 2 * SECOND_NS


def test_a_message_waited_from_when_it_came_unless_the_clock_was_set() -> None:
    now_ns, longest_ns = ORIGIN_NS, 5_000_000
    assert waited(now_ns - 2_000_000, now_ns, longest_ns) == 2_000_000
    assert waited(now_ns, now_ns, longest_ns) == 0
    for received_ns in (now_ns + 1, now_ns - longest_ns, now_ns - 3_600_000_000_000, 0, None):
        assert waited(received_ns, now_ns, longest_ns) == 0
