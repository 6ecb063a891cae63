"""Recorded transitions: kept as episodes, on disk as plain arrays, in training as windows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from demo_control.learning.episodes import Episode
from demo_control.learning.storage import load_arrays, save_arrays
from demo_control.tasks import Array

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Episodes to learn from and episodes to judge by; no transition is in both.

    Attributes:
        training: Episodes the model is fitted to.
        held_out: Episodes that decide when to stop and which members are the best.
    """

    training: tuple[Episode, ...] = ()
    held_out: tuple[Episode, ...] = ()

    def __add__(self, other: Dataset) -> Dataset:
        """Both together."""
        return Dataset(self.training + other.training, self.held_out + other.held_out)

    @property
    def num_transitions(self) -> int:
        """Transitions to learn from."""
        return sum(len(episode) for episode in self.training)

    def sha256(self) -> str:
        """Hash of every number in it, in order."""
        digest = hashlib.sha256()
        for episode in (*self.training, *self.held_out):
            digest.update(np.ascontiguousarray(episode.observations).tobytes())
            digest.update(np.ascontiguousarray(episode.actions).tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write an npz file, atomically."""
        episodes = (*self.training, *self.held_out)
        save_arrays(
            path,
            {
                "num_training": np.array(len(self.training), dtype=np.int64),
                **arrays_of(episodes),
            },
        )

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Read what :meth:`save` wrote.

        Raises:
            OSError, ValueError, KeyError: The file is missing or is not such a file.
        """
        arrays = load_arrays(path)
        episodes = episodes_of(arrays)
        count = int(arrays["num_training"])
        return cls(episodes[:count], episodes[count:])


def arrays_of(episodes: Sequence[Episode]) -> dict[str, npt.NDArray[np.generic]]:
    """Episodes as arrays for a file: lengths, and all rows one after the other; there may be none."""
    return {
        "lengths": np.array([len(episode) for episode in episodes], dtype=np.int64),
        "observations": np.concatenate([episode.observations for episode in episodes] or [np.zeros((0, 0))]),
        "actions": np.concatenate([episode.actions for episode in episodes] or [np.zeros((0, 0))]),
    }


def episodes_of(arrays: Mapping[str, npt.NDArray[np.generic]]) -> tuple[Episode, ...]:
    """The inverse of :func:`arrays_of`.

    Raises:
        ValueError, KeyError: Something is missing, or does not belong together.
    """
    lengths = cast(Indices, arrays["lengths"])
    if not len(lengths):
        return ()
    observations = np.split(cast(Array, arrays["observations"]), np.cumsum(lengths + 1)[:-1])
    actions = np.split(cast(Array, arrays["actions"]), np.cumsum(lengths)[:-1])
    return tuple(Episode(x, u) for x, u in zip(observations, actions, strict=True))


def split(episodes: Sequence[Episode], held_out_fraction: float) -> Dataset:
    """Hold out every k-th episode, at least one if there are two.

    Whole episodes, because neighbouring transitions are nearly copies of each other.
    """
    if len(episodes) < 2:  # noqa: PLR2004 - nothing to hold out
        return Dataset(tuple(episodes))
    every = max(2, round(1.0 / held_out_fraction))
    last = min(every, len(episodes)) - 1
    return Dataset(
        tuple(episode for i, episode in enumerate(episodes) if i % every != last),
        tuple(episode for i, episode in enumerate(episodes) if i % every == last),
    )


@dataclass(frozen=True)
class Windows:
    """Stretches of ``length`` consecutive transitions, addressed by their start.

    Attributes:
        observations: All episodes' observations, one after the other.
            Shape=(num_rows, observation_dim).
        actions: The action taken at each of them, zero at an episode's end.
            Shape=(num_rows, action_dim).
        starts: Rows at which a stretch may start. Shape=(num_windows,).
        length: Transitions per stretch.
    """

    observations: Array
    actions: Array
    starts: Indices
    length: int

    @classmethod
    def of(cls, episodes: Iterable[Episode], length: int) -> Windows:
        """All stretches of ``length`` transitions inside the episodes.

        Raises:
            ValueError: No episode is long enough.
        """
        kept = [episode for episode in episodes if len(episode) >= length]
        if not kept:
            raise ValueError(f"no episode has {length} transitions")
        first, starts = 0, []
        for episode in kept:
            starts.append(first + np.arange(len(episode) - length + 1))
            first += len(episode) + 1
        observations = np.concatenate([episode.observations for episode in kept])
        padded = [np.vstack([e.actions, np.zeros_like(e.actions[:1])]) for e in kept]
        return cls(observations, np.concatenate(padded), np.concatenate(starts), length)

    def take(self, starts: Indices) -> tuple[Array, Array]:
        """Stretches by start row.

        Returns:
            Observations, Shape=(*starts.shape, length + 1, observation_dim), and actions,
            Shape=(*starts.shape, length, action_dim).
        """
        rows = starts[..., np.newaxis] + np.arange(self.length + 1)
        return self.observations[rows], self.actions[rows[..., :-1]]
