"""The ground's inclination from the feet that stand on it.

A trotting robot stands on two feet at a time. The line through front right and back left, and the line through back
right and front left a half-cycle later, span a plane parallel to the ground, however far the robot has walked in
between: its normal needs only differences of feet that stand at the same time. A foot that is wrongly believed to
stand moves the estimate by a limited angle for as long as the belief lasts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Settings, setting
from stoch2_sim.robots.stoch2.attitude import wrapped
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S, NUM_LEGS
from stoch2_sim.robots.stoch2.vectors import cross
from stoch2_sim.simulators.protocol import Array, Mask

_BACK = np.array([3, 1])
_FRONT = np.array([0, 2])
"""Diagonals from back left to front right, and from front left to back right."""


@dataclass(frozen=True)
class SupportPlaneSettings(Settings):
    """How the ground's inclination is followed."""

    plane_time_constant_s: float = setting(
        0.1, "The estimate follows the feet with this time constant, s", minimum=0.0, maximum=10.0
    )
    plane_step_rad: float = setting(
        0.15, "A larger difference to the feet counts as this one, rad", minimum=0.001, maximum=3.0
    )
    plane_steady_ticks: int = setting(
        4, "A foot counts once it has stood for so many control periods", minimum=1, maximum=100
    )
    steepest_rad: float = setting(0.6, "Steeper ground is taken for an error, rad", minimum=0.05, maximum=1.5)


class SupportPlane:
    """Estimates the ground's normal under several robots, in their heading frames.

    Args:
        num_robots: Number of robots.
        settings: Smoothing and plausibility.
    """

    def __init__(self, num_robots: int, settings: SupportPlaneSettings) -> None:
        self._settings = settings
        self._gain = CONTROL_PERIOD_S / (CONTROL_PERIOD_S + settings.plane_time_constant_s)
        self._least_upright = math.cos(settings.steepest_rad)
        # Both diagonals, then the normal.
        self._vectors = np.zeros((num_robots, 3, 3))
        self._seen: Mask = np.zeros((num_robots, 2), dtype=bool)
        self._stood = np.zeros((num_robots, NUM_LEGS))
        self._yaw = np.zeros(num_robots)
        self._vectors[:, 2, 2] = 1.0

    def reset(self, yaw: Array, selected: Mask | None = None) -> None:
        """Take the ground of the selected robots, or of all, for level until they are seen to stand.

        Args:
            yaw: Headings of all robots, rad. Shape=(num_robots,).
            selected: Shape=(num_robots,).
        """
        rows = slice(None) if selected is None else selected
        self._vectors[rows] = 0.0
        self._vectors[rows, 2, 2] = 1.0
        self._seen[rows] = False
        # What stands at the start has stood for long.
        self._stood[rows] = self._settings.plane_steady_ticks
        self._yaw[rows] = yaw[rows]

    def update(self, feet: Array, standing: Mask, yaw: Array) -> Array:
        """Take in where the feet are.

        Args:
            feet: Relative to the trunk, heading frame, m. Shape=(num_robots, 4, 3).
            standing: Shape=(num_robots, 4).
            yaw: Headings, rad. Shape=(num_robots,).

        Returns:
            The ground's normal in the heading frame, length 1, pointing up. Shape=(num_robots, 3).
        """
        self._turn(yaw)
        self._stood = (self._stood + 1.0) * standing
        steady = self._stood >= self._settings.plane_steady_ticks
        pairs = steady[:, _FRONT] & steady[:, _BACK]
        self._vectors[:, :2] = np.where(pairs[:, :, None], feet[:, _FRONT] - feet[:, _BACK], self._vectors[:, :2])
        first: Mask = np.logical_not(self._seen.all(axis=1))
        self._seen |= pairs
        fresh = pairs.any(axis=1) & self._seen.all(axis=1)
        normal = cross(self._vectors[:, 1], self._vectors[:, 0])
        length = np.sqrt(np.einsum("ni,ni->n", normal, normal))
        fresh &= normal[:, 2] > self._least_upright * length
        if fresh.any():
            self._follow(normal / np.maximum(length, 1e-9)[:, None], fresh, first)
        return np.array(self._vectors[:, 2])

    def _turn(self, yaw: Array) -> None:
        """Express what is remembered in the heading frames of now; at 200 Hz the angles are small."""
        turned = wrapped(yaw - self._yaw)[:, None]
        x, y = self._vectors[..., 0], self._vectors[..., 1]
        x, y = x + turned * y, y - turned * x
        self._vectors[..., 0], self._vectors[..., 1] = x, y
        self._yaw = yaw

    def _follow(self, normal: Array, fresh: Mask, first: Mask) -> None:
        """Move the estimate towards the feet's plane; the first plane is taken as it is."""
        step = self._settings.plane_step_rad
        change = normal - self._vectors[:, 2]
        change = np.where(first[:, None], change, self._gain * np.minimum(np.maximum(change, -step), step))
        moved = self._vectors[:, 2] + change * fresh[:, None]
        self._vectors[:, 2] = moved / np.sqrt(np.einsum("ni,ni->n", moved, moved))[:, None]


def plane_angles(normal: Array) -> Array:
    """Roll and pitch of a robot that stands upright on the ground: uphill is a negative pitch.

    Args:
        normal: Of the ground, in the robot's heading frame. Shape=(num_robots, 3).

    Returns:
        Rad. Shape=(num_robots, 2).
    """
    angles = np.empty((len(normal), 2))
    angles[:, 0] = -np.arcsin(np.minimum(np.maximum(normal[:, 1], -1.0), 1.0))
    angles[:, 1] = np.arctan2(normal[:, 0], normal[:, 2])
    return angles
