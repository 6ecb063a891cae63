"""Which feet stand: from force sensors in the feet, or from how far the joints are pushed off their targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Settings, setting
from stoch2_sim.robots.stoch2.gait import TROT, planned_stance
from stoch2_sim.robots.stoch2.geometry import NUM_LEGS, POSITION_GAIN, TORQUE_LIMIT_NM, VELOCITY_GAIN
from stoch2_sim.robots.stoch2.kinematics import foot_jacobians
from stoch2_sim.simulators.protocol import Array, Mask

# The accelerating leg itself pulls at its motors: while the gait swings a leg, more force is asked for.
_SWING_FACTOR = 3.0


@dataclass(frozen=True)
class ContactSettings(Settings):
    """How contacts are recognised."""

    contact_force_n: float = setting(4.0, "A foot stands from this force on, N", minimum=0.1, maximum=100.0)
    release_force_n: float = setting(2.0, "and until the force is below this, N", minimum=0.05, maximum=100.0)
    steady_ticks: int = setting(
        4, "A foot is at rest once it has stood for so many control periods", minimum=1, maximum=100
    )
    leaving_ticks: int = setting(
        1, "and until so many control periods before the gait lifts it", minimum=0, maximum=100
    )
    firm_force_n: float = setting(
        25.0, "A foot under this force holds half as well as one under a great force, N", minimum=0.1, maximum=1000.0
    )


class ContactEstimator:
    """Tells the standing feet of several robots.

    Args:
        measured: Whose feet have force sensors; for the others the forces are those of :func:`forces_from_joints`.
            Shape=(num_robots,).
        settings: Thresholds.
    """

    def __init__(self, measured: Mask, settings: ContactSettings) -> None:
        num_robots = len(measured)
        self._settings = settings
        self._guessed = None if measured.all() else ~measured[:, None]
        self._standing: Mask = np.zeros((num_robots, NUM_LEGS), dtype=bool)
        self._stood = np.zeros((num_robots, NUM_LEGS))

    def reset(self, selected: Mask | None = None) -> None:
        """Forget the past of the selected robots, or of all: what then stands, has for long. Shape=(num_robots,)."""
        rows = slice(None) if selected is None else selected
        self._standing[rows] = False
        self._stood[rows] = self._settings.steady_ticks

    def update(self, forces: Array, phases: Array) -> Mask:
        """Take in the force on every foot.

        Args:
            forces: Measured, or from :func:`forces_from_joints`, N. Shape=(num_robots, 4).
            phases: Phase of the gait, cycles. Shape=(num_robots,).

        Returns:
            Which feet stand. Shape=(num_robots, 4).
        """
        threshold = np.where(self._standing, self._settings.release_force_n, self._settings.contact_force_n)
        if self._guessed is not None:
            threshold = np.where(self._guessed & ~planned_stance(phases), _SWING_FACTOR * threshold, threshold)
        self._standing = forces > threshold
        self._stood = (self._stood + 1.0) * self._standing
        return self._standing

    def grip(self, forces: Array, phases: Array) -> Array:
        """How well the feet hold: a foot that has just landed, is about to leave or carries little may slide.

        Args:
            forces: As for :meth:`update`, N. Shape=(num_robots, 4).
            phases: Phase of the gait, cycles. Shape=(num_robots,).

        Returns:
            From 0 to 1. Shape=(num_robots, 4).
        """
        stays = planned_stance(np.mod(phases + self._settings.leaving_ticks * TROT.phase_step, 1.0))
        at_rest = (self._stood >= self._settings.steady_ticks) & stays
        squares = forces * forces
        return np.asarray(at_rest * squares / (squares + self._settings.firm_force_n**2))


def forces_from_joints(joints: Array, joint_velocities: Array, targets: Array, up: Array) -> Array:
    """The upward force on every foot that explains the joints' torques, as if the legs weighed nothing.

    Args:
        joints: Rad. Shape=(num_robots, 4, 3).
        joint_velocities: Rad/s. Shape=(num_robots, 4, 3).
        targets: Where the joint controller holds the joints, rad. Shape=(num_robots, 4, 3).
        up: The vertical in body axes. Shape=(num_robots, 3).

    Returns:
        N. Shape=(num_robots, 4).
    """
    wanted = POSITION_GAIN * (targets - joints) - VELOCITY_GAIN * joint_velocities
    torques = np.clip(wanted, -TORQUE_LIMIT_NM, TORQUE_LIMIT_NM)
    # What the motors do to the foot and what the ground does to it cancel out: torque + Jacobianᵀ force = 0.
    transposed = np.swapaxes(foot_jacobians(joints), -1, -2)
    forces = -np.linalg.solve(transposed, torques[..., None])[..., 0]
    upward: Array = (forces @ up[:, :, None])[..., 0]
    return upward
