"""Forward and inverse kinematics of Stoch2's five-bar legs, for any number of legs at once.

A leg swings about the abduction axis. In its plane the hip motor turns the thigh, the crank motor
(the knee joint) turns a crank, and a coupler carries the crank's motion to a pin on the shank just
below the elbow, where thigh and shank meet. All angles in the leg plane are directions counted
counter-clockwise from forward, with x forward and y up.

Joints are (abduction, hip, knee) in radians, feet are points (the centre of the foot's sphere) in
the leg frame unless said otherwise; see :mod:`~stoch2_sim.robots.stoch2.geometry`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stoch2_sim.robots.stoch2.geometry import (
    ABDUCTION_ORIGINS_M,
    COUPLER_M,
    CRANK_M,
    CRANK_ZERO_RAD,
    HIP_MOTOR_X_M,
    LEGS,
    MOTOR_DROP_M,
    MOTOR_SPACING_M,
    NUM_LEGS,
    OUTWARD_SIGNS,
    SHANK_BEND_RAD,
    SHANK_M,
    SHANK_PIN_M,
    THIGH_M,
    THIGH_ZERO_RAD,
)
from stoch2_sim.simulators.protocol import Array, Mask

# Where the legs' frames begin, body frame. Shape=(4, 3).
_ORIGINS_M: Array = ABDUCTION_ORIGINS_M + np.array([HIP_MOTOR_X_M, 0.0, 0.0])


class WorkspaceError(ValueError):
    """A foot target that the leg cannot reach; the text names leg and target."""


def inverse(targets: Array) -> Array:
    """Joint angles that put the feet on their targets.

    Args:
        targets: Foot points, leg frame, metres; with four rows in the last but one axis these are
            the legs in their order. Shape=(..., 3).

    Returns:
        Shape=(..., 3).

    Raises:
        WorkspaceError: A target outside the workspace; see :func:`reachable`.
    """
    targets = np.asarray(targets, dtype=np.float64)
    joints, possible = _inverse(targets)
    if not possible.all():
        index = tuple(int(number) for number in np.argwhere(~possible)[0])
        is_four = targets.ndim > 1 and targets.shape[-2] == NUM_LEGS
        leg = LEGS[index[-1]] if is_four else f"leg {list(index)}" if index else "leg"
        x, y, z = targets[index]
        raise WorkspaceError(
            f"{leg}: the foot cannot reach x = {x:.4f} m, y = {y:.4f} m, z = {z:.4f} m (leg frame: x forward of the "
            f"hip motor, y up and z outward from the abduction axis)"
        )
    return joints


def inverse_clipped(targets: Array) -> Array:
    """As :func:`inverse`, for loops: it never raises.

    For a target outside the workspace the angles are finite, but the foot does not get there. A
    target that is not finite yields angles that are not.
    """
    return _inverse(targets)[0]


def reachable(targets: Array) -> Mask:
    """Which foot targets lie within the workspace: below the motors, within reach of both chains.

    The linkage can be assembled in two ways. The workspace is that of the way in which the robot is
    built: elbow behind, coupler above the line from the elbow to the foot.

    Args:
        targets: Shape=(..., 3).

    Returns:
        Shape=(...).
    """
    return _inverse(np.asarray(targets, dtype=np.float64))[1]


def _inverse(targets: Array) -> tuple[Array, Mask]:
    """Joint angles, and where they are exact."""
    x, y, z = targets[..., 0], targets[..., 1], targets[..., 2]
    depth = np.hypot(y, z) - MOTOR_DROP_M
    # Thigh and shank, from the hip motor: the elbow lies behind.
    squared = x * x + depth * depth
    distance = np.sqrt(squared)
    cosine = (squared + (THIGH_M**2 - SHANK_M**2)) / (2.0 * THIGH_M * distance)
    thigh = np.arctan2(-depth, x) - np.arccos(np.clip(cosine, -1.0, 1.0))
    elbow_x, elbow_y = THIGH_M * np.cos(thigh), THIGH_M * np.sin(thigh)
    pin_direction = np.arctan2(-depth - elbow_y, x - elbow_x) - SHANK_BEND_RAD
    lever_x, lever_y = SHANK_PIN_M * np.cos(pin_direction), SHANK_PIN_M * np.sin(pin_direction)
    # Crank and coupler, from the crank motor: the crank's tip lies ahead.
    pin_x, pin_y = elbow_x + lever_x - MOTOR_SPACING_M, elbow_y + lever_y
    pin_squared = pin_x * pin_x + pin_y * pin_y
    pin_cosine = (pin_squared + (CRANK_M**2 - COUPLER_M**2)) / (2.0 * CRANK_M * np.sqrt(pin_squared))
    crank = np.arctan2(pin_y, pin_x) + np.arccos(np.clip(pin_cosine, -1.0, 1.0))
    coupler_x, coupler_y = CRANK_M * np.cos(crank) - pin_x, CRANK_M * np.sin(crank) - pin_y
    joints = np.stack([np.arctan2(z, -y), thigh - THIGH_ZERO_RAD, crank - CRANK_ZERO_RAD], axis=-1)
    # Pin and coupler in line is the dead point between the two assemblies.
    assembled = coupler_x * lever_y - coupler_y * lever_x < 0.0
    reached = (np.abs(cosine) <= 1.0) & (np.abs(pin_cosine) <= 1.0)
    return joints, reached & assembled & (y < 0.0) & (depth > 0.0)


class _Linkage:
    """The leg plane at given joint angles: directions and points, all of them relative to the hip motor."""

    def __init__(self, joints: Array) -> None:
        """Close the linkage.

        Args:
            joints: Shape=(..., 3).
        """
        thigh = joints[..., 1] + THIGH_ZERO_RAD
        crank = joints[..., 2] + CRANK_ZERO_RAD
        self.elbow_x, self.elbow_y = THIGH_M * np.cos(thigh), THIGH_M * np.sin(thigh)
        self.tip_x, self.tip_y = CRANK_M * np.cos(crank) + MOTOR_SPACING_M, CRANK_M * np.sin(crank)
        gap_x, gap_y = self.tip_x - self.elbow_x, self.tip_y - self.elbow_y
        squared = gap_x * gap_x + gap_y * gap_y
        cosine = (squared + (SHANK_PIN_M**2 - COUPLER_M**2)) / (2.0 * SHANK_PIN_M * np.sqrt(squared))
        pin_direction = np.arctan2(gap_y, gap_x) - np.arccos(np.clip(cosine, -1.0, 1.0))
        self.lever_x, self.lever_y = SHANK_PIN_M * np.cos(pin_direction), SHANK_PIN_M * np.sin(pin_direction)
        self.shank = pin_direction + SHANK_BEND_RAD
        self.shank_x, self.shank_y = SHANK_M * np.cos(self.shank), SHANK_M * np.sin(self.shank)
        self.foot_x, self.foot_y = self.elbow_x + self.shank_x, self.elbow_y + self.shank_y

    def coupler(self) -> tuple[Array, Array]:
        """From the crank's tip to the pin."""
        return self.elbow_x + self.lever_x - self.tip_x, self.elbow_y + self.lever_y - self.tip_y


def forward(joints: Array) -> Array:
    """Feet of joint angles; the inverse of :func:`inverse`.

    Angles at which the linkage cannot close (no real robot measures them, but noise may) are taken
    as the nearest at which it can.

    Args:
        joints: Shape=(..., 3).

    Returns:
        Foot points, leg frame, metres. Shape=(..., 3).
    """
    linkage = _Linkage(joints)
    down = MOTOR_DROP_M - linkage.foot_y
    abduction = joints[..., 0]
    return np.stack([linkage.foot_x, -down * np.cos(abduction), down * np.sin(abduction)], axis=-1)


def link_directions(joints: Array) -> tuple[Array, Array]:
    """Directions of the shank (elbow to foot) and the coupler (crank's tip to pin), which no motor turns.

    Args:
        joints: Shape=(..., 3).

    Returns:
        Radians in the leg plane, two arrays. Shape=(...) each.
    """
    linkage = _Linkage(joints)
    x, y = linkage.coupler()
    return linkage.shank, np.arctan2(y, x)


def to_body(points: Array) -> Array:
    """Points of the four leg frames in the body frame.

    Args:
        points: Shape=(..., 4, 3).

    Returns:
        Shape=(..., 4, 3).
    """
    body = np.empty_like(points)
    body[..., 0] = points[..., 0]
    body[..., 1] = OUTWARD_SIGNS * points[..., 2]
    body[..., 2] = points[..., 1]
    body += _ORIGINS_M
    return body


def feet_in_body(joints: Array) -> Array:
    """Feet of the robot's joint angles in the body frame.

    Args:
        joints: Shape=(..., 4, 3).

    Returns:
        Metres. Shape=(..., 4, 3).
    """
    return to_body(forward(joints))


def foot_jacobians(joints: Array) -> Array:
    """How the feet move in the body frame when the joints turn: velocity = Jacobian @ joint velocity.

    Args:
        joints: Shape=(..., 4, 3).

    Returns:
        Metres per radian; rows x, y, z of the body frame, columns the joints. Shape=(..., 4, 3, 3).
    """
    linkage = _Linkage(joints)
    coupler_x, coupler_y = linkage.coupler()
    # The pin moves across the coupler alone: (elbow' + shank' x lever - tip') . coupler = 0. Written
    # for one motor at a time, where a point turning about a pivot moves across the arm to it.
    leverage = linkage.lever_x * coupler_y - linkage.lever_y * coupler_x
    shank_by_hip = -(linkage.elbow_x * coupler_y - linkage.elbow_y * coupler_x) / leverage
    crank_x = linkage.tip_x - MOTOR_SPACING_M
    shank_by_knee = (crank_x * coupler_y - linkage.tip_y * coupler_x) / leverage
    sine, cosine = np.sin(joints[..., 0]), np.cos(joints[..., 0])
    down = MOTOR_DROP_M - linkage.foot_y
    jacobians: npt.NDArray[np.float64] = np.empty((*joints.shape, 3))
    jacobians[..., 0, 0] = 0.0
    jacobians[..., 1, 0] = OUTWARD_SIGNS * down * cosine
    jacobians[..., 2, 0] = down * sine
    for column, (x_rate, y_rate) in enumerate(
        (
            (
                -linkage.elbow_y - linkage.shank_y * shank_by_hip,
                linkage.elbow_x + linkage.shank_x * shank_by_hip,
            ),
            (-linkage.shank_y * shank_by_knee, linkage.shank_x * shank_by_knee),
        ),
        start=1,
    ):
        jacobians[..., 0, column] = x_rate
        jacobians[..., 1, column] = -OUTWARD_SIGNS * y_rate * sine
        jacobians[..., 2, column] = y_rate * cosine
    return jacobians


def foot_velocities(joints: Array, joint_velocities: Array) -> Array:
    """Velocities of the feet relative to the trunk, in body axes.

    Args:
        joints: Shape=(..., 4, 3).
        joint_velocities: Radians per second. Shape=(..., 4, 3).

    Returns:
        Metres per second. Shape=(..., 4, 3).
    """
    rates: Array = (foot_jacobians(joints) @ joint_velocities[..., None])[..., 0]
    return rates
