"""A run that was recorded, as those see it who draw it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from demo_control.quantities import Array


@dataclass(frozen=True)
class Motion:
    """Where a robot's joints and its base were, and what pushed it.

    Attributes:
        times_s: Since the run's start, rising. Shape=(num_samples,).
        joint_names: As in the robot description.
        joints: Radians or metres. Shape=(num_samples, num_joints).
        positions: Of the base in the world, metres; None where it is not known. Shape=(num_samples, 3).
        orientations: Of the base, unit quaternions (w, x, y, z). Shape=(num_samples, 4).
        pushes: Force on the base (forward, left, up), newtons; the strongest since the sample before.
            Shape=(num_samples, 3).
    """

    times_s: Array
    joint_names: tuple[str, ...]
    joints: Array
    positions: Array | None
    orientations: Array | None
    pushes: Array

    def of(self, names: tuple[str, ...]) -> Array:
        """Some joints, in that order. Shape=(num_samples, len(names)).

        Raises:
            KeyError: A joint that was not recorded.
        """
        missing = [name for name in names if name not in self.joint_names]
        if missing:
            raise KeyError(missing[0])
        return np.asarray(self.joints[:, [self.joint_names.index(name) for name in names]])


@dataclass(frozen=True)
class RecordedRun:
    """States of one run, for pictures.

    Attributes:
        label: Who was in control.
        times_s: Since the start, rising. Shape=(num_samples,).
        observations: The true ones where they are known. Shape=(num_samples, observation_dim).
        motion: Joints and base, where they were recorded.
        parameters: Of the run's nodes: values by node and name.
    """

    label: str
    times_s: Array
    observations: Array
    motion: Motion | None = None
    parameters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def at(self, times_s: Array) -> Array:
        """The newest observations at some times, the first one before the start. Shape=(num_times, observation_dim)."""
        index = np.searchsorted(self.times_s, times_s + 1e-9, side="right") - 1
        return np.asarray(self.observations[np.maximum(index, 0)])
