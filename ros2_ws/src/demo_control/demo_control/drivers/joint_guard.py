"""The last word on what real joints are told: position, rate, effort and travel, against the previous command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo_control.hardware.bus import JointDescription
from demo_control.hardware.wiring import JointWiring
from demo_control.tasks import Array


@dataclass(frozen=True)
class Guarded:
    """A command within the limits.

    Attributes:
        wanted: What was asked for. Shape=(num_joints,).
        values: What may be sent. Shape=(num_joints,).
        limited_by: By joint: position, rate, effort, travel, not_finite, or '' where nothing was changed.
    """

    wanted: Array
    values: Array
    limited_by: tuple[str, ...]


class JointGuard:
    """Limits of commanded joints.

    Positions stay in the joint's range and change by its rate; a joint that was found outside of its range may stay or
    come nearer, never go farther. Efforts stay in their range, change by their rate, and are 0 where they would push a
    joint on that is already beyond its range.

    Args:
        joints: Wiring of the commanded joints.
        descriptions: The same joints as their bus sees them.
        period_s: Control period.
    """

    def __init__(
        self, joints: Sequence[JointWiring], descriptions: Sequence[JointDescription], period_s: float
    ) -> None:
        self._is_effort = np.array([one.command == "effort" for one in descriptions])
        self._range = np.array([[joint.minimum, joint.maximum] for joint in joints]).T
        effort = np.array([joint.effort for joint in joints])
        self._box = np.where(self._is_effort, np.stack([-effort, effort]), self._range)
        rates = [
            joint.effort_rate if is_effort else joint.rate
            for joint, is_effort in zip(joints, self._is_effort, strict=True)
        ]
        self._change = period_s * np.array(rates)
        self._previous = np.zeros(len(joints))
        self.counts: Counter[str] = Counter()

    def begin(self, positions: Array) -> None:
        """Start from where the joints are, and from no effort.

        Args:
            positions: Measured. Shape=(num_joints,).
        """
        self._previous = np.where(self._is_effort, 0.0, positions)

    @property
    def previous(self) -> Array:
        """The command before. Shape=(num_joints,)."""
        return self._previous

    def apply(self, wanted: Array, positions: Array) -> Guarded:
        """The command nearest to what is wanted that is allowed.

        Args:
            wanted: Positions and efforts. Shape=(num_joints,).
            positions: Measured. Shape=(num_joints,).
        """
        kept = np.where(self._is_effort, 0.0, self._previous)
        values = np.where(np.isfinite(wanted), wanted, kept)
        reasons = np.where(np.isfinite(wanted), "", "not_finite").astype(object)
        # Where the last command was outside of the box, the box reaches to there, and no farther.
        boxed = np.clip(values, np.minimum(self._box[0], self._previous), np.maximum(self._box[1], self._previous))
        boxed = np.where(self._is_effort, np.clip(values, *self._box), boxed)
        reasons[(boxed != values) & ~self._is_effort] = "position"
        reasons[(boxed != values) & self._is_effort] = "effort"
        near = np.clip(boxed, self._previous - self._change, self._previous + self._change)
        reasons[near != boxed] = "rate"
        outward = ((positions > self._range[1]) & (near > 0.0)) | ((positions < self._range[0]) & (near < 0.0))
        stopped = self._is_effort & outward
        near[stopped] = 0.0
        reasons[stopped] = "travel"
        self._previous = near
        limited_by = tuple(reasons.tolist())
        self.counts.update(reason for reason in limited_by if reason)
        return Guarded(wanted, near, limited_by)
