"""Plants that differ from one another, stepped together as if they were alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from demo_control.configuration import Scalar
from demo_control.tasks import Array, Plants, Task


class VariedPlants:
    """Groups of plants with settings of their own; implements :class:`demo_control.tasks.Plants`.

    Plant i has the settings number i modulo their count.

    Args:
        task: Builds the plants.
        simulator: Name of the simulator.
        num_plants: Number of plants.
        variations: Plant settings by name, one mapping per group.
    """

    def __init__(
        self,
        task: Task,
        simulator: str,
        num_plants: int,
        variations: Sequence[Mapping[str, Scalar]],
    ) -> None:
        groups = [np.arange(first, num_plants, len(variations)) for first in range(len(variations))]
        self._members = [group for group in groups if len(group)]
        self._groups: list[Plants] = [
            task.make_plants(simulator, len(group), settings)
            for group, settings in zip(self._members, variations, strict=False)
        ]
        self._num_plants = num_plants

    @property
    def num_plants(self) -> int:
        """Number of plants."""
        return self._num_plants

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """See :class:`demo_control.tasks.Plants`."""
        return self._gathered(
            [
                group.reset([generators[int(i)] for i in members])
                for group, members in zip(self._groups, self._members, strict=True)
            ]
        )

    def step(self, actions: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        """See :class:`demo_control.tasks.Plants`."""
        failed = np.zeros(self._num_plants, dtype=bool)
        observations = []
        for group, members in zip(self._groups, self._members, strict=True):
            observation, failed[members] = group.step(actions[members])
            observations.append(observation)
        return self._gathered(observations), failed

    def true_observations(self) -> Array:
        """See :class:`demo_control.tasks.Plants`."""
        return self._gathered([group.true_observations() for group in self._groups])

    def close(self) -> None:
        """Release the simulators."""
        for group in self._groups:
            group.close()

    def _gathered(self, parts: Sequence[Array]) -> Array:
        """Rows of the groups in the order of the plants. Shape=(num_plants, ...)."""
        rows = np.empty((self._num_plants, *parts[0].shape[1:]))
        for part, members in zip(parts, self._members, strict=True):
            rows[members] = part
        return rows
