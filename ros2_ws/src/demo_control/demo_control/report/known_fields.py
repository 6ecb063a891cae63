"""Which fields of a recording's messages are shown: a bag defines its types itself, and may be old, or another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import numpy as np

PLAN_FIGURES = (
    "observation_age_s", "plan_age_s", "plan_time_s", "nominal_cost", "plan_cost", "predicted_gain",
    "effective_sample_size", "num_samples", "ensemble_disagreement", "followed_share", "overruns", "plans",
)  # fmt: skip
"""Of PlannerStatus; recordings of former versions have not all of them."""

_Check = Callable[[Any], bool]


def _is_whole(value: object) -> bool:
    return isinstance(value, int)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_numbers(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


_VECTOR = {f"vector.{axis}": _is_number for axis in "xyz"}
_POSE = {
    **{f"pose.pose.position.{axis}": _is_number for axis in "xyz"},
    **{f"pose.pose.orientation.{axis}": _is_number for axis in "wxyz"},
}
_NEEDED: Mapping[str, Mapping[str, _Check]] = {
    "demo_msgs/msg/Observation": {"sequence": _is_whole, "values": _are_numbers},
    "demo_msgs/msg/Action": {"observation_sequence": _is_whole, "values": _are_numbers},
    "demo_msgs/msg/PlannerStatus": {
        "observation_sequence": _is_whole, "plans": _is_whole, "plan_age_s": _is_number, "accepted": _is_whole,
        "rejection_reason": _is_text, "cost_terms": _are_texts, "nominal_costs": _are_numbers,
        "plan_costs": _are_numbers,
    },
    "demo_msgs/msg/LayerState": {
        "settings": _is_text, "cost_weights": _is_text, "commands": _is_whole, "plans": _is_whole,
    },
    "demo_msgs/msg/WalkingState": {"state": _is_text},
    "geometry_msgs/msg/Vector3Stamped": _VECTOR,
    "sensor_msgs/msg/JointState": {"name": _are_texts, "position": _are_numbers},
    "nav_msgs/msg/Odometry": _POSE,
    "std_msgs/msg/String": {"data": _is_text},
}  # fmt: skip
_KNOWN: Mapping[str, Mapping[str, _Check]] = {
    "demo_msgs/msg/PlannerStatus": dict.fromkeys(PLAN_FIGURES, _is_number),
}
"""Fields that may be missing."""


def misfit(kind: str, message: Any) -> str:  # noqa: ANN401 - a decoded message
    """What keeps a type's messages from being shown, '' where nothing does; all messages of a type are alike."""
    for name, is_right in _NEEDED.get(kind, {}).items():
        try:
            value = attrgetter(name)(message)
        except AttributeError:
            return f"no field {name}"
        if not is_right(value):
            return f"its field {name} is of another type than ours"
    for name, is_right in _KNOWN.get(kind, {}).items():
        if hasattr(message, name) and not is_right(getattr(message, name)):
            return f"its field {name} is of another type than ours"
    return ""
