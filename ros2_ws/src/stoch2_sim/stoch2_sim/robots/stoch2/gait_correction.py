"""Corrections of the gait in terms of the body: where the steps go, not how each leg's numbers change.

The policy's step length and direction are one plane vector per leg. A correction adds the same forward and sideways
step to all legs, and opposite sideways steps to front and back legs, which turns the robot; the result is written back
as length and direction. So forward speed, lateral speed and yaw rate are three independent numbers, at any speed and at
standstill alike. (Added to the numbers themselves, a direction means nothing where the length is zero.)
"""

from __future__ import annotations

import math

import numpy as np

from demo_control.quantities import Array, Quantity
from stoch2_sim.robots.stoch2.gait import MAXIMUM_STEER_RAD, MAXIMUM_X_SHIFT_M, MAXIMUM_Z_SHIFT_M
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
_ALONG, _INWARD = _STEP, _STEER
_LEFT_SIGNS = OUTWARD_SIGNS  # outward is to the left on the left
_FRONT_SIGNS = np.array([1.0, 1.0, -1.0, -1.0])
# With a larger share of the longest step the robot creeps when it turns on the spot, with a smaller one it is restless.
_SHORT_STEP = 0.2
_WIDE_COSINE = math.cos(0.25 * math.pi)
_TINY = 1e-6
_SIDEWAYS_SHIFT = OUTWARD_SIGNS * MAXIMUM_X_SHIFT_M / MAXIMUM_Z_SHIFT_M


def _additions() -> Array:
    """What a correction adds to each leg's step along and inward, its lift and its shifts. Shape=(8, 20)."""
    forward, lateral, turning, x_shift, y_shift, width, lean, crouch = np.eye(len(CORRECTION))[:, :, None]
    parts = np.zeros((len(CORRECTION), 5, NUM_LEGS))
    parts[:, _ALONG] = forward
    parts[:, _INWARD] = -_LEFT_SIGNS * (lateral + _FRONT_SIGNS * turning)
    parts[:, _LIFT] = crouch + _LEFT_SIGNS * lean
    parts[:, _X_SHIFT] = x_shift
    parts[:, _Z_SHIFT] = -y_shift - _LEFT_SIGNS * width
    return parts.reshape(len(CORRECTION), 5 * NUM_LEGS)


_ADDITIONS = _additions()


class GaitCorrection:
    """A :class:`demo_control.corrections.CorrectionMap` for the paper's 20 gait parameters."""

    name = "gait correction 2"

    def __call__(self, actions: Array, corrections: Array) -> Array:
        """Corrected actions, before they are clipped.

        Args:
            actions: Normalised gait parameters in [-1, 1]. Shape=(batch, 20).
            corrections: See :data:`CORRECTION`. Shape=(batch, 8).

        Returns:
            Shape=(batch, 20).
        """
        groups = np.array(actions, np.float64).reshape(-1, 5, NUM_LEGS)
        added = (corrections @ _ADDITIONS).reshape(-1, 5, NUM_LEGS)
        # A positive direction turns the step inward on every leg: to the left on the right, to the right on the left.
        policy_direction = MAXIMUM_STEER_RAD * groups[:, _STEER]
        ahead, aside = np.cos(policy_direction), np.sin(policy_direction)
        policy_length = 0.5 * (groups[:, _STEP] + 1.0)
        # No leg can step backward.
        along = np.maximum(policy_length * ahead + added[:, _ALONG], 0.0)
        inward = policy_length * aside + added[:, _INWARD]
        length = np.hypot(along, inward)
        # Where there is hardly a step, its direction means nothing: forward.
        missing = np.maximum(np.minimum(_SHORT_STEP, policy_length) - length, 0.0)
        direction = np.arctan2(inward, along + missing)
        groups[:, _STEP] = 2.0 * length - 1.0
        groups[:, _STEER] = direction / MAXIMUM_STEER_RAD
        # The generator turns a step's forward shift with the step. Sideways, nothing of it may remain: a foot would
        # jump by centimetres wherever the direction of a short step does.
        sideways = groups[:, _X_SHIFT] * aside
        groups[:, _LIFT:] += added[:, _LIFT:]
        # Far to the side it would take up the room of the sideways shift; there it is given up.
        wide = np.minimum(_WIDE_COSINE, ahead) + _TINY
        shift = groups[:, _X_SHIFT] * np.minimum(1.0, (np.cos(direction) + _TINY) / wide)
        groups[:, _X_SHIFT] = shift
        groups[:, _Z_SHIFT] += _SIDEWAYS_SHIFT * (sideways - shift * np.sin(direction))
        return groups.reshape(actions.shape)
