"""What the keys mean: a velocity that they change step by step, and requests to the robot."""

from __future__ import annotations

from dataclasses import dataclass, replace

from demo_control.configuration import Settings, setting


@dataclass(frozen=True)
class DrivingSettings(Settings):
    """Steps and limits of the keys."""

    speed_step_mps: float = setting(0.05, "Change of forward speed by one key press", minimum=0.001, maximum=1.0)
    turn_step_radps: float = setting(0.1, "Change of yaw rate by one key press", minimum=0.001, maximum=3.0)
    side_step_mps: float = setting(0.02, "Change of sideways speed by one key press", minimum=0.001, maximum=1.0)
    forward_limit_mps: float = setting(0.6, "Fastest forward", minimum=0.0, maximum=10.0)
    backward_limit_mps: float = setting(0.1, "Fastest backward", minimum=0.0, maximum=10.0)
    turn_limit_radps: float = setting(0.6, "Fastest turn", minimum=0.0, maximum=10.0)
    side_limit_mps: float = setting(0.1, "Fastest sideways", minimum=0.0, maximum=10.0)


@dataclass(frozen=True)
class Velocity:
    """What the robot is asked to do, in its own axes.

    Attributes:
        forward_mps: Forward speed.
        side_mps: Speed to the left.
        turn_radps: Yaw rate, counter-clockwise.
    """

    forward_mps: float = 0.0
    side_mps: float = 0.0
    turn_radps: float = 0.0


STANDSTILL = Velocity()

QUIT = "q"
STILL = " "
REQUESTS = {
    "r": "stand_up", "g": "walk", "h": "stop", "f": "sit_down", "m": "arm", "n": "disarm", "b": "reset",
}  # fmt: skip
"""Keys of the robot's services."""
STOP_KEY, EMERGENCY = "x", "emergency_stop"
"""The key of the emergency stop, and its topic and service; only real robots have them."""

_DIRECTIONS = {
    "up": (1, 0, 0), "w": (1, 0, 0), "down": (-1, 0, 0), "s": (-1, 0, 0),
    "left": (0, 0, 1), "a": (0, 0, 1), "right": (0, 0, -1), "d": (0, 0, -1),
    "z": (0, 1, 0), "c": (0, -1, 0),
}  # fmt: skip

HELP = (
    "arrows or W/S faster, slower; A/D turn left, right; Z/C sideways; space: speed zero",
    "R rise, G go (walk), H halt (stop walking), F fold (sit down); Q quit",
    "on a real robot: X emergency stop; B reset after it, M arm (motors on), N disarm (stop, motors off)",
)
"""For people, a line each."""


def pressed(key: str, velocity: Velocity, settings: DrivingSettings) -> Velocity:
    """The velocity after a key: requests to the robot start from standstill; keys without a meaning change nothing."""
    if key in (STILL, STOP_KEY) or key in REQUESTS:
        return STANDSTILL
    if key not in _DIRECTIONS:
        return velocity
    forward, side, turn = _DIRECTIONS[key]
    return replace(
        velocity,
        forward_mps=_within(
            velocity.forward_mps + forward * settings.speed_step_mps,
            -settings.backward_limit_mps,
            settings.forward_limit_mps,
        ),
        side_mps=_within(
            velocity.side_mps + side * settings.side_step_mps, -settings.side_limit_mps, settings.side_limit_mps
        ),
        turn_radps=_within(
            velocity.turn_radps + turn * settings.turn_step_radps, -settings.turn_limit_radps, settings.turn_limit_radps
        ),
    )


def _within(value: float, minimum: float, maximum: float) -> float:
    # Rounding, so that as many steps back lead to exactly zero.
    return min(max(round(value, 6), minimum), maximum) + 0.0
