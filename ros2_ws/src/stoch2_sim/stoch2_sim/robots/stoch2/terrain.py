"""The ground under a robot: a plane of any inclination, stairs, or a rough height field.

The robot starts at the world's origin, where the ground has height 0. Terrains are plain data that
every simulator builds from, and tell their height anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.simulators.protocol import Array

STAIRS_START_M = 0.2
NUM_STAIRS = 15
_FAR_M = 20.0  # of the level ground before and behind the stairs
_DEPTH_M = 1.0  # of the stairs' blocks below their lowest step
_CELL_M = 0.04
_HALF_EXTENT_M = 6.0
_WAVES_M = (0.6, 0.24)  # spacing of the random heights that are superposed
_LEVEL_RADIUS_M = 0.35  # rough ground is level around the start
_FULL_RADIUS_M = 0.8
_BENEATH_M = 0.001  # so far below the field's lowest point goes on what lies beyond it: no foot touches both


@dataclass(frozen=True)
class Box:
    """A block of ground, turned about the vertical.

    Attributes:
        centre_m: Its middle, world.
        half_sizes_m: Half of its edges.
        yaw_rad: Direction of its first edge.
    """

    centre_m: tuple[float, float, float]
    half_sizes_m: tuple[float, float, float]
    yaw_rad: float


@dataclass(frozen=True)
class Plane:
    """Endless level or inclined ground.

    Attributes:
        slope_rad: Inclination.
        direction_rad: Where it rises, counter-clockwise from the world's x axis.
    """

    slope_rad: float = 0.0
    direction_rad: float = 0.0

    @property
    def normal(self) -> Array:
        """The unit vector up from the ground. Shape=(3,)."""
        lean = math.sin(self.slope_rad)
        return np.array(
            [-lean * math.cos(self.direction_rad), -lean * math.sin(self.direction_rad), math.cos(self.slope_rad)]
        )

    def height(self, x: Array, y: Array) -> Array:
        """Height of the ground, metres; x and y broadcast."""
        along = math.cos(self.direction_rad) * np.asarray(x) + math.sin(self.direction_rad) * np.asarray(y)
        return np.asarray(math.tan(self.slope_rad) * along)


@dataclass(frozen=True)
class Stairs:
    """A flight of stairs, up or down, between two levels.

    Attributes:
        rise_m: Height of a step; negative leads down.
        run_m: Depth of a step.
        direction_rad: Where the stairs lead, counter-clockwise from the world's x axis.
    """

    rise_m: float = 0.03
    run_m: float = 0.2
    direction_rad: float = 0.0
    normal: Array = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]), compare=False)

    def height(self, x: Array, y: Array) -> Array:
        """Height of the ground, metres; x and y broadcast."""
        along = math.cos(self.direction_rad) * np.asarray(x) + math.sin(self.direction_rad) * np.asarray(y)
        step = np.clip(np.floor((along - STAIRS_START_M) / self.run_m) + 1.0, 0, NUM_STAIRS)
        return np.asarray(self.rise_m * step)

    def boxes(self) -> tuple[Box, ...]:
        """The level before, every step, and the level behind, as blocks side by side."""
        bottom = min(0.0, NUM_STAIRS * self.rise_m) - _DEPTH_M
        blocks = []
        for step in range(NUM_STAIRS + 1):
            start = STAIRS_START_M + (step - 1) * self.run_m if step else -_FAR_M
            end = STAIRS_START_M + step * self.run_m if step < NUM_STAIRS else start + _FAR_M
            top = step * self.rise_m
            middle = 0.5 * (start + end)
            centre = (
                middle * math.cos(self.direction_rad),
                middle * math.sin(self.direction_rad),
                0.5 * (top + bottom),
            )
            blocks.append(Box(centre, (0.5 * (end - start), _FAR_M, 0.5 * (top - bottom)), self.direction_rad))
        return tuple(blocks)


@dataclass(frozen=True)
class Rough:
    """A square height field around the start, uneven by superposed random waves; level at the start and beyond it.

    Attributes:
        roughness_m: Largest difference in height.
        seed: Of the random heights.
    """

    roughness_m: float = 0.03
    seed: int = 0
    normal: Array = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]), compare=False)
    heights_m: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Draw the heights."""
        object.__setattr__(self, "heights_m", self._heights())

    @property
    def cell_m(self) -> float:
        """Distance of neighbouring heights."""
        return _CELL_M

    @property
    def half_extent_m(self) -> float:
        """From the middle to the edge of the field."""
        return _HALF_EXTENT_M

    @cached_property
    def beyond_m(self) -> float:
        """Height of the level ground around the field."""
        return float(self.heights_m.min()) - _BENEATH_M

    def _heights(self) -> Array:
        """Heights by y (rows) and x (columns), both rising. Shape=(n, n)."""
        generator = np.random.default_rng(self.seed)
        count = round(2.0 * _HALF_EXTENT_M / _CELL_M) + 1
        coordinates = np.linspace(-_HALF_EXTENT_M, _HALF_EXTENT_M, count)
        total = np.zeros((count, count))
        for wave in _WAVES_M:
            knots = np.arange(-_HALF_EXTENT_M - wave, _HALF_EXTENT_M + 2.0 * wave, wave)
            values = generator.uniform(-wave, wave, (len(knots), len(knots)))
            along_x = np.array([np.interp(coordinates, knots, row) for row in values])
            total += np.array([np.interp(coordinates, knots, column) for column in along_x.T]).T
        radius = np.hypot(coordinates[:, None], coordinates[None, :])
        share = np.clip((radius - _LEVEL_RADIUS_M) / (_FULL_RADIUS_M - _LEVEL_RADIUS_M), 0.0, 1.0)
        heights: Array = share * total / (total.max() - total.min()) * self.roughness_m
        return heights

    def height(self, x: Array, y: Array) -> Array:
        """Height of the ground, metres, bilinear between the points of the field; x and y broadcast."""
        inside = np.maximum(np.abs(x), np.abs(y)) <= _HALF_EXTENT_M
        last = len(self.heights_m) - 1.0
        columns = np.clip((np.asarray(x) + _HALF_EXTENT_M) / _CELL_M, 0.0, last - 1e-9)
        rows = np.clip((np.asarray(y) + _HALF_EXTENT_M) / _CELL_M, 0.0, last - 1e-9)
        column, row = np.floor(columns).astype(int), np.floor(rows).astype(int)
        right, up = columns - column, rows - row
        grid = self.heights_m
        lower = (1.0 - right) * grid[row, column] + right * grid[row, column + 1]
        upper = (1.0 - right) * grid[row + 1, column] + right * grid[row + 1, column + 1]
        return np.where(inside, (1.0 - up) * lower + up * upper, self.beyond_m)


Terrain = Plane | Stairs | Rough


def make_terrain(parameters: RobotParameters) -> Terrain:
    """The ground that a robot's settings describe."""
    direction = math.radians(parameters.orientation_deg)
    if parameters.terrain == "slope":
        return Plane(math.radians(parameters.slope_deg), direction)
    if parameters.terrain == "stairs":
        return Stairs(parameters.stair_rise_m, parameters.stair_run_m, direction)
    if parameters.terrain == "rough":
        return Rough(parameters.roughness_m, parameters.terrain_seed)
    return Plane()
