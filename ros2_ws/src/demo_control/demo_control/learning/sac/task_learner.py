"""Soft actor-critic on a task's own plants: batches of episodes, an evaluation now and then, the best policy kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from demo_control.configuration import ConfigurationError
from demo_control.learning.environments import Booleans, Step, SteppedEnvironments
from demo_control.learning.linear_policy import denormaliser
from demo_control.learning.model_based.evaluation import evaluate
from demo_control.learning.sac.actor_critic import SoftActorCritic
from demo_control.learning.sac.base_policy import BasePolicy
from demo_control.learning.sac.inputs import NetworkInputs
from demo_control.learning.sac.replay import Float32s, ReplayBuffer, RowLayout
from demo_control.learning.sac.settings import LearningSettings, SacSettings
from demo_control.learning.seeding import Purpose, stream, streams
from demo_control.learning.storage import save_tensors
from demo_control.learning.task_environments import evaluation_problem, num_evaluation_episodes, training_problem
from demo_control.tasks import Array, Task

_BEST = ("policy.parameters", "critics.parameters")
"""What of a learner's state is kept of the best evaluation."""


@dataclass(frozen=True)
class TaskProblem:
    """What is learned, and how.

    Attributes:
        task: The task.
        simulator: Name of the simulator.
        sac: Settings of the learner.
        learning: Settings of what is around it.
    """

    task: Task
    simulator: str
    sac: SacSettings
    learning: LearningSettings


class TaskLearner:
    """A learner and its plants; every random number depends on the seed and the batch of episodes only.

    Args:
        problem: What is learned, and how.
        seed: Decides everything random.

    Attributes:
        iteration: Batches of episodes so far.
        step_count: Steps so far, of all plants together.
        inputs: What the networks see.
        base: What the networks' actions are added to.
        learner: Soft actor-critic.
        buffer: Transitions, in the networks' units.
        best_return: Mean return of the best evaluation; -inf before the first.
        best_returns: Returns of its episodes.
        curve: Rows (step, mean return of the batch, mean length of its episodes); one per batch.
        evaluations: Rows (step, mean, deviation of the returns); one per evaluation.
    """

    def __init__(self, problem: TaskProblem, seed: int) -> None:
        self._problem, self._seed = problem, seed
        task = problem.task
        self.inputs = NetworkInputs.of_task(task)
        layout = RowLayout(len(self.inputs.entries), task.action_dim)
        weights = int(stream(seed, Purpose.WEIGHTS).integers(2**62))
        self.learner = SoftActorCritic(layout, problem.sac, weights)
        self.buffer = ReplayBuffer(layout, problem.learning.capacity)
        self.iteration = self.step_count = 0
        self._best: dict[str, Tensor] = {}
        self.best_return, self.best_returns = -math.inf, np.zeros(0)
        self.curve, self.evaluations = np.zeros((0, 3)), np.zeros((0, 3))
        self._updates_due = 0.0
        self.base = BasePolicy.of_task(task, problem.simulator, problem.learning.residual_share)
        self._has_begun = False

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step_count >= self._problem.learning.steps

    def run(self, after_batch: Callable[[TaskLearner], None]) -> None:
        """Go on to the end, telling ``after_batch`` after every batch of episodes.

        Raises:
            ConfigurationError: It diverged.
        """
        with torch.no_grad():
            while not self.finished:
                if not self._has_begun and self.step_count >= self._problem.learning.initial_steps:
                    self._has_begun = True
                    self._evaluate()  # the policy it begins with is the first that may be kept
                self._run_batch()
                self.iteration += 1
                due = self.iteration % self._problem.learning.evaluation_interval == 0
                if self.finished or (self._has_begun and due):
                    self._evaluate()
                after_batch(self)

    def act(self, observations: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Deterministic actions between -1 and 1. Shape=(batch, observation_dim) → Shape=(batch, action_dim)."""
        return self.base.share(observations, self.learner.act(self.inputs.of(observations)))

    def best(self) -> SoftActorCritic:
        """A learner with policy and critics of the best evaluation."""
        found = SoftActorCritic(self.learner.layout, self._problem.sac, 0)
        found.restore({**self.learner.state(), **self._best})
        return found

    def _run_batch(self) -> None:
        """One episode of each plant, learning meanwhile."""
        settings, task, layout = self._problem.learning, self._problem.task, self.learner.layout
        count, m = settings.plants, task.action_dim
        problem = training_problem(task, self._problem.simulator, self.iteration, settings.episode_s)
        environments = problem.make(count)
        noise = _CorrelatedNoise(stream(self._seed, Purpose.ACTIONS, self.iteration), m, settings.noise_correlation)
        updates = stream(self._seed, Purpose.UPDATES, self.iteration)
        returns, lengths = np.zeros(count), np.zeros(count)
        try:
            observations = environments.reset(streams(self._seed, Purpose.EPISODE_STARTS, count, self.iteration))
            alive = np.arange(count)
            while len(alive):
                x = self.inputs.of(observations)
                share = self._explore(observations, noise.draw(count)[alive])
                held = self._hold(environments, alive, observations, share)
                rewards = self._learned_rewards(held)
                following = self.inputs.of(held.step.observations)
                self.buffer.add(layout.rows(x, share, following, rewards, held.step.terminated))
                returns[alive] += held.step.rewards
                lengths[alive] += held.ticks
                self.step_count += int(held.ticks.sum())
                self._learn(int(held.ticks.sum()), updates)
                going_on: Booleans = ~held.step.ended
                alive, observations = alive[going_on], held.step.observations[going_on]
        finally:
            environments.close()
        self.curve = np.vstack([self.curve, [self.step_count, returns.mean(), lengths.mean()]])

    def _explore(self, observations: Array, noise: Float32s) -> Array:
        """Random actions at first, then draws from the policy. Shape=(len(observations), action_dim)."""
        if self._has_begun:
            return np.asarray(self.learner.act(self.inputs.of(observations), noise), dtype=float)
        # The normal distribution's own function makes normal numbers uniform.
        return np.asarray(torch.erf(torch.from_numpy(noise) / math.sqrt(2.0)).numpy(), dtype=float)

    def _hold(
        self, environments: SteppedEnvironments, alive: npt.NDArray[np.intp], observations: Array, share: Array
    ) -> _Held:
        """Hold the networks' actions in the environments ``alive``, until an episode ends."""
        task = self._problem.task
        observations, rewards = observations.copy(), np.zeros(len(alive))
        terminated, truncated = np.zeros(len(alive), dtype=bool), np.zeros(len(alive), dtype=bool)
        ticks = np.zeros(len(alive), dtype=np.int64)
        denormalise = denormaliser(task)
        for _ in range(self._problem.learning.decision_ticks):
            running = np.flatnonzero(~(terminated | truncated))
            if not len(running):
                break
            nominal = self.base.share(observations[running], share[running])
            step = environments.step_some(alive[running], denormalise(nominal))
            observations[running], terminated[running], truncated[running] = (
                step.observations, step.terminated, step.truncated,
            )  # fmt: skip
            rewards[running] += step.rewards
            ticks[running] += 1
        return _Held(Step(observations, rewards, terminated, truncated), ticks)

    def _learned_rewards(self, held: _Held) -> Array:
        """Rewards as the learner gets them. Shape=(len(held.ticks),).

        Behind a failure the rewards are 0 for ever: with the offset, minus the offset.
        """
        settings, discount = self._problem.learning, self._problem.sac.discount
        missed = discount * self.offset_value * held.step.terminated
        return np.asarray(settings.reward_unit * (held.step.rewards - settings.reward_offset * held.ticks - missed))

    @property
    def offset_value(self) -> float:
        """What the offset's rewards are worth, for ever: what the learner's values lack, in units of rewards."""
        settings = self._problem.learning
        if settings.reward_offset == 0.0:
            return 0.0
        return settings.reward_offset * settings.decision_ticks / (1.0 - self._problem.sac.discount)

    def _learn(self, num_steps: int, generator: np.random.Generator) -> None:
        """The gradient steps that are due after so many steps."""
        settings, size = self._problem.learning, self._problem.sac.batch_size
        if not self._has_begun:
            return
        self._updates_due += num_steps * settings.updates_per_step
        batch = np.empty((size, self.learner.layout.width), np.float32)
        while self._updates_due >= 1.0:
            self._updates_due -= 1.0
            self.buffer.take(generator.integers(len(self.buffer), size=size), batch)
            self.learner.update(batch, generator.standard_normal((2, size, self.learner.layout.action_dim), np.float32))

    def _evaluate(self) -> None:
        """Judge the policy, and keep it if none was better."""
        if not bool(torch.isfinite(self.learner.policy.parameters).all()):
            raise ConfigurationError(
                f"policy: soft actor-critic diverged within {self.step_count} steps; sac.learning_rate = "
                f"{self._problem.sac.learning_rate:g} must be lower"
            )
        task, settings = self._problem.task, self._problem.learning
        episodes = num_evaluation_episodes(task, settings.evaluation_episodes)
        returns = evaluate(evaluation_problem(task, self._problem.simulator), self, episodes, self._seed)
        row = [self.step_count, returns.mean(), returns.std()]
        self.evaluations = np.vstack([self.evaluations, row])
        if returns.mean() > self.best_return:
            self.best_return, self.best_returns = float(returns.mean()), returns
            state = self.learner.state()
            self._best = {name: state[name] for name in _BEST}

    def save(self, path: Path) -> None:
        """Write all that decides what follows, atomically; call it between two batches."""
        rows, next_row = self.buffer.state()
        content: dict[str, Any] = {
            "iteration": self.iteration,
            "step_count": self.step_count,
            "updates_due": self._updates_due,
            "has_begun": self._has_begun,
            "learner": self.learner.state(),
            "rows": torch.from_numpy(rows),
            "next_row": next_row,
            "best": self._best,
            "best_return": self.best_return,
            **{name: torch.from_numpy(getattr(self, name)) for name in ("best_returns", "curve", "evaluations")},
        }
        save_tensors(path, content)

    def restore(self, path: Path) -> None:
        """Go on from what :meth:`save` wrote.

        Raises:
            OSError, RuntimeError, KeyError, ValueError: The file is missing or is not such a file.
        """
        content: dict[str, Any] = torch.load(path, weights_only=True)
        self.learner.restore(content["learner"])
        self.buffer.restore(content["rows"].numpy(), content["next_row"])
        self.iteration, self.step_count = content["iteration"], content["step_count"]
        self._updates_due, self._best = content["updates_due"], content["best"]
        self._has_begun = content["has_begun"]
        self.best_return = content["best_return"]
        self.best_returns = content["best_returns"].numpy()
        self.curve, self.evaluations = content["curve"].numpy(), content["evaluations"].numpy()


@dataclass(frozen=True)
class _Held:
    """What came of an action that was held: the step with the sum of its rewards, and how many control periods."""

    step: Step
    ticks: npt.NDArray[np.int64]


class _CorrelatedNoise:
    """Standard normal numbers, each step's correlated with those of the step before.

    Args:
        generator: Source of the numbers.
        action_dim: Entries of an action.
        correlation: From one step to the next.
    """

    def __init__(self, generator: np.random.Generator, action_dim: int, correlation: float) -> None:
        self._generator, self._action_dim, self._correlation = generator, action_dim, correlation
        self._last: Float32s | None = None

    def draw(self, count: int) -> Float32s:
        """Shape=(count, action_dim)."""
        new = self._generator.standard_normal((count, self._action_dim), np.float32)
        if self._last is None:
            self._last = new
        else:
            fresh = np.float32(math.sqrt(1.0 - self._correlation**2))
            self._last = np.float32(self._correlation) * self._last + fresh * new
        return self._last
