"""Mean and deviation of a stream of vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.tasks import Array


@dataclass(frozen=True)
class RunningStatistics:
    """Mean and spread of the vectors seen so far.

    Batches are merged with the parallel form of Welford's update (Chan, Golub, LeVeque 1983),
    which keeps its precision where a sum of squares would lose it.

    Attributes:
        count: Number of vectors.
        mean: Shape=(dim,).
        squares: Sum of squared differences from the mean. Shape=(dim,).
    """

    count: int
    mean: Array
    squares: Array

    @classmethod
    def empty(cls, dim: int) -> RunningStatistics:
        """Statistics of nothing: mean 0, deviation 1."""
        return cls(0, np.zeros(dim), np.zeros(dim))

    def merged(self, batch: Array) -> RunningStatistics:
        """The statistics with a batch taken in.

        Args:
            batch: Shape=(num_vectors, dim).
        """
        if len(batch) == 0:
            return self
        mean = batch.mean(axis=0)
        squares = ((batch - mean) ** 2).sum(axis=0)
        total = self.count + len(batch)
        shift = mean - self.mean
        return RunningStatistics(
            total,
            self.mean + shift * (len(batch) / total),
            self.squares + squares + shift**2 * (self.count * len(batch) / total),
        )

    def deviation(self, floor: float = 1e-6) -> Array:
        """Standard deviation; 1 where it is below ``floor``: a constant entry must not explode.

        Returns:
            Shape=(dim,).
        """
        if self.count <= 1:
            return np.ones_like(self.mean)
        deviation = np.sqrt(self.squares / self.count)
        return np.where(deviation < floor, 1.0, deviation)
