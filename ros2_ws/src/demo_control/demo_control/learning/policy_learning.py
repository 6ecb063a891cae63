"""The stage 'policy' where the policy is learned by soft actor-critic."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from demo_control.learning.sac.task_learner import TaskLearner, TaskProblem
from demo_control.learning.stages import Run

CHECKPOINT = "policy-sac.pt"
SECONDS_BETWEEN_CHECKPOINTS = 60.0


def learn_policy(run: Run) -> TaskLearner:
    """Learn the policy of this run, or go on where its checkpoint is."""
    learner = _begun(run)
    steps = run.settings.learning.steps
    run.reporter.start("policy: soft actor-critic", steps, min(learner.step_count, steps))
    path, saved_s = run.folder.file(CHECKPOINT), time.monotonic()

    def after_batch(learner: TaskLearner) -> None:
        nonlocal saved_s
        if learner.finished or time.monotonic() - saved_s >= SECONDS_BETWEEN_CHECKPOINTS:
            learner.save(path)
            saved_s = time.monotonic()
        best = f", best evaluated {learner.best_return:.1f}" if np.isfinite(learner.best_return) else ""
        run.reporter.advance(min(learner.step_count, steps), f"return {learner.curve[-1, 1]:.1f}{best}")

    learner.run(after_batch)
    run.reporter.finish(f"return {learner.best_return:.1f}")
    return learner


def learned_policy(run: Run) -> TaskLearner | None:
    """What this run has learned so far, or None."""
    return _begun(run) if run.folder.file(CHECKPOINT).exists() else None


def _begun(run: Run) -> TaskLearner:
    settings = run.settings
    simulator = run.task.simulator_or_first(settings.collection.simulator)
    learner = TaskLearner(TaskProblem(run.task, simulator, settings.sac, settings.learning), run.seed)

    def restore(path: Path) -> bool:
        learner.restore(path)
        return True

    run.folder.resumed(CHECKPOINT, restore)
    return learner
