"""Between ROS messages and NumPy."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from demo_msgs.msg import Action, Observation

from demo_control.tasks import Array

_NANOSECONDS = 1_000_000_000


def nanoseconds(stamp: Time) -> int:
    """A stamp as one whole number of nanoseconds."""
    return int(stamp.sec) * _NANOSECONDS + int(stamp.nanosec)


def seconds_between(earlier: Time, later: Time) -> float:
    """Seconds from one stamp to another."""
    return (nanoseconds(later) - nanoseconds(earlier)) / _NANOSECONDS


def values_of(message: Observation | Action) -> Array:
    """The values of an observation or action, copied. Shape=(len(message.values),)."""
    return np.array(message.values, dtype=np.float64)


def answer(
    observation_sequence: int, observation_stamp: Time, source: str, values: Array, now: Time, plans: int = 0
) -> Action:
    """An action that answers an observation.

    Args:
        observation_sequence: Number of the observation.
        observation_stamp: Its stamp; travels along, so that the age of every command is known.
        source: Who made the action.
        values: Physical units. Shape=(action_dim,).
        now: When it was made.
        plans: Plans the layer had made.
    """
    action = Action()
    action.header.stamp = now
    action.observation_sequence = observation_sequence
    action.observation_stamp = observation_stamp
    action.source = source
    action.values = values.tolist()
    action.plans = plans
    return action
