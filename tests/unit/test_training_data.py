"""Recorded data: splits, files and windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from demo_control.learning.dataset import Dataset, Windows, split
from demo_control.learning.episodes import Episode


def random_episode(seed: int, steps: int) -> Episode:
    generator = np.random.default_rng(seed)
    return Episode(generator.normal(size=(steps + 1, 3)), generator.normal(size=(steps, 2)))


def test_split_holds_out_whole_episodes() -> None:
    episodes = [random_episode(i, 5) for i in range(10)]
    data = split(episodes, 0.2)
    assert len(data.training) == 8
    assert len(data.held_out) == 2
    assert {id(e) for e in (*data.training, *data.held_out)} == {id(e) for e in episodes}
    assert len(split(episodes[:1], 0.2).held_out) == 0
    assert len(split(episodes[:2], 0.1).held_out) == 1


def test_dataset_survives_a_file(tmp_path: Path) -> None:
    data = split([random_episode(i, 5 + i) for i in range(5)], 0.2)
    data.save(tmp_path / "data.npz")
    loaded = Dataset.load(tmp_path / "data.npz")
    assert loaded.sha256() == data.sha256()
    assert (len(loaded.training), len(loaded.held_out)) == (4, 1)
    assert (data + loaded).num_transitions == 2 * data.num_transitions
    assert split([random_episode(9, 5)], 0.2).sha256() != data.sha256()


def test_windows_never_cross_an_episode() -> None:
    lengths: Sequence[int] = (4, 2, 6)
    episodes = []
    for i, length in enumerate(lengths):
        time = np.arange(length + 1.0)
        episodes.append(Episode(np.stack([np.full_like(time, i), time], axis=1), time[:-1, None]))
    windows = Windows.of(episodes, 3)
    x, u = windows.take(windows.starts)
    assert len(windows.starts) == 2 + 4
    assert (x[..., 0] == x[:, :1, 0]).all()
    assert (np.diff(x[..., 1], axis=1) == 1.0).all()
    np.testing.assert_array_equal(x[:, :-1, 1], u[..., 0])
    with pytest.raises(ValueError, match="no episode has 9 transitions"):
        Windows.of(episodes, 9)
