"""From the 20 numbers of an action to where the feet should be, at any phase of the gait cycle.

The generator of the public environment: each foot goes back along a straight line while it stands
and forward along half an ellipse while it swings. The action says for each leg how long the step
is, into which direction it goes, and by how much its centre is shifted. Nothing here has a memory:
the caller carries the phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stoch2_sim.robots.stoch2.geometry import (
    CONTROL_PERIOD_S,
    GAIT_FREQUENCY_HZ,
    LEGS,
    NEUTRAL_FOOT_HEIGHT_M,
    NUM_LEGS,
    OUTWARD_SIGNS,
)
from stoch2_sim.robots.stoch2.kinematics import inverse_clipped
from stoch2_sim.simulators.protocol import Array, Mask

ACTION_GROUPS = ("step_length", "steer", "y_shift", "x_shift", "z_shift")
ACTION_NAMES = tuple(f"{group}_{leg}" for group in ACTION_GROUPS for leg in LEGS)
NUM_ACTIONS = len(ACTION_NAMES)

MAXIMUM_STEP_M = 0.136
MAXIMUM_STEER_RAD = 0.5 * math.pi
MAXIMUM_Y_SHIFT_M = 0.038
MAXIMUM_X_SHIFT_M = 0.0418
MAXIMUM_Z_SHIFT_M = 0.035
CLEARANCE_M = 0.06
# Far forward or back the legs have less room upwards: beyond this share of the x-shift, the
# y-shift is limited along a straight line down to none.
Y_SHIFT_CORNER = 0.5619


@dataclass(frozen=True)
class Gait:
    """When which leg swings.

    Attributes:
        offsets: By how much of a cycle each leg is ahead, in the order of the legs.
        duty: Share of the cycle in which a foot stands, between 0 and 1.
        cycle_ticks: Length of a cycle in control periods.
    """

    offsets: tuple[float, float, float, float]
    duty: float
    cycle_ticks: int

    @property
    def phase_step(self) -> float:
        """By how much the phase advances in one control period, in cycles."""
        return 1.0 / self.cycle_ticks


# Diagonal legs together.
TROT = Gait((0.0, 0.5, 0.5, 0.0), 0.5, round(1.0 / (GAIT_FREQUENCY_HZ * CONTROL_PERIOD_S)))
# One leg after the other, always three on the ground.
WALK = Gait((0.0, 0.5, 0.75, 0.25), 0.75, 160)


@dataclass(frozen=True)
class Steps:
    """An action in physical units. Shape=(batch, 4) each.

    Attributes:
        length_m: Length of the step.
        steer_rad: Direction of the step, turning x (forward) away from z (outward).
        y_shift_m: How much the leg is shortened.
        x_shift_m: Shift of the step's centre forward.
        z_shift_m: Shift of the step's centre outward.
    """

    length_m: Array
    steer_rad: Array
    y_shift_m: Array
    x_shift_m: Array
    z_shift_m: Array


def steps(actions: Array) -> Steps:
    """The physical meaning of normalised actions.

    A z-shift is to the right for every leg, thus outward on the right and inward on the left.

    Args:
        actions: Clipped to [-1, 1]. Shape=(batch, 20).
    """
    groups = np.clip(actions, -1.0, 1.0).reshape(-1, len(ACTION_GROUPS), NUM_LEGS)
    length, steer, lift, x_shift, z_shift = (groups[:, index] for index in range(len(ACTION_GROUPS)))
    room = (1.0 - np.abs(x_shift)) / (1.0 - Y_SHIFT_CORNER)
    return Steps(
        length_m=(0.5 * MAXIMUM_STEP_M) * (length + 1.0),
        steer_rad=MAXIMUM_STEER_RAD * steer,
        y_shift_m=MAXIMUM_Y_SHIFT_M * np.minimum(0.5 * (lift + 1.0), room),
        x_shift_m=MAXIMUM_X_SHIFT_M * x_shift,
        z_shift_m=-MAXIMUM_Z_SHIFT_M * OUTWARD_SIGNS * z_shift,
    )


def leg_phases(phases: Array, gait: Gait = TROT) -> Array:
    """The phase of every leg, in cycles from its lift-off.

    Args:
        phases: Phase of the gait, cycles. Shape=(batch,).
        gait: Which legs swing when.

    Returns:
        Within [0, 1). Shape=(batch, 4).
    """
    fractions: Array = np.mod(np.asarray(phases)[:, None] + np.array(gait.offsets), 1.0)
    return fractions


def planned_stance(phases: Array, gait: Gait = TROT) -> Mask:
    """Which feet the gait has on the ground. Shape=(batch, 4)."""
    stance: Mask = leg_phases(phases, gait) > 1.0 - gait.duty
    return stance


def foot_targets(actions: Array, phases: Array, gait: Gait = TROT) -> Array:
    """Where the feet should be, in the leg frames.

    Args:
        actions: Normalised actions, clipped to [-1, 1]. Shape=(batch, 20).
        phases: Phase of the gait, cycles. Shape=(batch,).
        gait: Which legs swing when.

    Returns:
        Metres; always within the workspace. Shape=(batch, 4, 3).
    """
    step = steps(actions)
    fractions = leg_phases(phases, gait)
    swing = 1.0 - gait.duty
    # Half a turn in the swing, half a turn in the stance.
    angle = math.pi * np.where(fractions <= swing, fractions / swing, 1.0 + (fractions - swing) / gait.duty)
    along = -0.5 * step.length_m * np.cos(angle) + step.x_shift_m
    targets = np.empty((*fractions.shape, 3))
    targets[..., 0] = along * np.cos(step.steer_rad)
    targets[..., 1] = NEUTRAL_FOOT_HEIGHT_M + step.y_shift_m + CLEARANCE_M * np.maximum(np.sin(angle), 0.0)
    targets[..., 2] = step.z_shift_m - along * np.sin(step.steer_rad)
    return targets


def joint_targets(actions: Array, phases: Array, gait: Gait = TROT) -> Array:
    """Joint angles that put the feet where :func:`foot_targets` wants them. Shape=(batch, 4, 3)."""
    return inverse_clipped(foot_targets(actions, phases, gait))
