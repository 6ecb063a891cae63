"""Transitions to learn from, one row each, so that a batch is one gather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RowLayout:
    """Where a transition's parts are in a row: observation, action (-1 to 1), next observation, reward, terminated.

    Attributes:
        observation_dim: n.
        action_dim: m.
    """

    observation_dim: int
    action_dim: int

    @property
    def width(self) -> int:
        """Numbers per row."""
        return 2 * self.observation_dim + self.action_dim + 2

    @property
    def observation(self) -> slice:
        """The observation x."""
        return slice(0, self.observation_dim)

    @property
    def action(self) -> slice:
        """The action u, as a share of half the range."""
        return slice(self.observation_dim, self.observation_dim + self.action_dim)

    @property
    def observation_and_action(self) -> slice:
        """(x, u): what a critic or a model sees."""
        return slice(0, self.observation_dim + self.action_dim)

    @property
    def next_observation(self) -> slice:
        """The next observation x'."""
        first = self.observation_dim + self.action_dim
        return slice(first, first + self.observation_dim)

    @property
    def reward(self) -> int:
        """The reward r."""
        return self.width - 2

    @property
    def terminated(self) -> int:
        """Holds 1 where nothing follows x'."""
        return self.width - 1

    def rows(
        self,
        observations: npt.NDArray[np.floating],
        actions: npt.NDArray[np.floating],
        next_observations: npt.NDArray[np.floating],
        rewards: npt.NDArray[np.floating],
        terminated: npt.NDArray[np.bool_],
    ) -> Float32s:
        """Transitions as rows. Shape=(count, width)."""
        parts = [observations, actions, next_observations, rewards[:, None], terminated[:, None]]
        return np.concatenate(parts, axis=1, dtype=np.float32, casting="unsafe")


class ReplayBuffer:
    """The latest transitions; the oldest make room for new ones.

    Args:
        layout: Of a row.
        capacity: Rows held.
    """

    def __init__(self, layout: RowLayout, capacity: int) -> None:
        self.layout, self.capacity = layout, capacity
        self._rows: Float32s = np.empty((0, layout.width), np.float32)
        self._size = self._next = 0

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> Float32s:
        """All transitions held, in no particular order once it has been full. Shape=(len(self), width)."""
        return self._rows[: self._size]

    def add(self, rows: Float32s) -> None:
        """Take transitions in. Shape=(count, width)."""
        rows = rows[-self.capacity :]
        self._grow(min(self._next + len(rows), self.capacity))
        first = min(len(rows), self.capacity - self._next)
        self._rows[self._next : self._next + first] = rows[:first]
        self._rows[: len(rows) - first] = rows[first:]
        self._size = max(self._size, min(self._next + len(rows), self.capacity))
        self._next = (self._next + len(rows)) % self.capacity

    def take(self, indices: npt.NDArray[np.int64], out: Float32s) -> None:
        """Copy transitions. Shape=(count,) → Shape=(count, width)."""
        np.take(self._rows, indices, axis=0, out=out, mode="clip")

    def state(self) -> tuple[Float32s, int]:
        """What is held, and where the next row goes: for a checkpoint."""
        return self.rows.copy(), self._next

    def restore(self, rows: Float32s, next_row: int) -> None:
        """Go on from a :meth:`state`."""
        self._rows, self._size, self._next = rows.copy(), len(rows), next_row

    def _grow(self, needed: int) -> None:
        """Room for that many rows: doubled, since most runs never fill the capacity."""
        if needed <= len(self._rows):
            return
        room = min(max(needed, 2 * len(self._rows), 1024), self.capacity)
        grown = np.empty((room, self.layout.width), np.float32)
        grown[: self._size] = self.rows
        self._rows = grown
