"""What a network sees of an observation: some of its entries, in units of their ranges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo_control.tasks import Array, Task


@dataclass(frozen=True)
class NetworkInputs:
    """The map z = (x − middle) / half range, of some entries of x.

    Ranges instead of statistics: they are known before the first step, and a pole that hangs for the first thousand
    steps says little of one that stands.

    Attributes:
        entries: Indices of the entries.
        middle: Shape=(len(entries),).
        half_range: Shape=(len(entries),).
    """

    entries: tuple[int, ...]
    middle: Array
    half_range: Array

    @classmethod
    def of_task(cls, task: Task) -> NetworkInputs:
        """The entries that the task's networks see, or all."""
        names = [quantity.name for quantity in task.observation]
        spec = task.policy_training
        seen = names if spec is None else spec.network_inputs or spec.inputs
        chosen = [task.observation[names.index(name)] for name in seen]
        return cls(
            entries=tuple(names.index(name) for name in seen),
            middle=np.array([(quantity.maximum + quantity.minimum) / 2.0 for quantity in chosen]),
            half_range=np.array([(quantity.maximum - quantity.minimum) / 2.0 for quantity in chosen]),
        )

    def of(self, observations: npt.NDArray[np.floating]) -> Array:
        """Shape=(..., observation_dim) → Shape=(..., len(entries))."""
        return np.asarray((observations[..., list(self.entries)] - self.middle) / self.half_range)
