"""Soft actor-critic where plans correct the policy: curriculum, what the network is added to, bundle without value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demo_control.bundle import load_bundle
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Task

from ..interruption import Interrupter

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from demo_control.learning.pipeline import train  # noqa: E402
from demo_control.learning.sac import LearningSettings, SacSettings  # noqa: E402
from demo_control.learning.sac.task_learner import TaskLearner, TaskProblem  # noqa: E402
from demo_control.learning.settings import TrainingSettings  # noqa: E402
from demo_control.learning.task_environments import evaluation_problem, training_problem  # noqa: E402

SAC = SacSettings(hidden_units=8, batch_size=16)
LEARNING = LearningSettings(
    steps=200, plants=4, initial_steps=40, evaluation_interval=1, residual_share=0.25, decision_ticks=2
)


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def rewards(task: Task, iteration: int) -> np.ndarray:
    environments = training_problem(task, "numpy", iteration).make(3)
    environments.reset(generators(3))
    environments.step(np.ones((3, 2)))
    return environments.step(np.ones((3, 2))).rewards


def test_training_meets_the_tasks_curriculum_and_equal_generators_equal_plants(task: Task) -> None:
    early, late = rewards(task, 0), rewards(task, 2)
    np.testing.assert_array_equal(early, rewards(task, 0))
    assert len(set(early)) == 3, "every plant is another one"
    assert (late < early).all(), "more drag from iteration 2 on"


def test_evaluation_plants_decide_and_failed_plants_give_nothing(
    task: Task, turning_plants: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = task.policy_training
    assert spec is not None
    fragile = replace(spec, evaluation_plants=lambda _: turning_plants([0.5, 1.5], fail_beyond=0.05))
    environments = evaluation_problem(replace(task, policy_training=fragile), "numpy").make(2)
    environments.reset(generators(2))
    steps = [environments.step(np.full((2, 2), -2.0)) for _ in range(5)]
    assert steps[-1].terminated.all()
    assert not steps[-1].truncated.any()
    np.testing.assert_array_equal(steps[-1].rewards, 0.0)


def test_network_adds_no_more_than_its_share_to_the_initial_policy(task: Task) -> None:
    learner = TaskLearner(TaskProblem(task, "numpy", SAC, LEARNING), 1)
    spec = task.policy_training
    assert spec is not None
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (50, 4))
    nominal = x @ spec.initial_weights("numpy").T
    learner.learner.policy.parameters.mul_(100.0)  # answers at their limits
    added = learner.act(x) - nominal
    assert 0.2 < np.abs(added).max() <= 0.25 + 1e-9
    learner.learner.policy.parameters.zero_()
    np.testing.assert_allclose(learner.act(x), nominal)


def test_bundle_of_a_task_with_corrections_has_the_policy_and_no_value(task: Task, tmp_path: Path) -> None:
    values = {f"learning.{name}": value for name, value in LEARNING.as_mapping().items()}
    values |= {"sac.hidden_units": 8, "sac.batch_size": 16}
    settings = TrainingSettings.for_task(task, values)
    outcome = train(task, settings, 3, tmp_path, Interrupter(), policy="sac")
    bundle = load_bundle(tmp_path, task)
    assert bundle.value is None, "the planning problem is another one"
    assert bundle.contract.provenance["policy"]["returns"].keys() == {"light", "heavy"}
    learner = TaskLearner(TaskProblem(task, "numpy", settings.sac, settings.learning), 3)
    learner.restore(tmp_path / "checkpoints" / "policy-sac.pt")
    assert outcome.search_return == pytest.approx(learner.best_return, abs=0.06)
    learner.learner.restore(learner.best().state())
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (50, 4))
    np.testing.assert_allclose(OnnxPolicy(bundle.policy).act(x), 2.0 * learner.act(x), atol=1e-5)
    unseen = x.copy()
    unseen[:, [0, 3]] += 1.0
    np.testing.assert_allclose(OnnxPolicy(bundle.policy).act(unseen), OnnxPolicy(bundle.policy).act(x), atol=1e-6)
