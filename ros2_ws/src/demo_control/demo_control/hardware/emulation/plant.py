"""The simulated robot behind emulated devices.

A robot's package names its plant by an entry point of the group ``demo_control.emulated_plants``: the task's name, and
a function (seed, settings by name) → :class:`EmulatedPlant`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.hardware.bus import ImuReading
from demo_control.plugins import load_plugin
from demo_control.tasks import Array

PLANT_GROUP = "demo_control.emulated_plants"


@dataclass(frozen=True)
class Drive:
    """What a device does to its joint.

    Attributes:
        kind: 'off', 'effort' or 'position'.
        target: An effort or a position, joint units.
        effort_limit: Largest effort.
    """

    kind: str = "off"
    target: float = 0.0
    effort_limit: float = 0.0


@dataclass(frozen=True)
class PlantState:
    """What the devices measure.

    Attributes:
        positions: By joint. Shape=(num_joints,).
        velocities: Shape=(num_joints,).
        efforts: Shape=(num_joints,).
        imu: None where the robot has none.
    """

    positions: Array
    velocities: Array
    efforts: Array
    imu: ImuReading | None = None


class EmulatedPlant(Protocol):
    """A simulated robot that moves in small steps."""

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of all joints that a device may move or measure."""
        ...

    @property
    def step_s(self) -> float:
        """Time of a step."""
        ...

    def state(self) -> PlantState:
        """The state now."""
        ...

    def advance(self, drives: Sequence[Drive]) -> None:
        """Make a step.

        Args:
            drives: By joint.
        """
        ...

    def verdict(self) -> Mapping[str, object]:
        """The truth about the run so far, ready for JSON."""
        ...


PlantMaker = Callable[[int, Mapping[str, Scalar]], EmulatedPlant]


def make_plant(task: str, seed: int, settings: Mapping[str, Scalar]) -> EmulatedPlant:
    """The plant of an installed task.

    Raises:
        ConfigurationError: There is none, it cannot be loaded, or a setting is wrong.
    """
    points = {point.name: point for point in entry_points(group=PLANT_GROUP)}
    if task not in points:
        raise ConfigurationError(f"task '{task}': nothing emulates it; known: {', '.join(sorted(points)) or 'none'}")
    maker: PlantMaker = load_plugin(points[task], Callable)  # type: ignore[arg-type]  # no class to mypy
    return maker(seed, settings)
