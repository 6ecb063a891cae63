"""Augmented random search: finds a linear policy without gradients.

Source: H. Mania, A. Guy, B. Recht, *Simple random search of static linear policies is
competitive for reinforcement learning*, NeurIPS 2018. V1 and V2 differ in state normalisation;
the "-t" variants update from the best directions only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.learning.episodes import ControlLaw, Recording, run_episodes
from demo_control.learning.seeding import Purpose, stream, streams
from demo_control.learning.statistics import RunningStatistics
from demo_control.learning.storage import load_arrays, save_arrays
from demo_control.tasks import Array, Plants, Task

_SMALLEST_DEVIATION = 1e-12


@dataclass(frozen=True)
class SearchSettings(Settings):
    """Settings of the search; names of the paper in brackets."""

    variant: str = setting(
        "V2-t",
        "V2 standardises observations; -t uses the best directions only.",
        choices=("V1", "V1-t", "V2", "V2-t"),
    )
    iterations: int = setting(400, "Number of updates.", minimum=1)
    num_directions: int = setting(16, "Directions per update (N); 2N episodes each.", minimum=1)
    num_top_directions: int = setting(8, "Directions the -t variants use (b).", minimum=1)
    step_size: float = setting(0.03, "Step size (alpha), in normalised action units.", minimum=1e-9)
    noise: float = setting(0.05, "Deviation of the directions tried (nu).", minimum=1e-9)
    use_bias: bool = setting(True, "Whether the policy has a constant term.")
    episode_s: float = setting(10.0, "Length of the episodes of the search.", minimum=1e-3)
    evaluation_interval: int = setting(10, "Iterations between two evaluations.", minimum=1)

    def __post_init__(self) -> None:
        """Validate, also across fields."""
        super().__post_init__()
        if self.num_top_directions > self.num_directions and self.variant.endswith("-t"):
            raise ConfigurationError(
                f"SearchSettings.num_top_directions = {self.num_top_directions}: "
                f"must be at most num_directions = {self.num_directions}"
            )

    @property
    def normalises(self) -> bool:
        """Whether observations are standardised (V2)."""
        return self.variant.startswith("V2")

    @property
    def num_used(self) -> int:
        """Number of directions an update uses."""
        return self.num_top_directions if self.variant.endswith("-t") else self.num_directions


@dataclass(frozen=True)
class LinearPolicy:
    """u = clip(M (x - mean) / scale + bias, -1, 1), scaled to the task's action range.

    Attributes:
        weights: M. Shape=(action_dim, observation_dim).
        bias: Shape=(action_dim,).
        mean: Shape=(observation_dim,).
        scale: Shape=(observation_dim,).
    """

    weights: Array
    bias: Array
    mean: Array
    scale: Array

    def act(self, observations: Array, task: Task) -> Array:
        """Actions in physical units. Shape=(num_plants, action_dim)."""
        normalised = (observations - self.mean) / self.scale @ self.weights.T + self.bias
        return denormalised(normalised, task)


@dataclass(frozen=True)
class SearchState:
    """Everything the search knows between two iterations.

    Attributes:
        iteration: Updates done.
        parameters: M with the bias as last column. Shape=(action_dim, observation_dim + 1).
        statistics: Of the observations seen (stays empty for V1).
        best: Policy of the evaluation with the highest mean return.
        best_return: That mean return; -inf before the first evaluation.
        curve: Rows (iteration, mean return of the directions, best of them); one per update.
        evaluations: Rows (iteration, mean, deviation of the returns); one per evaluation.
    """

    iteration: int
    parameters: Array
    statistics: RunningStatistics
    best: LinearPolicy
    best_return: float
    curve: Array
    evaluations: Array

    @classmethod
    def initial(cls, task: Task) -> SearchState:
        """The zero policy."""
        n, m = task.observation_dim, task.action_dim
        policy = LinearPolicy(np.zeros((m, n)), np.zeros(m), np.zeros(n), np.ones(n))
        statistics = RunningStatistics.empty(n)
        return cls(0, np.zeros((m, n + 1)), statistics, policy, -np.inf, np.zeros((0, 3)), np.zeros((0, 3)))

    def save(self, path: Path) -> None:
        """Write all of it to an npz file, atomically."""
        best = self.best
        arrays: dict[str, Array] = {
            "iteration": np.array(self.iteration, dtype=float),
            "parameters": self.parameters,
            "count": np.array(self.statistics.count, dtype=float),
            "mean": self.statistics.mean,
            "squares": self.statistics.squares,
            "best_weights": best.weights,
            "best_bias": best.bias,
            "best_mean": best.mean,
            "best_scale": best.scale,
            "best_return": np.array(self.best_return),
            "curve": self.curve,
            "evaluations": self.evaluations,
        }
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> SearchState:
        """Read what :meth:`save` wrote.

        Raises:
            OSError, ValueError, KeyError: The file is missing or is not such a file.
        """
        a = cast("dict[str, Array]", load_arrays(path))
        best = LinearPolicy(a["best_weights"], a["best_bias"], a["best_mean"], a["best_scale"])
        statistics = RunningStatistics(int(a["count"]), a["mean"], a["squares"])
        best_return = float(a["best_return"])
        return cls(
            int(a["iteration"]),
            a["parameters"],
            statistics,
            best,
            best_return,
            a["curve"],
            a["evaluations"],
        )


class AugmentedRandomSearch:
    """The search on one task; every number drawn depends on the seed and the iteration only."""

    def __init__(
        self,
        task: Task,
        plants: Plants,
        settings: SearchSettings,
        seed: int,
        state: SearchState | None = None,
    ) -> None:
        """Start from the zero policy, or go on from ``state``.

        Args:
            task: Gives reward, action range and control period.
            plants: 2 x ``num_directions`` plants: both signs of every direction at once.
            settings: See :class:`SearchSettings`.
            seed: Decides directions and starts.
            state: Where an earlier search stood.

        Raises:
            ConfigurationError: Wrong number of plants.
        """
        if plants.num_plants != 2 * settings.num_directions:
            raise ConfigurationError(
                f"augmented random search: got {plants.num_plants} plants, "
                f"needs 2 x num_directions = {2 * settings.num_directions}"
            )
        self._task, self._plants, self._settings, self._seed = task, plants, settings, seed
        self.state = state or SearchState.initial(task)

    @property
    def finished(self) -> bool:
        """Whether all iterations are done."""
        return self.state.iteration >= self._settings.iterations

    def run(self, after_iteration: Callable[[SearchState], None] = lambda _: None) -> LinearPolicy:
        """Iterate to the end, calling ``after_iteration`` each time; the best evaluated policy."""
        while not self.finished:
            self.step()
            after_iteration(self.state)
        return self.state.best

    def step(self) -> SearchState:
        """One update: try both signs of every direction, move towards the better ones."""
        state, settings = self.state, self._settings
        generator = stream(self._seed, Purpose.DIRECTIONS, state.iteration)
        directions = generator.standard_normal((settings.num_directions, *state.parameters.shape))
        if not settings.use_bias:
            directions[..., -1] = 0.0
        offsets = settings.noise * np.concatenate([directions, -directions])
        recording = self._try(state.parameters + offsets)
        rewards_up, rewards_down = np.split(recording.returns, 2)
        parameters = state.parameters + self._update(directions, rewards_up, rewards_down)
        statistics = state.statistics
        if settings.normalises:
            statistics = statistics.merged(recording.alive_observations())
        row = [state.iteration + 1, recording.returns.mean(), recording.returns.max()]
        self.state = replace(
            state,
            iteration=state.iteration + 1,
            parameters=parameters,
            statistics=statistics,
            curve=np.vstack([state.curve, row]),
        )
        if self.state.iteration % settings.evaluation_interval == 0 or self.finished:
            self._evaluate()
        return self.state

    def _update(self, directions: Array, rewards_up: Array, rewards_down: Array) -> Array:
        """The paper's step, alpha / (b sigma_R) x sum of (r+ - r-) delta over the b best."""
        num_used = self._settings.num_used
        best_first = np.argsort(-np.maximum(rewards_up, rewards_down), kind="stable")[:num_used]
        up, down = rewards_up[best_first], rewards_down[best_first]
        deviation = float(np.concatenate([up, down]).std())
        if deviation < _SMALLEST_DEVIATION:  # all scored alike: no information
            return np.zeros(directions.shape[1:])
        step = np.tensordot(up - down, directions[best_first], axes=1)
        return np.asarray(step * (self._settings.step_size / (num_used * deviation)))

    def _try(self, parameters: Array) -> Recording:
        """Run one policy per plant; both signs of a direction start alike, for less noise."""
        starts = streams(self._seed, Purpose.SEARCH_STARTS, self._settings.num_directions, self.state.iteration)
        again = streams(self._seed, Purpose.SEARCH_STARTS, self._settings.num_directions, self.state.iteration)
        num_steps = round(self._settings.episode_s / self._task.control_period_s)
        law = self._law(parameters)
        return run_episodes(self._task, self._plants, law, [*starts, *again], num_steps)

    def _law(self, parameters: Array) -> ControlLaw:
        """The policies, under the current statistics, of parameters (num_plants or 1, m, n + 1)."""
        mean, scale = self._normalisation()
        weights, bias = parameters[..., :-1], parameters[..., -1]

        def act(observations: Array) -> Array:
            normalised = ((observations - mean) / scale)[..., np.newaxis]
            return denormalised((weights @ normalised)[..., 0] + bias, self._task)

        return act

    def _normalisation(self) -> tuple[Array, Array]:
        statistics = self.state.statistics
        if not self._settings.normalises:
            return np.zeros_like(statistics.mean), np.ones_like(statistics.mean)
        return statistics.mean, statistics.deviation()

    def _evaluate(self) -> None:
        """Run the unperturbed policy for full episodes from fixed starts; keep the best."""
        starts = streams(self._seed, Purpose.SEARCH_EVALUATION, self._plants.num_plants)
        num_steps = round(self._task.episode_s / self._task.control_period_s)
        law = self._law(self.state.parameters[np.newaxis])
        returns = run_episodes(self._task, self._plants, law, starts, num_steps).returns
        row = [self.state.iteration, returns.mean(), returns.std()]
        state = replace(self.state, evaluations=np.vstack([self.state.evaluations, row]))
        if returns.mean() > state.best_return:
            mean, scale = self._normalisation()
            weights, bias = state.parameters[:, :-1], state.parameters[:, -1]
            best = LinearPolicy(weights.copy(), bias.copy(), mean.copy(), scale.copy())
            state = replace(state, best=best, best_return=float(returns.mean()))
        self.state = state


def denormalised(normalised: Array, task: Task) -> Array:
    """Actions of -1 .. 1 (clipped) in physical units."""
    middle = (task.action_maximum + task.action_minimum) / 2
    half_range = (task.action_maximum - task.action_minimum) / 2
    return np.asarray(middle + half_range * np.clip(normalised, -1.0, 1.0))
