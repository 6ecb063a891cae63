"""The true ground under several robots: what support plane and height would be, were they known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stoch2_sim.robots.stoch2.attitude import euler_angles, turned
from stoch2_sim.robots.stoch2.observation import BodyState
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.simulation import Truth
from stoch2_sim.robots.stoch2.support_plane import plane_angles
from stoch2_sim.robots.stoch2.terrain import Plane, make_terrain
from stoch2_sim.simulators.protocol import Array


class Ground:
    """The grounds of several robots.

    An uneven ground's plane is the one through the ground below the four feet, as far as four points have one: its
    normal stands across both diagonals, its height is the mean.

    Args:
        robots: Each robot's settings.
    """

    def __init__(self, robots: Sequence[RobotParameters]) -> None:
        terrains = [make_terrain(robot) for robot in robots]
        self._normals = np.array([terrain.normal for terrain in terrains])
        self._uneven = {index: terrain for index, terrain in enumerate(terrains) if not isinstance(terrain, Plane)}

    @property
    def normals(self) -> Array:
        """Normals of the planes, on the whole: stairs and rough ground count as level. Shape=(num_robots, 3)."""
        return self._normals

    def state(self, truth: Truth) -> BodyState:
        """The true state of the robots, as observations tell it.

        Args:
            truth: From the simulator.
        """
        normals, offsets = self._normals, np.zeros(len(self._normals))
        if self._uneven:
            normals, offsets = self._under_feet(truth)
        angles = euler_angles(truth.orientation)
        velocity = truth.linear_velocity.copy()
        velocity[:, :2] = turned(velocity[:, :2], -angles[:, 2])
        level = normals.copy()
        level[:, :2] = turned(normals[:, :2], -angles[:, 2])
        return BodyState(
            angles=angles,
            angular_velocity=truth.angular_velocity,
            velocity=velocity,
            height=np.einsum("ni,ni->n", normals, truth.position) - offsets,
            support=plane_angles(level),
            position=truth.position[:, :2],
        )

    def _under_feet(self, truth: Truth) -> tuple[Array, Array]:
        """Normals, and how far the planes are from the world's origin along them."""
        normals, offsets = self._normals.copy(), np.zeros(len(self._normals))
        for index, terrain in self._uneven.items():
            points = truth.foot_positions[index].copy()
            points[:, 2] = terrain.height(points[:, 0], points[:, 1])
            normal = np.cross(points[2] - points[1], points[0] - points[3])
            length = np.linalg.norm(normal)
            if normal[2] > 0.5 * length:  # feet crossed by a fall span nothing
                normals[index] = normal / length
            offsets[index] = normals[index] @ points.mean(axis=0)
        return normals, offsets
