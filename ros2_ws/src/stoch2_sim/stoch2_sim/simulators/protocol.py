"""What every physics engine offers: :class:`Simulator`; what it is told of a robot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RobotModel:
    """A robot as the engines read it; both descriptions hold the same bodies and inertias.

    Attributes:
        mjcf: MuJoCo description, the text of the file.
        urdf: URDF description, the text of the file; also what ROS publishes as
            ``robot_description``.
        joints: Joint names, the same in both; their order is that of all positions and velocities.
        actuators: Names of the joints that are driven; their order is that of all efforts.
    """

    mjcf: str
    urdf: str
    joints: tuple[str, ...]
    actuators: tuple[str, ...]


class Simulator(Protocol):
    """Independent copies of one robot in one physics engine.

    Time is cut into control periods of ``period_s``, and those into ``substeps`` equal physics
    steps. The caller advances by any number of substeps with constant efforts, so that a control
    may change within a period (a command arriving late, a joint controller running faster than the
    policy). Nothing moves between two calls, and an instance shares no state with any other.

    Positions and velocities are joint coordinates in metres or radians, efforts newtons or newton
    metres.
    """

    @property
    def name(self) -> str:
        """The engine's name as users type it."""
        ...

    @property
    def num_robots(self) -> int:
        """Number of copies."""
        ...

    @property
    def period_s(self) -> float:
        """Length of a control period."""
        ...

    @property
    def substeps(self) -> int:
        """Physics steps in a control period."""
        ...

    @property
    def times_s(self) -> Array:
        """Simulated time since the reset as the engine itself counts it. Shape=(num_robots,)."""
        ...

    def reset(self, positions: Array, velocities: Array) -> None:
        """Put every copy into a state, its clock to zero, external forces to none.

        Args:
            positions: Shape=(num_robots, num_joints).
            velocities: Shape=(num_robots, num_joints).
        """
        ...

    def advance(self, efforts: Array, num_substeps: int, active: Mask | None = None) -> None:
        """Advance by physics steps under constant efforts, applied exactly as given.

        Args:
            efforts: Shape=(num_robots, num_actuators).
            num_substeps: Number of physics steps, 0 or more.
            active: Copies to advance; the others stay where they are. None means all.
                Shape=(num_robots,).
        """
        ...

    def positions(self) -> Array:
        """Joint positions, a copy. Shape=(num_robots, num_joints)."""
        ...

    def velocities(self) -> Array:
        """Joint velocities, a copy. Shape=(num_robots, num_joints)."""
        ...

    def set_external_force(self, body: str, forces: Array) -> None:
        """Push at a body's centre of mass from now on, until changed or reset.

        Args:
            body: Name of a body (a link of the URDF).
            forces: Newtons in world axes. Shape=(num_robots, 3).

        Raises:
            ConfigurationError: No such body, or one that this simulator cannot push.
        """
        ...

    def close(self) -> None:
        """Release the engine's resources; may be called twice."""
        ...
