"""From a driver's own time to ROS stamps."""

from __future__ import annotations

from builtin_interfaces.msg import Time

_SECOND_NS = 1_000_000_000
# Slower than any clock discipline slews, faster than anyone would miss: a larger gap means that the clock was set.
_STEP_NS = 20_000_000


class TimeLine:
    """The driver's own time begins at 0 and never jumps; ROS time is that plus an offset.

    Args:
        origin_ns: ROS time at the driver's time 0.
    """

    def __init__(self, origin_ns: int) -> None:
        self._origin_ns = origin_ns

    def stamp(self, own_ns: int) -> Time:
        """The ROS stamp of a time of the driver's own."""
        return to_message(self._origin_ns + own_ns)

    def follow(self, own_ns: int, ros_ns: int, own_after_ns: int) -> None:
        """Take over the ROS clock where it has been set anew; own time goes on as if nothing had happened.

        A process that is held up between two looks at two clocks would take that for a clock that was set, so a pair
        that took long says nothing; the next one will.

        Args:
            own_ns: The driver's own time, read before the ROS clock.
            ros_ns: The ROS clock.
            own_after_ns: The driver's own time, read after it.
        """
        origin_ns = ros_ns - own_ns
        if own_after_ns - own_ns < _STEP_NS and abs(origin_ns - self._origin_ns) > _STEP_NS:
            self._origin_ns = origin_ns


def waited(received_ns: int | None, clock_ns: int, longest_ns: int) -> int:
    """For how long a message was here before it was read, in nanoseconds.

    Args:
        received_ns: When it came, by the system's clock; None or 0 if that is not known.
        clock_ns: The system's clock now.
        longest_ns: What is longer, or negative, says that the clock was set meanwhile, and counts as 0.
    """
    waited_ns = clock_ns - received_ns if received_ns else 0
    return waited_ns if 0 <= waited_ns < longest_ns else 0


def to_message(nanoseconds: int) -> Time:
    """A stamp of a whole number of nanoseconds."""
    seconds, rest = divmod(nanoseconds, _SECOND_NS)
    return Time(sec=seconds, nanosec=rest)
