"""Where the feet are and how they move, in one pass: what estimation needs at every control tick.

The same linkage as in :mod:`~stoch2_sim.robots.stoch2.kinematics`, with its rates; there the Jacobian, here only the
velocities that belong to the measured joint velocities, which takes a fraction of the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stoch2_sim.robots.stoch2.geometry import (
    ABDUCTION_ORIGINS_M,
    COUPLER_M,
    CRANK_M,
    CRANK_ZERO_RAD,
    HIP_MOTOR_X_M,
    MOTOR_DROP_M,
    MOTOR_SPACING_M,
    OUTWARD_SIGNS,
    SHANK_BEND_RAD,
    SHANK_M,
    SHANK_PIN_M,
    THIGH_M,
    THIGH_ZERO_RAD,
)
from stoch2_sim.simulators.protocol import Array

_ZERO_RAD = np.array([0.0, THIGH_ZERO_RAD, CRANK_ZERO_RAD])
_ORIGINS_M = ABDUCTION_ORIGINS_M + np.array([HIP_MOTOR_X_M, 0.0, 0.0])


@dataclass(frozen=True)
class LegMotion:
    """The four legs relative to the trunk, in body axes. Shape=(num_robots, 4, 3) each.

    Attributes:
        feet: Centres of the feet's spheres, m.
        foot_velocities: Their velocities, m/s.
        shank_rates: Angular velocities of the shanks, rad/s.
    """

    feet: Array
    foot_velocities: Array
    shank_rates: Array


def leg_motion(joints: Array, joint_velocities: Array) -> LegMotion:
    """Forward kinematics with velocities.

    Args:
        joints: Rad. Shape=(num_robots, 4, 3).
        joint_velocities: Rad/s. Shape=(num_robots, 4, 3).
    """
    angles = joints + _ZERO_RAD
    cosine, sine = np.cos(angles), np.sin(angles)
    elbow_x, elbow_y = THIGH_M * cosine[..., 1], THIGH_M * sine[..., 1]
    crank_x, crank_y = CRANK_M * cosine[..., 2], CRANK_M * sine[..., 2]
    gap_x, gap_y = crank_x + (MOTOR_SPACING_M - elbow_x), crank_y - elbow_y
    squared = gap_x * gap_x + gap_y * gap_y
    bend = (squared + (SHANK_PIN_M**2 - COUPLER_M**2)) / (2.0 * SHANK_PIN_M * np.sqrt(squared))
    pin = np.arctan2(gap_y, gap_x) - np.arccos(np.minimum(np.maximum(bend, -1.0), 1.0))
    lever_x, lever_y = SHANK_PIN_M * np.cos(pin), SHANK_PIN_M * np.sin(pin)
    # The pin moves across the coupler alone; see kinematics.foot_jacobians.
    coupler_x, coupler_y = lever_x - gap_x, lever_y - gap_y
    hip_rate, knee_rate = joint_velocities[..., 1], joint_velocities[..., 2]
    by_hip = elbow_x * coupler_y - elbow_y * coupler_x
    by_knee = crank_x * coupler_y - crank_y * coupler_x
    shank_rate = (by_knee * knee_rate - by_hip * hip_rate) / (lever_x * coupler_y - lever_y * coupler_x)
    shank = pin + SHANK_BEND_RAD
    shank_x, shank_y = SHANK_M * np.cos(shank), SHANK_M * np.sin(shank)
    down = (MOTOR_DROP_M - elbow_y) - shank_y
    down_rate = -elbow_x * hip_rate - shank_x * shank_rate
    swing_rate = OUTWARD_SIGNS * joint_velocities[..., 0]
    inclined, upright = OUTWARD_SIGNS * sine[..., 0], cosine[..., 0]
    feet, velocities, rates = np.empty((3, *joints.shape))
    feet[..., 0] = elbow_x + shank_x
    feet[..., 1] = inclined * down
    feet[..., 2] = -upright * down
    velocities[..., 0] = -elbow_y * hip_rate - shank_y * shank_rate
    velocities[..., 1] = inclined * down_rate - swing_rate * feet[..., 2]
    velocities[..., 2] = swing_rate * feet[..., 1] - upright * down_rate
    rates[..., 0] = swing_rate
    rates[..., 1] = -shank_rate * upright
    rates[..., 2] = -shank_rate * inclined
    feet += _ORIGINS_M
    return LegMotion(feet, velocities, rates)
