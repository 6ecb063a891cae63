"""Augmented random search against the optimum of a linear-quadratic problem; its bookkeeping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.learning.ars import AugmentedRandomSearch, SearchState
from demo_control.learning.ars_settings import SearchSettings
from demo_control.learning.episodes import run_episodes
from demo_control.learning.linear_policy import LinearPolicy, denormalised
from demo_control.learning.seeding import Purpose, streams
from demo_control.learning.statistics import RunningStatistics
from demo_control.learning.trials import PlantTrials
from demo_control.tasks import Array, CostTerm, Plants, Quantity, Score, Task

TRANSITION = np.array([[1.0, 0.1], [-0.1, 0.95]])
INPUT = np.array([[0.005], [0.1]])
STATE_COST, ACTION_COST = np.diag([1.0, 0.1]), 0.1


class LinearPlants:
    """x' = A x + B u, with an extra entry that never changes (it trips careless normalisers)."""

    def __init__(self, num_plants: int, limit: float = np.inf) -> None:
        self.num_plants = num_plants
        self._limit = limit
        self._states = np.zeros((num_plants, 2))
        self._failed = np.zeros(num_plants, dtype=bool)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        self._states = np.stack([generator.standard_normal(2) for generator in generators])
        self._failed = np.zeros(self.num_plants, dtype=bool)
        return self.true_observations()

    def step(self, actions: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        moved = self._states @ TRANSITION.T + actions @ INPUT.T
        self._states = np.where(self._failed[:, None], self._states, moved)
        self._failed = self._failed | (np.abs(self._states[:, 0]) > self._limit)
        return self.true_observations(), self._failed

    def true_observations(self) -> Array:
        return np.column_stack([self._states, np.full(self.num_plants, 0.5)])

    def close(self) -> None:
        """Nothing to release."""


class NoScore:
    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        """Not judged."""

    def result(self) -> dict[str, float | bool]:
        return {"success": True}


def make_plants(simulator: str, num_plants: int, settings: Mapping[str, Scalar]) -> Plants:
    return LinearPlants(num_plants)


def make_score() -> Score:
    return NoScore()


def linear_task() -> Task:
    terms = (
        CostTerm("position", 1.0, lambda x, u, _: x["position"] ** 2, "Off the origin."),
        CostTerm("velocity", 0.1, lambda x, u, _: x["velocity"] ** 2, "Moving."),
        CostTerm("effort", ACTION_COST, lambda x, u, _: u["force"] ** 2, "Effort."),
    )
    return Task(
        name="linear",
        observation=(
            Quantity("position", "m", -3.0, 3.0),
            Quantity("velocity", "m/s", -5.0, 5.0),
            Quantity("constant", "1", 0.0, 6.0),
        ),
        action=(Quantity("force", "N", -5.0, 5.0),),
        control_period_s=0.1,
        episode_s=5.0,
        cost_terms=terms,
        model_inputs=("velocity",),
        simulators=("linear",),
        make_plants=make_plants,
        make_score=make_score,
        alive_reward=0.0,
    )


def riccati_gain() -> Array:
    """Gain of the infinite-horizon optimum u = -K x, by iterating the Riccati recursion."""
    value = STATE_COST
    gain = np.zeros((1, 2))
    for _ in range(2000):
        gain = np.linalg.solve(ACTION_COST + INPUT.T @ value @ INPUT, INPUT.T @ value @ TRANSITION)
        value = STATE_COST + TRANSITION.T @ value @ (TRANSITION - INPUT @ gain)
    return gain


def search(settings: SearchSettings, seed: int = 1, state: SearchState | None = None) -> AugmentedRandomSearch:
    plants = LinearPlants(2 * settings.num_directions)
    return AugmentedRandomSearch(linear_task(), trials(plants, settings, seed), settings, seed, state)


def trials(plants: Plants, settings: SearchSettings, seed: int) -> PlantTrials:
    return PlantTrials(linear_task(), plants, settings.num_directions, seed, settings.episode_s)


SMALL = SearchSettings(iterations=6, num_directions=4, num_top_directions=2, episode_s=1.0, evaluation_interval=2)


@pytest.mark.parametrize("variant", ["V1", "V1-t", "V2", "V2-t"])
def test_approaches_the_cost_of_the_riccati_solution(variant: str) -> None:
    settings = SearchSettings(
        variant=variant,
        iterations=150,
        num_directions=8,
        num_top_directions=4,
        episode_s=5.0,
        step_size=0.05,
        noise=0.03,
        use_bias=variant.startswith("V2"),
    )
    found = search(settings).run()

    task = linear_task()
    starts = 64
    gain = riccati_gain()

    def cost(law: LinearPolicy | None) -> float:
        generators = streams(99, Purpose.ACCEPTANCE, starts)
        act = (lambda x: law.act(x, task)) if law else (lambda x: -x[:, :2] @ gain.T)
        return -float(run_episodes(task, LinearPlants(starts), act, generators, 50).returns.mean())

    assert cost(found) < 1.02 * cost(None)


def test_same_seed_same_result_and_another_seed_another() -> None:
    first, again, other = search(SMALL).run(), search(SMALL).run(), search(SMALL, seed=2).run()
    assert np.array_equal(first.weights, again.weights)
    assert not np.array_equal(first.weights, other.weights)


def test_resuming_from_a_file_equals_not_stopping(tmp_path: Path) -> None:
    whole = search(SMALL)
    whole.run()
    begun = search(SMALL)
    for _ in range(3):
        begun.step()
    begun.state.save(tmp_path / "state.npz")
    resumed = search(SMALL, state=SearchState.load(tmp_path / "state.npz"))
    resumed.run()
    assert np.array_equal(whole.state.parameters, resumed.state.parameters)
    assert np.array_equal(whole.state.evaluations, resumed.state.evaluations)
    assert np.array_equal(whole.state.curve, resumed.state.curve)
    assert whole.state.statistics.count == resumed.state.statistics.count
    assert np.array_equal(whole.state.best.weights, resumed.state.best.weights)


def test_best_iterate_is_the_best_evaluated_not_the_last() -> None:
    found = search(SMALL)
    found.run()
    assert found.state.best_return == found.state.evaluations[:, 1].max()
    assert list(found.state.evaluations[:, 0]) == [2, 4, 6]
    assert found.state.curve.shape == (6, 3)


def test_only_v2_normalises_and_only_a_bias_when_asked() -> None:
    raw = search(SearchSettings(variant="V1", iterations=2, num_directions=2, num_top_directions=2, use_bias=False))
    policy = raw.run()
    assert np.array_equal(policy.mean, np.zeros(3))
    assert np.array_equal(policy.scale, np.ones(3))
    assert np.array_equal(policy.bias, np.zeros(1))
    normalising = search(SearchSettings(iterations=2, num_directions=2, num_top_directions=2))
    policy = normalising.run()
    assert policy.bias[0] != 0.0
    assert policy.mean[2] == pytest.approx(0.5)
    assert policy.scale[2] == 1.0, "a constant entry must not be divided by its zero deviation"


def test_identical_returns_leave_the_parameters_alone() -> None:
    task = linear_task()
    effortless = replace(task, cost_terms=task.cost_terms[:2])

    class Deaf(LinearPlants):
        def step(self, actions: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
            return super().step(np.zeros_like(actions))

    settings = SearchSettings(iterations=1, num_directions=1, num_top_directions=1)
    tried = PlantTrials(effortless, Deaf(2), 1, 0, settings.episode_s)
    state = AugmentedRandomSearch(effortless, tried, settings, seed=0).step()
    assert np.array_equal(state.parameters, np.zeros((1, 4)))


def test_wrong_number_of_plants_and_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="got 3 plants, needs 2 x num_directions = 8"):
        trials(LinearPlants(3), SMALL, seed=0)
    with pytest.raises(ConfigurationError, match="num_top_directions = 9"):
        SearchSettings(num_directions=8, num_top_directions=9)


def test_statistics_merged_in_batches_equal_those_of_everything() -> None:
    values = np.random.default_rng(0).normal(1e6, 1e-2, size=(1000, 3))
    statistics = RunningStatistics.empty(3)
    for batch in np.split(values, [1, 10, 500]):
        statistics = statistics.merged(batch)
    assert statistics.count == 1000
    np.testing.assert_allclose(statistics.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.deviation(), values.std(axis=0), rtol=1e-6)


def test_recordings_end_where_a_plant_fails() -> None:
    task = linear_task()
    generators = streams(3, Purpose.ACCEPTANCE, 8)
    plants = LinearPlants(8, limit=2.0)
    recording = run_episodes(task, plants, lambda x: np.full((8, 1), 5.0), generators, 100)
    assert recording.failed[-1].all(), "runs on only while a plant is left"
    assert len(recording.actions) < 100
    for plant, episode in enumerate(recording.episodes()):
        assert len(episode.observations) == len(episode) + 1
        assert not recording.failed[: len(episode) + 1, plant].any()
        assert recording.failed[len(episode) + 1, plant]
    assert (recording.rewards[recording.failed[:-1]] == 0.0).all()


def test_actions_are_scaled_and_clipped_to_the_range() -> None:
    task = linear_task()
    np.testing.assert_allclose(denormalised(np.array([[-3.0], [0.5], [2.0]]), task), [[-5.0], [2.5], [5.0]])
