"""Augmented random search: finds a linear policy without gradients.

Source: H. Mania, A. Guy, B. Recht, *Simple random search of static linear policies is
competitive for reinforcement learning*, NeurIPS 2018. V1 and V2 differ in state normalisation;
the "-t" variants update from the best directions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from demo_control.learning.ars_settings import SearchSettings, UpdateSettings
from demo_control.learning.ars_update import Iterate
from demo_control.learning.linear_policy import Controlled, LinearPolicies, LinearPolicy
from demo_control.learning.seeding import Purpose, stream
from demo_control.learning.statistics import RunningStatistics
from demo_control.learning.storage import load_arrays, save_arrays
from demo_control.learning.trials import Trials, Tried
from demo_control.tasks import Array, Task


@dataclass(frozen=True)
class SearchState:
    """Everything the search knows between two iterations.

    Attributes:
        iteration: Updates done.
        iterate: M with the bias as last column, and what its acceleration needs.
        statistics: Of the observations seen (stays empty for V1).
        best: Policy of the evaluation with the highest mean return.
        best_return: That mean return; -inf before the first evaluation.
        best_returns: Of the single episodes of that evaluation. Shape=(num_plants,), empty before the first.
        curve: Rows (iteration, mean return of the directions, best of them); one per update.
        evaluations: Rows (iteration, mean, deviation of the returns); one per evaluation.
    """

    iteration: int
    iterate: Iterate
    statistics: RunningStatistics
    best: LinearPolicy
    best_return: float
    best_returns: Array
    curve: Array
    evaluations: Array

    @classmethod
    def initial(cls, controlled: Controlled, weights: Array | None = None) -> SearchState:
        """The policy with these weights, or the zero policy.

        Args:
            controlled: Gives the dimensions.
            weights: In units of the normalised action. Shape=(action_dim, observation_dim).
        """
        n, m = controlled.observation_dim, controlled.action_dim
        policy = LinearPolicy.of_weights(np.zeros((m, n)) if weights is None else weights)
        parameters = np.column_stack([policy.weights, policy.bias])
        return cls(
            iteration=0,
            iterate=Iterate(parameters, parameters),
            statistics=RunningStatistics.empty(n),
            best=policy,
            best_return=-np.inf,
            best_returns=np.zeros(0),
            curve=np.zeros((0, 3)),
            evaluations=np.zeros((0, 3)),
        )

    @property
    def parameters(self) -> Array:
        """M with the bias as last column. Shape=(action_dim, observation_dim + 1)."""
        return self.iterate.parameters

    def save(self, path: Path) -> None:
        """Write all of it to an npz file, atomically."""
        save_arrays(path, self.arrays())

    def arrays(self) -> dict[str, Array]:
        """All of it as arrays."""
        best = self.best
        return {
            "iteration": np.array(self.iteration, dtype=float),
            "parameters": self.parameters,
            "leading": self.iterate.leading,
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

    @classmethod
    def load(cls, path: Path) -> SearchState:
        """Read what :meth:`save` wrote.

        Raises:
            OSError, ValueError, KeyError: The file is missing or is not such a file.
        """
        return cls.of_arrays(cast("dict[str, Array]", load_arrays(path)))

    @classmethod
    def of_arrays(cls, a: Mapping[str, Array]) -> SearchState:
        """From what :meth:`arrays` gave.

        Raises:
            KeyError: Something is missing.
        """
        best = LinearPolicy(a["best_weights"], a["best_bias"], a["best_mean"], a["best_scale"])
        statistics = RunningStatistics(int(a["count"]), a["mean"], a["squares"])
        return cls(
            iteration=int(a["iteration"]),
            iterate=Iterate(a["parameters"], a["leading"]),
            statistics=statistics,
            best=best,
            best_return=float(a["best_return"]),
            best_returns=a["best_returns"],
            curve=a["curve"],
            evaluations=a["evaluations"],
        )


class RandomSearch:
    """Updates of a linear policy; every number drawn depends on the seed and the iteration only.

    Args:
        trials: Tries the policies.
        settings: See :class:`UpdateSettings`.
        seed: Decides the directions.
        state: Where the search starts, or an earlier one stood.
        inputs: Whether the policy sees the entry of the observation; None: all. Shape=(observation_dim,).
    """

    def __init__(
        self, trials: Trials, settings: UpdateSettings, seed: int, state: SearchState, inputs: Array | None = None
    ) -> None:
        self._trials, self._update_settings, self._seed = trials, settings, seed
        self._mask = np.ones_like(state.parameters)
        if inputs is not None:
            self._mask[:, :-1] = inputs
        self._mask[:, -1] = settings.use_bias
        self.state = state

    def update(self) -> Tried:
        """Try both signs of every direction, move towards the better ones; what was tried."""
        state, settings = self.state, self._update_settings
        generator = stream(self._seed, Purpose.DIRECTIONS, state.iteration)
        directions = generator.standard_normal((settings.num_directions, *state.parameters.shape))
        directions *= self._mask
        offsets = settings.noise * np.concatenate([directions, -directions])
        tried = self._trials.search(state.iteration, self._policies(state.parameters + offsets))
        rewards_up, rewards_down = np.split(tried.returns, 2)
        statistics = state.statistics
        if settings.normalises:
            statistics = statistics.merged(tried.observations)
        row = [state.iteration + 1, tried.returns.mean(), tried.returns.max()]
        self.state = replace(
            state,
            iteration=state.iteration + 1,
            iterate=state.iterate.updated(settings, directions, rewards_up, rewards_down),
            statistics=statistics,
            curve=np.vstack([state.curve, row]),
        )
        return tried

    def evaluate(self) -> Array:
        """Run the policy as it is on the evaluation's plants, keep the best; the returns."""
        policies = self._policies(self.state.parameters[np.newaxis])
        returns = self._trials.evaluate(policies)
        row = [self.state.iteration, returns.mean(), returns.std()]
        state = replace(self.state, evaluations=np.vstack([self.state.evaluations, row]))
        if returns.mean() > state.best_return:
            weights, bias = state.parameters[:, :-1], state.parameters[:, -1]
            best = LinearPolicy(weights.copy(), bias.copy(), policies.mean.copy(), policies.scale.copy())
            state = replace(state, best=best, best_return=float(returns.mean()), best_returns=returns.copy())
        self.state = state
        return returns

    def _policies(self, parameters: Array) -> LinearPolicies:
        """Policies under the current statistics. Shape of the parameters=(num_plants or 1, m, n + 1)."""
        statistics = self.state.statistics
        if not self._update_settings.normalises:
            return LinearPolicies(parameters, np.zeros_like(statistics.mean), np.ones_like(statistics.mean))
        return LinearPolicies(parameters, statistics.mean, statistics.deviation())


class AugmentedRandomSearch(RandomSearch):
    """A search on a task, with a number of updates and evaluations at an interval of them.

    Args:
        task: Gives dimensions, and what the policy sees.
        trials: Tries the policies.
        settings: See :class:`SearchSettings`.
        seed: Decides the directions.
        state: Where an earlier search stood, or what it starts from; by default the zero policy.
    """

    def __init__(
        self,
        task: Task,
        trials: Trials,
        settings: SearchSettings,
        seed: int,
        state: SearchState | None = None,
    ) -> None:
        super().__init__(trials, settings, seed, state or SearchState.initial(task), _inputs(task))
        self._settings = settings

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
        """One update, and an evaluation when it is due."""
        self.update()
        if self.state.iteration % self._settings.evaluation_interval == 0 or self.finished:
            self.evaluate()
        return self.state


def _inputs(task: Task) -> Array | None:
    """What the policy sees."""
    if task.policy_training is None:
        return None
    return np.array([float(quantity.name in task.policy_training.inputs) for quantity in task.observation])
