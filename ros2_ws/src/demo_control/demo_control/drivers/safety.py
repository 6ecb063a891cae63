"""Whether a real robot's actuators may move, for any robot: states, reasons, who may ask for what; no ROS, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Safety(Enum):
    """The states; the values are those of demo_msgs/SafetyState."""

    IDLE = "idle"
    ENGAGING = "engaging"
    ARMED = "armed"
    STOPPING = "stopping"
    FAULT = "fault"


class SafetyRequest(str, Enum):
    """What can be asked for; the values are the services' names."""

    ARM = "arm"
    DISARM = "disarm"
    RESET = "reset"
    EMERGENCY_STOP = "emergency_stop"


_STOP = {SafetyRequest.DISARM: Safety.STOPPING, SafetyRequest.EMERGENCY_STOP: Safety.FAULT}
POSSIBLE: Mapping[Safety, Mapping[SafetyRequest, Safety]] = {
    Safety.IDLE: {SafetyRequest.ARM: Safety.ENGAGING, SafetyRequest.EMERGENCY_STOP: Safety.FAULT},
    Safety.ENGAGING: _STOP,
    Safety.ARMED: _STOP,
    Safety.STOPPING: {SafetyRequest.EMERGENCY_STOP: Safety.FAULT},
    Safety.FAULT: {SafetyRequest.RESET: Safety.IDLE, SafetyRequest.EMERGENCY_STOP: Safety.FAULT},
}
"""What each request leads to, by state; the others are refused."""


class SafetyMachine:
    """The states, changed by requests, faults and the robot's own progress.

    A fault is latched: it ends by a request alone, and not while what caused it is still there.
    """

    def __init__(self) -> None:
        self.state = Safety.IDLE
        self.reason = "start"
        self.changes = 0
        self.faults = 0
        self.is_pressed = False
        """Whether the emergency stop is held."""

    @property
    def is_active(self) -> bool:
        """Whether the robot moves or is about to, other than in a fault."""
        return self.state in (Safety.ENGAGING, Safety.ARMED, Safety.STOPPING)

    def refusal(self, request: SafetyRequest, problem: str) -> str:
        """Why a request is refused, or ''.

        Args:
            request: What is wanted.
            problem: What is wrong with the robot now, or ''.
        """
        if request not in POSSIBLE[self.state]:
            possible = ", ".join(other.value for other in POSSIBLE[self.state])
            return f"{request.value} refused: the robot is {self.state.value} ({self.reason}); possible now: {possible}"
        if request in (SafetyRequest.ARM, SafetyRequest.RESET):
            problem = "the emergency stop is pressed" if self.is_pressed else problem
            return f"{request.value} refused: {problem}" if problem else ""
        return ""

    def request(self, request: SafetyRequest, who: str, problem: str = "") -> str:
        """Ask for another state.

        Args:
            request: What is wanted.
            who: Wants it.
            problem: What is wrong with the robot now, or ''.

        Returns:
            Why it is refused, or '' if it is done.
        """
        refusal = self.refusal(request, problem)
        if refusal:
            return refusal
        if request is SafetyRequest.EMERGENCY_STOP:
            self.fault(f"emergency stop by {who}")
        else:
            self._enter(POSSIBLE[self.state][request], who)
        return ""

    def press(self, is_pressed: bool, who: str) -> None:
        """The emergency stop is pressed, or let go; only pressing it changes the state."""
        self.is_pressed = is_pressed
        if is_pressed and not (self.state is Safety.FAULT and self.reason.startswith("emergency stop")):
            self.fault(f"emergency stop by {who}")

    def fault(self, reason: str) -> None:
        """Something is wrong; the first reason stays."""
        if self.state is not Safety.FAULT or reason.startswith("emergency stop"):
            self.faults += 1
            self._enter(Safety.FAULT, reason)

    def engaged(self) -> None:
        """The robot is where it shall be."""
        if self.state is Safety.ENGAGING:
            self._enter(Safety.ARMED, "engaged")

    def stopped(self) -> None:
        """The robot has stopped."""
        if self.state is Safety.STOPPING:
            self._enter(Safety.IDLE, f"stopped ({self.reason})")

    def _enter(self, state: Safety, reason: str) -> None:
        self.state, self.reason = state, reason
        self.changes += 1
