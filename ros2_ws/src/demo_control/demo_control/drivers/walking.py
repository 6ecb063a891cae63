"""What a legged robot is doing, and where its joints should be meanwhile; knows neither ROS nor a clock.

Between two postures the joints follow a minimum-jerk course. While the robot walks, the gait has the joints; at the
beginning and the end of walking, gait and stance are blended, so that no target ever jumps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from demo_control.configuration import Settings, setting
from demo_control.tasks import Array


class Walking(Enum):
    """What the robot is doing; the values are those of demo_msgs/WalkingState."""

    SITTING = "sitting"
    STANDING_UP = "standing_up"
    STANDING = "standing"
    WALKING = "walking"
    STOPPING = "stopping"
    SITTING_DOWN = "sitting_down"
    DAMPED = "damped"


class Request(str, Enum):
    """What the robot can be asked for; the values are the services' names."""

    STAND_UP = "stand_up"
    WALK = "walk"
    STOP = "stop"
    SIT_DOWN = "sit_down"


POSSIBLE: Mapping[Walking, Mapping[Request, Walking]] = {
    Walking.SITTING: {Request.STAND_UP: Walking.STANDING_UP},
    Walking.STANDING_UP: {Request.SIT_DOWN: Walking.SITTING_DOWN},
    Walking.STANDING: {Request.WALK: Walking.WALKING, Request.SIT_DOWN: Walking.SITTING_DOWN},
    Walking.WALKING: {Request.STOP: Walking.STOPPING},
    Walking.STOPPING: {},
    Walking.SITTING_DOWN: {Request.STAND_UP: Walking.STANDING_UP},
    Walking.DAMPED: {},
}
"""What each request leads to, by state; the others are refused."""

_THEN = {
    Walking.STANDING_UP: Walking.STANDING,
    Walking.STOPPING: Walking.STANDING,
    Walking.SITTING_DOWN: Walking.SITTING,
}
"""What follows by itself when a state's time is over."""


@dataclass(frozen=True)
class WalkingSettings(Settings):
    """How long the changes between sitting, standing and walking take."""

    stand_up_s: float = setting(1.5, "Time to stand up, or to sit down", minimum=0.2, maximum=10.0)
    start_s: float = setting(
        0.4, "Time in which the gait takes over from standing; the gait's cycle is 0.4 s", minimum=0.0, maximum=5.0
    )
    brake_s: float = setting(
        1.0,
        "Time from a stop's beginning, while the robot still walks, for its speed to go down",
        minimum=0.0,
        maximum=10.0,
    )
    stop_s: float = setting(0.4, "Time after that in which standing takes over from the gait", minimum=0.0, maximum=5.0)

    @property
    def longest_way_to_sitting_s(self) -> float:
        """Time from walking to sitting."""
        return self.brake_s + self.stop_s + self.stand_up_s


@dataclass(frozen=True)
class Change:
    """A new state.

    Attributes:
        state: What the robot does from now on.
        reason: Why: who asked, or what happened.
        duration_s: How long the state lasts by itself; 0 without end.
    """

    state: Walking
    reason: str
    duration_s: float


def minimum_jerk(share: float) -> float:
    """The course from 0 to 1 that begins and ends at rest, without acceleration; clipped outside."""
    share = min(max(share, 0.0), 1.0)
    return share * share * share * (10.0 + share * (6.0 * share - 15.0))


class WalkingMachine:
    """The states, one tick at a time.

    Args:
        settings: Durations.
        sitting: Joint positions, radians; any shape.
        standing: Joint positions, the same shape.
    """

    def __init__(self, settings: WalkingSettings, sitting: Array, standing: Array) -> None:
        self._settings = settings
        self._goals = {Walking.STANDING_UP: standing, Walking.SITTING_DOWN: sitting}
        self._postures = {Walking.STANDING: standing, Walking.SITTING: sitting}
        self._standing = standing
        self._targets: Array = sitting.copy()
        self._from = self._targets
        self._began_s = 0.0
        self._time_s = 0.0
        self._blend_from = 0.0
        self.change = Change(Walking.SITTING, "start", 0.0)

    @property
    def state(self) -> Walking:
        """What the robot is doing."""
        return self.change.state

    @property
    def reason(self) -> str:
        """Why."""
        return self.change.reason

    @property
    def gait_runs(self) -> bool:
        """Whether the gait's clock runs."""
        return self.state in (Walking.WALKING, Walking.STOPPING)

    @property
    def walks(self) -> bool:
        """Whether commands for speed and direction are followed."""
        return self.state is Walking.WALKING

    @property
    def blend(self) -> float:
        """Share of the gait in the joint targets, the rest being the stance; 1 when the robot really walks."""
        if self.state is Walking.WALKING:
            return self._course(self._blend_from, 1.0, 0.0, self._settings.start_s)
        if self.state is Walking.STOPPING:
            return self._course(self._blend_from, 0.0, self._settings.brake_s, self._settings.stop_s)
        return 0.0

    def _course(self, start: float, end: float, delay_s: float, duration_s: float) -> float:
        """A smooth course from one value to another that begins ``delay_s`` after the state did."""
        since_s = self._time_s - self._began_s - delay_s
        share = 1.0 if duration_s <= 0.0 and since_s >= 0.0 else since_s / max(duration_s, 1e-9)
        return start + (end - start) * minimum_jerk(share)

    def refusal(self, request: Request) -> str:
        """Why a request is refused in the present state, or '' if it is not."""
        if request in POSSIBLE[self.state]:
            return ""
        doing = self.state.value.replace("_", " ")
        because = f" ({self.reason})" if self.state is Walking.DAMPED else ""
        possible = ", ".join(other.value for other in POSSIBLE[self.state]) or "nothing"
        return f"{request.value} refused: the robot is {doing}{because}; possible now: {possible}"

    def request(self, request: Request, reason: str) -> str:
        """Ask for another state.

        Args:
            request: What is wanted.
            reason: Who wants it, or why.

        Returns:
            Why it is refused, or '' if it is done.
        """
        refusal = self.refusal(request)
        if not refusal:
            self._enter(POSSIBLE[self.state][request], reason)
        return refusal

    def engage(self, measured: Array, duration_s: float, reason: str) -> None:
        """The actuators are switched on: go from where the joints are to the sitting posture.

        Args:
            measured: Where the joints are, radians; the shape of the postures.
            duration_s: How long it takes.
            reason: Who wants it, or why.
        """
        self._targets = measured
        self._enter(Walking.SITTING_DOWN, reason)
        self.change = Change(Walking.SITTING_DOWN, reason, duration_s)

    def release(self, reason: str) -> None:
        """The actuators are off, wherever the joints are: nothing is asked of them until they are engaged."""
        if self.state is not Walking.SITTING:
            self._enter(Walking.SITTING, reason)

    def damp(self, reason: str) -> None:
        """Give up: the joints only brake from now on."""
        if self.state is not Walking.DAMPED:
            self._enter(Walking.DAMPED, reason)

    def _enter(self, state: Walking, reason: str) -> None:
        """Begin a state where the joints are."""
        settings = self._settings
        self._blend_from = self.blend
        self._from = self._targets
        self._began_s = self._time_s
        durations = {
            Walking.STANDING_UP: settings.stand_up_s,
            Walking.SITTING_DOWN: settings.stand_up_s,
            Walking.STOPPING: settings.brake_s + settings.stop_s,
        }
        self.change = Change(state, reason, durations.get(state, 0.0))

    def tick(self, time_s: float) -> None:
        """Go on to a time; a state whose time is over is followed by the next."""
        self._time_s = time_s
        follower = _THEN.get(self.state)
        # Half a nanosecond for the rounding of sums of periods.
        if follower is not None and time_s - self._began_s >= self.change.duration_s - 5e-10:
            self._enter(follower, "done")

    def targets(self, gait: Array, measured: Array) -> Array:
        """Joint targets at the present time.

        Args:
            gait: What the gait wants; looked at while :attr:`gait_runs`.
            measured: Where the joints are; looked at while the robot is damped.

        Returns:
            Radians, the same shape.
        """
        if self.state is Walking.DAMPED:
            # Where the joints are: the position term vanishes, the velocity term brakes.
            self._targets = measured
        elif self.gait_runs:
            share = self.blend
            self._targets = gait if share == 1.0 else _between(self._standing, gait, share)
        elif self.state in self._goals:
            share = minimum_jerk((self._time_s - self._began_s) / self.change.duration_s)
            self._targets = _between(self._from, self._goals[self.state], share)
        else:
            self._targets = self._postures[self.state]
        return self._targets


def _between(start: Array, end: Array, share: float) -> Array:
    """A share of the way."""
    between: Array = start + share * (end - start)
    return between
