"""Stoch2's URDF as text, and the joints it has beside the motors."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from stoch2_sim.robots.stoch2.geometry import JOINT_NAMES, LEGS
from stoch2_sim.robots.stoch2.kinematics import link_directions
from stoch2_sim.simulators.protocol import Array

PASSIVE_JOINTS = ("elbow", "coupler")
PASSIVE_JOINT_NAMES = tuple(f"{leg}_{joint}" for leg in LEGS for joint in PASSIVE_JOINTS)
# What ROS needs positions of to draw the robot: first the motors, then the rest.
MOVABLE_JOINT_NAMES = JOINT_NAMES + PASSIVE_JOINT_NAMES


def description() -> str:
    """The text of the URDF, as ROS publishes it in ``robot_description``."""
    return files(__package__).joinpath("stoch2.urdf").read_text(encoding="utf-8")


def passive_joint_positions(joint_positions: Array) -> Array:
    """Where elbows and couplers stand when the motors stand as given and the linkages are closed.

    Args:
        joint_positions: Angles of the motors, radians. Shape=(..., 4, 3).

    Returns:
        Radians, elbow and coupler of each leg (:data:`PASSIVE_JOINTS`). Shape=(..., 4, 2).
    """
    shank_zero, coupler_zero = link_directions(np.zeros(3))
    shank, coupler = link_directions(joint_positions)
    # Both hang from a link that a motor turns.
    elbow = shank - shank_zero - joint_positions[..., 1]
    return np.stack([elbow, coupler - coupler_zero - joint_positions[..., 2]], axis=-1)
