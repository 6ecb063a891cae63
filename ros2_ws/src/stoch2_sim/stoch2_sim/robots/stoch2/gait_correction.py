"""Corrections of the gait in terms of the body: where the steps go, not how each leg's numbers change.

The policy's step length and direction are one plane vector per leg. A correction adds the same forward and sideways
step to all legs, and opposite sideways steps to front and back legs, which turns the robot; the result is written back
as length and direction. So forward speed, lateral speed and yaw rate are three independent numbers, at any speed and at
standstill alike. (Added to the numbers themselves, a direction means nothing where the length is zero.)
"""

from __future__ import annotations

import numpy as np

from demo_control.quantities import Array, Quantity
from stoch2_sim.robots.stoch2.gait import MAXIMUM_STEER_RAD
from stoch2_sim.robots.stoch2.geometry import NUM_LEGS, OUTWARD_SIGNS

CORRECTION = (
    Quantity("forward_step", "1", -1.0, 1.0),
    Quantity("lateral_step", "1", -1.0, 1.0),
    Quantity("turning_step", "1", -0.6, 0.6),
    Quantity("forward_shift", "1", -1.0, 1.0),
    Quantity("lateral_shift", "1", -1.0, 1.0),
    Quantity("width", "1", -1.0, 1.0),
    Quantity("lean", "1", -1.0, 1.0),
    Quantity("crouch", "1", -1.0, 1.0),
)
"""Steps as a share of the longest step, lateral ones to the left, turning ones counter-clockwise; shifts of the feet
forward and to the left; feet further apart; legs shorter on the left and longer on the right (a lean to the left); all
legs shorter. The last five in units of the normalised action."""

_STEP, _STEER, _LIFT, _X_SHIFT, _Z_SHIFT = range(5)
_LEFT_SIGNS = OUTWARD_SIGNS  # outward is to the left on the left
_FRONT_SIGNS = np.array([1.0, 1.0, -1.0, -1.0])


class GaitCorrection:
    """A :class:`demo_control.corrections.CorrectionMap` for the paper's 20 gait parameters."""

    name = "gait correction 1"

    def __call__(self, actions: Array, corrections: Array) -> Array:
        """Corrected actions, before they are clipped.

        Args:
            actions: Normalised gait parameters in [-1, 1]. Shape=(batch, 20).
            corrections: See :data:`CORRECTION`. Shape=(batch, 8).

        Returns:
            Shape=(batch, 20).
        """
        groups = np.array(actions, np.float64).reshape(-1, 5, NUM_LEGS)
        forward, lateral, turning, x_shift, y_shift, width, lean, crouch = np.moveaxis(corrections, -1, 0)[..., None]
        length = 0.5 * (groups[:, _STEP] + 1.0)
        direction = MAXIMUM_STEER_RAD * groups[:, _STEER]
        # A positive direction turns the step inward on every leg: to the left on the right, to the right on the left.
        along = length * np.cos(direction) + forward
        across = -_LEFT_SIGNS * length * np.sin(direction) + lateral + _FRONT_SIGNS * turning
        # No leg can step backward.
        along = np.maximum(along, 0.0)
        groups[:, _STEP] = 2.0 * np.hypot(along, across) - 1.0
        groups[:, _STEER] = np.arctan2(-_LEFT_SIGNS * across, along) / MAXIMUM_STEER_RAD
        groups[:, _LIFT] += crouch + _LEFT_SIGNS * lean
        groups[:, _X_SHIFT] += x_shift
        groups[:, _Z_SHIFT] -= y_shift + _LEFT_SIGNS * width
        return groups.reshape(actions.shape)
