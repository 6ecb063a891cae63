"""How a robot is put down on its ground."""

from __future__ import annotations

import math

import numpy as np

from stoch2_sim.robots.stoch2.geometry import (
    ABDUCTION_BOX_DROP_M,
    ABDUCTION_BOX_M,
    ABDUCTION_Z_M,
    FOOT_RADIUS_M,
    NEUTRAL_FOOT_M,
    NUM_LEGS,
)
from stoch2_sim.robots.stoch2.kinematics import feet_in_body, inverse
from stoch2_sim.robots.stoch2.terrain import Terrain
from stoch2_sim.simulators.protocol import Array

# Held for this long after the robot was put down, before time counts.
SETTLING_TICKS = 20
# Between the lowest feet and the ground when the robot is put down.
CLEARANCE_M = 0.001
# The lowest part of the trunk is the abduction blocks' underside.
TRUNK_UNDERSIDE_M = ABDUCTION_Z_M - ABDUCTION_BOX_DROP_M - 0.5 * ABDUCTION_BOX_M[2]

# The legs can hardly be folded more.
_SITTING_FOOT_M = (0.0, -0.13, 0.0)


def neutral_stance() -> Array:
    """Joint angles with all feet below their hip motors, as the public robot stands. Shape=(4, 3)."""
    return inverse(np.tile(NEUTRAL_FOOT_M, (NUM_LEGS, 1)))


def sitting_stance() -> Array:
    """Joint positions with folded legs. Shape=(4, 3)."""
    return inverse(np.tile(_SITTING_FOOT_M, (NUM_LEGS, 1)))


def placement(terrain: Terrain, yaw: float, joints: Array) -> tuple[Array, Array]:
    """Where the trunk is so that the robot just stands, its trunk parallel to the ground.

    Args:
        terrain: The ground.
        yaw: Heading, counter-clockwise from the world's x axis, radians.
        joints: Joint angles. Shape=(4, 3).

    Returns:
        Position of the trunk's origin, above the world's origin along the ground's normal, metres,
        Shape=(3,); orientation (w, x, y, z), Shape=(4,).
    """
    lowest = min(float(feet_in_body(joints)[:, 2].min()) - FOOT_RADIUS_M, TRUNK_UNDERSIDE_M)
    normal = np.asarray(terrain.normal)
    # The turn that leans the vertical to the normal, after the turn about the vertical.
    lean = np.array([1.0 + normal[2], -normal[1], normal[0], 0.0])
    lean /= np.linalg.norm(lean)
    cosine, sine = math.cos(0.5 * yaw), math.sin(0.5 * yaw)
    orientation = np.array(
        [
            lean[0] * cosine,
            lean[1] * cosine + lean[2] * sine,
            lean[2] * cosine - lean[1] * sine,
            lean[0] * sine,
        ]
    )
    return (CLEARANCE_M - lowest) * normal, orientation
