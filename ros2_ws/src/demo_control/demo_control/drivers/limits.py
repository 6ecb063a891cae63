"""The last word on what an actuator gets: a box, and a bound on the change within a control period."""

from __future__ import annotations

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.tasks import Array


class Limits:
    """Box and rate limits of an action vector.

    Args:
        minimum: Lower ends of the box. Shape=(action_dim,).
        maximum: Upper ends. Shape=(action_dim,).
        largest_change: Bounds on the change within a control period. Shape=(action_dim,).

    Raises:
        ConfigurationError: Shapes that differ, an empty box, a change that is not positive, or a value not finite
            (the change may be infinite: no bound).
    """

    def __init__(self, minimum: Array, maximum: Array, largest_change: Array) -> None:
        if not minimum.shape == maximum.shape == largest_change.shape or minimum.ndim != 1:
            raise ConfigurationError(
                f"limits have shapes {minimum.shape}, {maximum.shape}, {largest_change.shape}: must be equal vectors"
            )
        if not (np.isfinite([minimum, maximum]).all() and (minimum <= maximum).all()):
            raise ConfigurationError(f"limits {minimum} to {maximum}: must be finite and not empty")
        if not (largest_change > 0.0).all():
            raise ConfigurationError(f"largest change {largest_change}: must be positive")
        self.minimum = minimum.copy()
        self.maximum = maximum.copy()
        self.largest_change = largest_change.copy()

    @property
    def action_dim(self) -> int:
        """Number of actuators."""
        return int(self.minimum.size)

    def apply(self, wanted: Array, recent: Array) -> Array:
        """The output nearest to what is wanted, inside the box and within reach of all recent outputs.

        Args:
            wanted: Finite. Shape=(action_dim,).
            recent: Outputs inside the box that are within reach of each other, the newest among them; usually those
                of the last control period. Shape=(num_recent, action_dim).

        Returns:
            Shape=(action_dim,).
        """
        boxed = np.clip(wanted, self.minimum, self.maximum)
        # The newest output lies in the box and between these two, so clipping cannot leave the box again.
        lowest = recent.max(axis=0) - self.largest_change
        highest = recent.min(axis=0) + self.largest_change
        return np.clip(boxed, lowest, highest)
