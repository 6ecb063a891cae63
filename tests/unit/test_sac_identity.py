"""Soft actor-critic learns the simplest of problems, to answer what it sees, in 1000 steps of the loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from demo_control.learning.environments import Indices, Problem, Step
from demo_control.tasks import Array

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from demo_control.learning.model_based.loop import ModelBasedLearner  # noqa: E402
from demo_control.learning.model_based.settings import TrainerSettings  # noqa: E402

TIME_LIMIT = 100


class EchoEnvironments:
    """Shows a number between -1 and 1, and pays the more the nearer the action is to its double."""

    def __init__(self, num_environments: int) -> None:
        self._generators = [np.random.default_rng(0)] * num_environments
        self._shown, self._count = np.zeros((num_environments, 1)), np.zeros(num_environments)

    @property
    def num_environments(self) -> int:
        return len(self._shown)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        return self.reset_some(np.arange(len(self._shown)), generators)

    def reset_some(self, indices: Indices, generators: Sequence[np.random.Generator]) -> Array:
        for index, generator in zip(indices, generators, strict=True):
            self._generators[index], self._count[index] = generator, 0.0
            self._shown[index] = generator.uniform(-1.0, 1.0)
        return np.array(self._shown[indices])

    def step(self, actions: Array) -> Step:
        return self.step_some(np.arange(len(self._shown)), actions)

    def step_some(self, indices: Indices, actions: Array) -> Step:
        rewards = 1.0 - np.square(actions - 2.0 * self._shown[indices])[:, 0]
        for index in indices:
            self._shown[index] = self._generators[index].uniform(-1.0, 1.0)
        self._count[indices] += 1.0
        return Step(
            np.array(self._shown[indices]), rewards, np.zeros(len(rewards), bool), self._count[indices] >= TIME_LIMIT
        )

    def observations(self) -> Array:
        return np.array(self._shown)

    def states(self) -> Array:
        return np.column_stack([self._shown, self._count])

    def set_states(self, states: Array) -> None:
        self._shown, self._count = states[:, :1].copy(), states[:, 1].copy()

    def close(self) -> None:
        pass


def mean_error(learning: ModelBasedLearner) -> float:
    shown = np.linspace(-1.0, 1.0, 101)[:, None]
    return float(np.abs(2.0 * learning.learner.act(shown) - 2.0 * shown).mean())


def test_the_identity_is_learned_in_a_thousand_steps() -> None:
    problem = Problem(
        "echo", ("shown",), np.array([-2.0]), np.array([2.0]), TIME_LIMIT, EchoEnvironments, np.array([True])
    )
    settings = TrainerSettings.from_mapping(
        {
            "loop.method": "sac", "loop.initial_steps": 100, "loop.updates_per_step": 1,
            "sac.hidden_units": 64, "sac.batch_size": 64, "sac.learning_rate": 3e-3, "sac.initial_temperature": 0.1,
        }
    )  # fmt: skip
    with torch.no_grad():
        learning = ModelBasedLearner(problem, settings, seed=1, steps=1000)
        assert mean_error(learning) > 0.5
        for _ in range(1000):
            learning.step(lambda _kind, _values: None)
    assert mean_error(learning) < 0.15
