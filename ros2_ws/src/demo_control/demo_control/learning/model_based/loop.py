"""DeMoRL (Samineni 2021, Algorithm 2; Mishra et al. 2022), and MBPO, MoPAC and SAC as settings of the same loop.

:meth:`ModelBasedLearner.step` is the algorithm: act, refit the model and plan from time to time, learn. What the
methods differ in is the planner's preset: no mirror step is MBPO, an exponential utility MoPAC, elites DeMoRL; without
a model it is soft actor-critic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

import numpy as np

from demo_control.learning.environments import Problem
from demo_control.learning.model_based.fitting import EnsembleFitter
from demo_control.learning.model_based.imagination import roll_through_model
from demo_control.learning.model_based.planning import ModelPlanner, followed
from demo_control.learning.model_based.planning_problem import planning_observations, planning_task
from demo_control.learning.model_based.settings import METHODS, TrainerSettings
from demo_control.learning.model_based.trust import measure_trust
from demo_control.learning.sac import ReplayBuffer, RowLayout, SoftActorCritic
from demo_control.learning.seeding import Purpose, stream

Told = Callable[[str, Mapping[str, float]], None]
"""Is told figures: (kind of record, values by name)."""


class ModelBasedLearner:
    """A learner in its environment. Every random number depends on the seed and the step only.

    Args:
        problem: What to learn.
        settings: How.
        seed: Decides everything random.
        steps: Environment steps of the whole run, for the schedules.

    Attributes:
        learner: Soft actor-critic.
        fitter: The model's networks.
        real: Transitions of the environment, D_env.
        imagined: Transitions of the model, D_mpc.
        visited: The environment's state at the beginning of each transition in ``real``.
        step_count: Environment steps so far.
        episode: Number of the episode.
        episode_began: Steps before it.
        environment: One environment.
        observation: Of it. Shape=(observation_dim,).
    """

    def __init__(self, problem: Problem, settings: TrainerSettings, seed: int, steps: int) -> None:
        self.problem, self.settings, self.seed, self.steps = problem, settings, seed, steps
        layout = RowLayout(problem.observation_dim, problem.action_dim)
        weights = stream(seed, Purpose.WEIGHTS)
        self.learner = SoftActorCritic(layout, settings.sac, int(weights.integers(2**62)))
        self.task = planning_task(problem)
        self.fitter = EnsembleFitter(self.task, settings.model, int(weights.integers(2**62)))
        self.real = ReplayBuffer(layout, steps)
        loop = settings.loop
        kept = loop.model_refits_kept * loop.start_states * settings.planner.horizon
        self.imagined = ReplayBuffer(layout, kept)
        self.environment = problem.make(1)
        self.visited = problem.history(self.environment)
        self.step_count, self.episode, self.episode_began = 0, 0, 0
        self.observation = self.environment.reset([stream(seed, Purpose.EPISODE_STARTS, 0)])[0]

    def step(self, tell: Told) -> None:
        """One step in the environment, and what is learned from it."""
        loop = self.settings.loop
        since_start = self.step_count - loop.initial_steps
        if METHODS[loop.method] and since_start >= 0 and since_start % loop.model_interval == 0:
            self.plan_on_model(tell)
        self.act()
        if self.step_count > loop.initial_steps:
            self.learn()

    def act(self) -> None:
        """Act with the policy, exploring, and remember what came of it."""
        generator = stream(self.seed, Purpose.ACTIONS, self.step_count)
        m = self.problem.action_dim
        if self.step_count < self.settings.loop.initial_steps:
            share = generator.uniform(-1.0, 1.0, (1, m))
        else:
            share = self.learner.act(self.observation[None], generator.standard_normal((1, m), np.float32)).astype(
                float
            )
        actions = self.problem.actions(share)
        self.visited.add(actions[0])
        result = self.environment.step(actions)
        x, x_next = self.observation[None], result.observations
        self.real.add(self.learner.layout.rows(x, share, x_next, result.rewards, result.terminated))
        self.observation = x_next[0].copy()
        self.step_count += 1
        if result.ended[0] or self.step_count - self.episode_began == self.settings.loop.episode_steps:
            self.episode, self.episode_began = self.episode + 1, self.step_count
            self.observation = self.environment.reset([stream(self.seed, Purpose.EPISODE_STARTS, self.episode)])[0]

    def learn(self) -> None:
        """G gradient steps on batches mixed from D_env and D_mpc."""
        settings = self.settings
        count, size, m = settings.loop.updates_per_step, settings.sac.batch_size, self.problem.action_dim
        generator = stream(self.seed, Purpose.UPDATES, self.step_count)
        num_real = round(self.real_share() * size) if len(self.imagined) else size
        real = generator.integers(len(self.real), size=(count, num_real))
        imagined = generator.integers(max(len(self.imagined), 1), size=(count, size - num_real))
        noise = generator.standard_normal((count, 2, size, m), np.float32)
        batch = np.empty((size, self.learner.layout.width), np.float32)
        for update in range(count):
            self.real.take(real[update], batch[:num_real])
            if num_real < size:
                self.imagined.take(imagined[update], batch[num_real:])
            self.learner.update(batch, noise[update])

    def plan_on_model(self, tell: Told) -> None:
        """Refit the model; plan from states that were met; roll the plans through the model into D_mpc."""
        settings, loop, now = self.settings, self.settings.loop, self.step_count
        layout, rows = self.learner.layout, self.real.rows.astype(float)
        x = planning_observations(rows[:, layout.observation])
        x_next = planning_observations(rows[:, layout.next_observation])
        x_next[:, -2] = rows[:, layout.reward]
        u = self.problem.actions(rows[:, layout.action])
        ensemble, fit = self.fitter.refit(x, u, x_next, stream(self.seed, Purpose.MODEL_FIT, now))
        tell("model", asdict(fit))

        chosen = stream(self.seed, Purpose.MODEL_STARTS, now).integers(len(rows), size=loop.start_states)
        chosen = chosen[: len(chosen) // ensemble.num_members * ensemble.num_members]
        starts = x[chosen]
        planner = ModelPlanner(
            self.problem, self.task, ensemble, self.learner, replace(settings.planner, horizon=self.horizon())
        )
        plans = planner.plan(starts, stream(self.seed, Purpose.MODEL_PLANS, now))
        share = followed(plans, planner, starts, loop.gate, loop.gate_share)
        good = share > 0.0
        generator = stream(self.seed, Purpose.MODEL_ROLLOUTS, now)
        self.imagined.add(
            roll_through_model(
                self.problem, ensemble, self.learner, starts, plans, share, loop.stored, loop.imagined_noise, generator
            )
        )

        figures = {"kept": float(share.mean()), "horizon": float(self.horizon())}
        for name in ("moved", "disagreement"):
            figures[name] = float(getattr(plans, name)[good].mean()) if good.any() else 0.0
        if loop.trust_starts and settings.planner.mirror_steps and good.any():
            few = stream(self.seed, Purpose.TRUST_STARTS, now).permutation(np.flatnonzero(good))[: loop.trust_starts]
            states = self.visited.states(chosen[few])
            trust = measure_trust(
                self.problem, self.learner, states, plans.controls[few], plans.gains[few], loop.trust_steps
            )
            figures |= asdict(trust)
        tell("plan", figures)

    def real_share(self) -> float:
        """Share of the environment's transitions in a batch now."""
        loop = self.settings.loop
        if loop.real_share_last < 0.0:
            return loop.real_share
        return loop.real_share + (loop.real_share_last - loop.real_share) * min(self.step_count / self.steps, 1.0)

    def horizon(self) -> int:
        """Length of the plans now."""
        loop, last = self.settings.loop, self.settings.planner.horizon
        if not loop.first_horizon:
            return last
        done = min(self.step_count / loop.horizon_steps, 1.0)
        return round(loop.first_horizon + done * (last - loop.first_horizon))
