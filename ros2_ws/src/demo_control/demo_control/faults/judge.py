"""What a robot did under a fault, judged from the log of what its driver really sent; knows neither ROS nor the driver.

All bounds are worked out here from the numbers alone, so that a mistake in the driver's limits cannot hide itself.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from demo_control.faults.table import GOES_ON, SILENT, STOPS

DRIVER_PREFIX = "driver:"
_TOLERANCE = 1e-9
_EVIDENCE = 5
RIVAL = "rival"
"""Source of the commands of a second publisher, which must never be carried out."""
# Stamps are whole nanoseconds on the driver's own time line.
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class Bounds:
    """What must hold, whatever happens.

    Attributes:
        minimum: Lower ends of the box, by entry of the action.
        maximum: Upper ends.
        rate: Largest change per second, by entry of the action.
        period_s: Control period.
        timeout_s: Longest time that a command may be carried out.
    """

    minimum: Sequence[float]
    maximum: Sequence[float]
    rate: Sequence[float]
    period_s: float
    timeout_s: float

    @property
    def safe_limit_s(self) -> float:
        """Longest time from a last command to the safe output."""
        return self.timeout_s + self.period_s


def bounds_of(
    minimum: Sequence[float], maximum: Sequence[float], period_s: float, parameters: Mapping[str, float]
) -> Bounds:
    """What must hold of a driver.

    Args:
        minimum: Lower ends of the box, by entry of the action.
        maximum: Upper ends.
        period_s: Control period.
        parameters: Of the driver, ``command_timeout_s`` among them. Those with ``rate_limit`` bound the rate: in
            half ranges where the name ends with ``_per_s``, else in the action's unit. Without one any rate is allowed.
    """
    named = {name: value for name, value in parameters.items() if "rate_limit" in name}
    half_ranges = [(high - low) / 2.0 for low, high in zip(minimum, maximum, strict=True)]
    rate = [
        min((value * (half if name.endswith("_per_s") else 1.0) for name, value in named.items()), default=math.inf)
        for half in half_ranges
    ]
    return Bounds(minimum, maximum, rate, period_s, parameters["command_timeout_s"])


@dataclass(frozen=True)
class Sent:
    """One output of the driver, as ``applied_action`` tells it.

    Attributes:
        time_s: From when on, on the driver's time line.
        values: What the actuators got.
        source: Whose command; the driver's own begin with 'driver:'.
        sequence: Number of the observation that the command answers.
        life: Which driver process it comes from, counted from 0.
        number: Of its publication; consecutive within a life where no output was lost on the way to the observer.
    """

    time_s: float
    values: tuple[float, ...]
    source: str
    sequence: int
    life: int = 0
    number: int | None = None

    def lost_before(self, later: Sent) -> int:
        """How many outputs between this one and a later one were sent and not heard."""
        if self.number is None or later.number is None or self.life != later.life:
            return 0
        return max(later.number - self.number - 1, 0)

    @property
    def is_safe(self) -> bool:
        """Whether the driver itself decided."""
        return self.source.startswith(DRIVER_PREFIX)


class Lives:
    """Which of a driver's processes an output comes from: the one that lived at its stamp.

    By when it is heard would be wrong: who listens may lag, and a dead driver's last words come after its successor.
    """

    def __init__(self) -> None:
        self._births_ns: list[int] = []

    @property
    def newest(self) -> int:
        """The process that lives now, counted from 0."""
        return len(self._births_ns)

    def begin(self, now_ns: int) -> None:
        """The one before is dead, and the next is about to be started."""
        self._births_ns.append(now_ns)

    def at(self, stamp_ns: int) -> int:
        """The process that lived at a time."""
        return bisect_right(self._births_ns, stamp_ns)


@dataclass
class Verdict:
    """What happened in one case.

    Attributes:
        did: What the robot did, in words.
        outputs: How many were looked at.
        unheard: How many were lost on the way to the observer: what was in force meanwhile cannot be judged.
        commands_outside_limits: Outputs outside the box or the rate, not finite, or of a wrong dimension.
        unsafe: Commands that were carried out for longer than the timeout and one period.
        time_to_safe_ms: Longest time from a last command's beginning to the safe output; None without a safe stop.
        recovered: Whether commands were carried out again after the fault's end.
        latched: Why the robot stays where it is until somebody helps, or ''.
        failures: What must not be, in words.
        evidence: The first commands that were carried out for too long, with times in seconds.
    """

    did: str = ""
    outputs: int = 0
    unheard: int = 0
    commands_outside_limits: int = 0
    unsafe: int = 0
    time_to_safe_ms: float | None = None
    recovered: bool = False
    latched: str = ""
    failures: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)


def judge(
    log: Sequence[Sent],
    bounds: Bounds,
    expected: str,
    undone_at: int,
    *,
    injected_at: int = 0,
    recovered: bool,
    latched: str = "",
    may_latch: bool = False,
) -> Verdict:
    """Judge one case.

    Args:
        log: Outputs, in their order, from shortly before the fault to the end of the case.
        bounds: What must hold.
        expected: What must come of the fault; see :mod:`demo_control.faults.table`.
        undone_at: Index in the log of the first output after the fault's cause was taken away.
        injected_at: Index of the first output after the fault.
        recovered: Whether commands were carried out again afterwards.
        latched: Why the robot cannot go on by itself, or ''.
        may_latch: Whether that may come of the fault.
    """
    times_s = list(times_to_safe(log))
    verdict = Verdict(
        outputs=len(log),
        unheard=sum(sent.lost_before(later) for sent, later in pairwise(log)),
        commands_outside_limits=outside_limits(log, bounds),
        unsafe=len(found := overlong(log, bounds)),
        evidence=found[:_EVIDENCE],
        time_to_safe_ms=round(1e3 * max(times_s), 3) if times_s else None,
        recovered=recovered,
        latched=latched,
    )
    under_fault = log[injected_at:undone_at]
    reasons = [sent.source.removeprefix(DRIVER_PREFIX) for sent in under_fault if sent.is_safe]
    stopped = bool(reasons) or (not under_fault and expected == STOPS)
    was_stopped = 0 < injected_at < undone_at and log[injected_at - 1].is_safe and log[injected_at].is_safe
    verdict.did = _told(under_fault, stopped, expected, verdict)
    if verdict.unheard:
        verdict.did += f" ({verdict.unheard} outputs not heard)"
    rivals = sum(sent.source == RIVAL for sent in log)
    checks = (
        (verdict.commands_outside_limits > 0, f"{verdict.commands_outside_limits} outputs outside the limits"),
        (verdict.unsafe > 0, f"{verdict.unsafe} commands carried out for too long"),
        (bool(times_s) and max(times_s) > bounds.safe_limit_s + _ROUNDING_S, "safe too late"),
        (rivals > 0, f"{rivals} outputs of a second publisher"),
        (expected == STOPS and not stopped, "did not stop"),
        (expected == GOES_ON and stopped, _stop_told(reasons, was_stopped)),
        (not recovered and not latched, "did not recover"),
        (bool(latched) and not may_latch, f"latched: {latched}"),
    )
    verdict.failures = [text for failed, text in checks if failed]
    return verdict


def _stop_told(reasons: Sequence[str], was_stopped: bool) -> str:
    """A stop that should not have been, and whether the fault can have caused it."""
    since = " (since before the fault)" if was_stopped else ""
    return f"stopped: {', '.join(dict.fromkeys(reasons))}{since}"


def _told(under_fault: Sequence[Sent], stopped: bool, expected: str, verdict: Verdict) -> str:
    """What the robot did, in words."""
    if verdict.latched:
        return f"latched: {verdict.latched}"
    if expected == SILENT:
        return "no output while the driver was gone"
    if not under_fault:
        return "did not begin"
    if stopped and under_fault[-1].is_safe:
        return "stopped safely"
    return "stopped safely, went on meanwhile" if stopped else "went on"


def outside_limits(log: Sequence[Sent], bounds: Bounds) -> int:
    """Outputs that no actuator may get: not finite, of a wrong dimension, outside the box, or too large a change.

    Within a control period, outputs may change by as much as the rate allows in one period, however many there are.
    """
    return sum(not _in_box(sent.values, bounds) or _jumps(log, index, bounds) for index, sent in enumerate(log))


def _in_box(values: Sequence[float], bounds: Bounds) -> bool:
    if len(values) != len(bounds.minimum):
        return False
    box = zip(values, bounds.minimum, bounds.maximum, strict=True)
    # Written so that NaN is outside.
    return all(low - _TOLERANCE <= value <= high + _TOLERANCE for value, low, high in box)


def _jumps(log: Sequence[Sent], index: int, bounds: Bounds) -> bool:
    """Whether an output is too far from one that was in force within the control period before it."""
    sent = log[index]
    for earlier, later in _before(log, index):
        if earlier.life != sent.life or len(earlier.values) != len(sent.values):
            return False
        # ``earlier`` was in force until ``later`` came.
        since_s = sent.time_s - later.time_s
        if since_s >= bounds.period_s - _ROUNDING_S:
            return False
        # Where outputs were not heard, those between may have changed, period by period.
        unheard = max(1, math.ceil((later.time_s - earlier.time_s) / bounds.period_s - _ROUNDING_S))
        changes = zip(sent.values, earlier.values, bounds.rate, strict=True)
        if any(not abs(new - old) <= rate * bounds.period_s * unheard + _TOLERANCE for new, old, rate in changes):
            return True
    return False


def _before(log: Sequence[Sent], index: int) -> Iterator[tuple[Sent, Sent]]:
    """Pairs of an output and its follower, from the one just before ``index`` back in time."""
    for later in range(index, 0, -1):
        yield log[later - 1], log[later]


def runs(log: Sequence[Sent]) -> Iterator[tuple[Sent, Sent, Sent | None]]:
    """Each command that was carried out: its first output, its last, and the output that followed, or None.

    Where outputs were lost, what followed is not known, and what comes next counts as another command.
    """
    start = 0
    for index in range(1, len(log) + 1):
        first = log[start]
        after = log[index] if index < len(log) else None
        last = log[index - 1]
        if after is not None and last.lost_before(after):
            after = None
        elif after is not None and _key(after) == _key(first):
            continue
        if not first.is_safe:
            yield first, last, after
        start = index


def _key(sent: Sent) -> tuple[bool, int, int]:
    return sent.is_safe, sent.sequence, sent.life


def overlong(log: Sequence[Sent], bounds: Bounds) -> list[str]:
    """Commands that were in force for longer than the timeout and one period."""
    limit_s = bounds.safe_limit_s + _ROUNDING_S
    found = []
    for first, last, after in runs(log):
        same_life = after is not None and after.life == first.life
        end_s = after.time_s if after is not None and same_life else last.time_s
        if end_s - first.time_s > limit_s:
            then = "nothing" if after is None else f"'{after.source}' {after.sequence} at {after.time_s:.6f}"
            span = f"{first.time_s:.6f} to {last.time_s:.6f}"
            found.append(f"'{first.source}' {first.sequence} from {span}, then {then}")
    return found


def times_to_safe(log: Sequence[Sent]) -> Iterator[float]:
    """Seconds from the beginning of each command that was followed by a safe output, to that."""
    for first, _, after in runs(log):
        if after is not None and after.is_safe and after.life == first.life:
            yield after.time_s - first.time_s
