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
from demo_control.learning.linear_policy import LinearPolicies, LinearPolicy
from demo_control.learning.seeding import Purpose, stream
from demo_control.learning.statistics import RunningStatistics
from demo_control.learning.storage import load_arrays, save_arrays
from demo_control.learning.trials import Trials
from demo_control.tasks import Array, Task

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
class SearchState:
    """Everything the search knows between two iterations.

    Attributes:
        iteration: Updates done.
        parameters: M with the bias as last column. Shape=(action_dim, observation_dim + 1).
        statistics: Of the observations seen (stays empty for V1).
        best: Policy of the evaluation with the highest mean return.
        best_return: That mean return; -inf before the first evaluation.
        best_returns: Of the single episodes of that evaluation. Shape=(num_plants,), empty before the first.
        curve: Rows (iteration, mean return of the directions, best of them); one per update.
        evaluations: Rows (iteration, mean, deviation of the returns); one per evaluation.
    """

    iteration: int
    parameters: Array
    statistics: RunningStatistics
    best: LinearPolicy
    best_return: float
    best_returns: Array
    curve: Array
    evaluations: Array

    @classmethod
    def initial(cls, task: Task, weights: Array | None = None) -> SearchState:
        """The policy with these weights, or the zero policy.

        Args:
            task: Gives the dimensions.
            weights: In units of the normalised action. Shape=(action_dim, observation_dim).
        """
        n, m = task.observation_dim, task.action_dim
        policy = LinearPolicy.of_weights(np.zeros((m, n)) if weights is None else weights)
        return cls(
            iteration=0,
            parameters=np.column_stack([policy.weights, policy.bias]),
            statistics=RunningStatistics.empty(n),
            best=policy,
            best_return=-np.inf,
            best_returns=np.zeros(0),
            curve=np.zeros((0, 3)),
            evaluations=np.zeros((0, 3)),
        )

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
            "best_returns": self.best_returns,
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
        return cls(
            iteration=int(a["iteration"]),
            parameters=a["parameters"],
            statistics=statistics,
            best=best,
            best_return=float(a["best_return"]),
            best_returns=a["best_returns"],
            curve=a["curve"],
            evaluations=a["evaluations"],
        )


class AugmentedRandomSearch:
    """The search on one task; every number drawn depends on the seed and the iteration only."""

    def __init__(
        self,
        task: Task,
        trials: Trials,
        settings: SearchSettings,
        seed: int,
        state: SearchState | None = None,
    ) -> None:
        """Start from the task's initial policy, or go on from ``state``.

        Args:
            task: Gives dimensions, and what the policy sees.
            trials: Tries the policies.
            settings: See :class:`SearchSettings`.
            seed: Decides the directions.
            state: Where an earlier search stood, or what it starts from.
        """
        self._trials, self._settings, self._seed = trials, settings, seed
        self._mask = searched_parameters(task, settings)
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
        directions *= self._mask
        offsets = settings.noise * np.concatenate([directions, -directions])
        tried = self._trials.search(state.iteration, self._policies(state.parameters + offsets))
        rewards_up, rewards_down = np.split(tried.returns, 2)
        parameters = state.parameters + self._update(directions, rewards_up, rewards_down)
        statistics = state.statistics
        if settings.normalises:
            statistics = statistics.merged(tried.observations)
        row = [state.iteration + 1, tried.returns.mean(), tried.returns.max()]
        self.state = replace(
            state,
            iteration=state.iteration + 1,
            parameters=parameters,
            statistics=statistics,
            curve=np.vstack([state.curve, row]),
        )
        if self.state.iteration % settings.evaluation_interval == 0 or self.finished:
            self.evaluate()
        return self.state

    def evaluate(self) -> None:
        """Run the policy as it is on the evaluation's plants; keep the best."""
        policies = self._policies(self.state.parameters[np.newaxis])
        returns = self._trials.evaluate(policies)
        row = [self.state.iteration, returns.mean(), returns.std()]
        state = replace(self.state, evaluations=np.vstack([self.state.evaluations, row]))
        if returns.mean() > state.best_return:
            weights, bias = state.parameters[:, :-1], state.parameters[:, -1]
            best = LinearPolicy(weights.copy(), bias.copy(), policies.mean.copy(), policies.scale.copy())
            state = replace(state, best=best, best_return=float(returns.mean()), best_returns=returns.copy())
        self.state = state

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

    def _policies(self, parameters: Array) -> LinearPolicies:
        """Policies under the current statistics. Shape of the parameters=(num_plants or 1, m, n + 1)."""
        statistics = self.state.statistics
        if not self._settings.normalises:
            return LinearPolicies(parameters, np.zeros_like(statistics.mean), np.ones_like(statistics.mean))
        return LinearPolicies(parameters, statistics.mean, statistics.deviation())


def searched_parameters(task: Task, settings: SearchSettings) -> Array:
    """1 where the search may change a parameter, 0 elsewhere. Shape=(action_dim, observation_dim + 1)."""
    mask = np.ones((task.action_dim, task.observation_dim + 1))
    if task.policy_training is not None:
        mask[:, :-1] = [quantity.name in task.policy_training.inputs for quantity in task.observation]
    mask[:, -1] = settings.use_bias
    return mask
