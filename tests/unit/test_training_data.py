"""Recorded data: splits, files and windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from demo_control.learning.dataset import Dataset, Windows, split
from demo_control.learning.episodes import Episode
from demo_control.learning.varied_plants import VariedPlants
from demo_control.tasks import Array, Quantity, Score, Task


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
    Dataset().save(tmp_path / "nothing.npz")  # every robot fell at its first step
    assert Dataset.load(tmp_path / "nothing.npz") == Dataset()


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


class OffsetPlants:
    """Plants that show their settings: each step moves them by ``offset`` times the action."""

    def __init__(self, num_plants: int, offset: float) -> None:
        self.num_plants = num_plants
        self._offset = offset
        self._states = np.zeros((num_plants, 1))

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        self._states = np.array([[generator.random()] for generator in generators])
        return self.true_observations()

    def step(self, actions: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        self._states = self._states + self._offset * actions
        return self.true_observations(), self._states[:, 0] > 25.0

    def true_observations(self) -> Array:
        return self._states.copy()

    def close(self) -> None:
        """Nothing to release."""


def no_score() -> Score:
    raise NotImplementedError


def test_varied_plants_keep_their_order_and_their_settings() -> None:
    task = Task(
        name="offset",
        observation=(Quantity("position", "m", -1.0, 1.0),),
        action=(Quantity("move", "m", -1.0, 1.0),),
        control_period_s=0.1,
        episode_s=1.0,
        cost_terms=(),
        model_inputs=(),
        simulators=("numpy",),
        make_plants=lambda _, count, settings: OffsetPlants(count, float(settings["offset"])),
        make_score=no_score,
    )
    plants = VariedPlants(task, "numpy", 5, [{"offset": 1.0}, {"offset": 10.0}])
    generators = [np.random.default_rng(i) for i in range(5)]
    starts = [np.random.default_rng(i).random() for i in range(5)]
    np.testing.assert_allclose(plants.reset(generators)[:, 0], starts)
    actions = np.arange(1.0, 6.0)[:, None]
    observations, failed = plants.step(actions)
    moved = starts + actions[:, 0] * [1.0, 10.0, 1.0, 10.0, 1.0]
    np.testing.assert_allclose(observations[:, 0], moved)
    np.testing.assert_array_equal(plants.true_observations(), observations)
    assert failed.tolist() == [False, False, False, True, False]
    plants.close()
    few = VariedPlants(task, "numpy", 1, [{"offset": 1.0}, {"offset": 10.0}])
    assert few.reset(generators[:1]).shape == (1, 1)
