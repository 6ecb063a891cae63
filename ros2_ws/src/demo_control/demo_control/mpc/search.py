"""The search of one plan: the control distribution from one mirror step to the next.

Steps come first in all arrays, as in the rollouts: nothing has to be turned round on the way to the engine and back.
Sequences are in the variables of the Gaussian (:mod:`demo_control.mpc.distribution`) unless they are called controls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from demo_control.mpc.distribution import Bounds, initial_deviation, learned_deviation
from demo_control.mpc.lanes import Lanes, Prospect
from demo_control.mpc.mirror_step import STEP_SIZES
from demo_control.mpc.noise import Float32s, NoisePool, Window
from demo_control.mpc.perturbation import perturb
from demo_control.mpc.settings import PlannerSettings
from demo_control.mpc.shift_models import Previous, ShiftModel, continued
from demo_control.mpc.utilities import comparable
from demo_control.rollout.engine import Floats
from demo_control.tasks import Array


@dataclass(frozen=True)
class Proposal:
    """What Φ proposes.

    Attributes:
        start: Predicted state at which the plan begins. Shape=(num_robots, observation_dim).
        mean: μ̃, the cheapest candidate. Shape=(horizon, num_robots, action_dim).
        candidates: Shape=(horizon, num_robots, num_candidates, action_dim).
        lanes: What was rolled out for it, or is still to be.
        prospect: What came of it; None where that is still to be found out.
    """

    start: Array
    mean: Array
    candidates: Array
    lanes: Lanes
    prospect: Prospect | None


@dataclass(frozen=True)
class SearchState:
    """The control distribution between two mirror steps, in the Gaussian's variables.

    Attributes:
        mean: μ, at first μ̃. Shape=(horizon, num_robots, action_dim).
        deviation: σ. Shape=(horizon, num_robots, action_dim).
        centres: What samples are drawn around. Shape=(horizon, num_robots, num_centres, action_dim).
        elites: Samples to be tried again. Shape=(horizon, num_robots, num_elites, action_dim).
        best: The cheapest sample of the last mirror step, as controls, where it is the answer.
            Shape=(horizon, num_robots, action_dim).
        plans: Number of each robot's plan since its search began. Shape=(num_robots,).
        step_size: α of this plan. One number, or Shape=(num_robots,).
        sample_size: Effective sample size of the last mirror step. Shape=(num_robots,).
    """

    mean: Array
    deviation: Array
    centres: Array
    elites: Array
    best: Array
    plans: Array
    step_size: Array | float
    sample_size: Array


class Outcome(NamedTuple):
    """What a mirror step found.

    Attributes:
        samples: As weighed. Shape=(horizon, num_robots, num_samples, action_dim).
        costs: Shape=(num_robots, num_samples).
        weights: Shape=(num_robots, num_samples).
        sample_size: Effective sample size of the weights. Shape=(num_robots,).
        mean: μ, within the limits. Shape=(horizon, num_robots, action_dim).
    """

    samples: Floats
    costs: Array
    weights: Array
    sample_size: Array
    mean: Array


class Search:
    """Samples from the control distribution, and what becomes of it.

    Args:
        bounds: Keep samples within the limits.
        noise: Of the samples.
        shift: Whether samples follow the policy.
        parts: The number of samples is a multiple of this.
    """

    def __init__(self, bounds: Bounds, noise: NoisePool, shift: ShiftModel, parts: int) -> None:
        self.bounds = bounds
        self._noise = noise
        self._shift = shift
        self._parts = parts
        self._known: tuple[PlannerSettings | None, Array] = (None, np.empty(0))
        self._samples: Float32s = np.empty((0, 0, 0, 0), np.float32)

    def begin(self, settings: PlannerSettings, proposal: Proposal, previous: Sequence[Previous | None]) -> SearchState:
        """The distribution that Φ proposes, and the samples that are remembered.

        Args:
            settings: The planner's.
            proposal: What Φ proposes.
            previous: What is known of each robot's plan before, or None.
        """
        mean, centres = self.bounds.variables(proposal.mean), self.bounds.variables(proposal.candidates)
        initial = self._initial_deviation(settings)
        deviation = np.repeat(initial[:, None], mean.shape[1], axis=1)
        if settings.carry_covariance and settings.covariance != "fixed":
            remembered = [
                initial
                if plan is None or plan.deviation is None
                else continued(plan.deviation[plan.elapsed :], initial)
                for plan in previous
            ]
            deviation = np.stack(remembered, axis=1)
        num_kept = self._num_kept(settings)
        elites = np.empty((*mean.shape[:2], num_kept, mean.shape[2]))
        for robot, plan in enumerate(previous if num_kept else ()):
            # The end that an old sample lacks is that of the proposal; a robot without any tries the proposal.
            elites[:, robot] = mean[:, robot, None]
            if plan is not None and plan.elites is not None and len(plan.elites) == num_kept:
                elites[:, robot] = continued(plan.elites[:, plan.elapsed :], mean[:, robot]).swapaxes(0, 1)
        plans = np.array([1 if plan is None else plan.plans + 1 for plan in previous])
        step_size = STEP_SIZES[settings.step_size_schedule](settings.step_size, plans)
        return SearchState(
            mean=mean,
            deviation=deviation,
            centres=self._centres(centres),
            elites=elites,
            best=proposal.mean,
            plans=plans,
            step_size=step_size,
            sample_size=np.zeros(len(previous)),
        )

    def _initial_deviation(self, settings: PlannerSettings) -> Array:
        """That of the settings, computed anew when they change. Shape=(horizon, action_dim)."""
        if self._known[0] is not settings:
            self._known = (settings, initial_deviation(settings, self.bounds.unit))
        return self._known[1]

    def _centres(self, sequences: Array) -> Array:
        """What samples are drawn around; where they follow the policy, their part of the sum is around zero."""
        return np.zeros_like(sequences) if self._shift.samples_follow_policy else sequences

    def _num_samples(self, settings: PlannerSettings, step: int) -> int:
        """Samples of a mirror step, the first being step 0."""
        wanted = settings.num_samples / settings.sample_decay**step
        return max(round(wanted / self._parts), 1) * self._parts

    def _num_kept(self, settings: PlannerSettings) -> int:
        """How many elites are samples again: there must be room beside the centres, of which there are two at most."""
        wanted = math.ceil(settings.keep_elites * settings.elite_fraction * settings.num_samples)
        fewest = self._num_samples(settings, max(settings.mirror_steps, 1) - 1)
        return max(min(wanted, fewest - 2), 0)

    def sample(
        self,
        settings: PlannerSettings,
        state: SearchState,
        step: int,
        generators: Sequence[np.random.Generator],
    ) -> Floats:
        """Sequences around the centres in turn, each centre itself among them, and the elites kept.

        Args:
            settings: The planner's.
            state: What to sample from.
            step: Number of the mirror step, from 0 on.
            generators: One per robot.

        Returns:
            Shape=(horizon, num_robots, num_samples, action_dim). Where samples follow the policy: what is added to it.
            They are overwritten by the next ones.
        """
        num_samples, num_centres = self._num_samples(settings, step), state.centres.shape[2]
        shape = (len(state.mean), len(generators), num_samples, state.mean.shape[2])
        if self._samples.shape != shape:
            self._samples = np.empty(shape, np.float32)
        samples, limits = self._samples, None if self._shift.samples_follow_policy else self.bounds.limits
        for robot, (window, centres) in enumerate(self.draws(settings, state, step, generators)):
            perturb(samples[:, robot], window, centres, limits)
        num_kept = state.elites.shape[2]
        if num_kept:
            # Spread over the ensemble's members, and not where the centres are.
            places = np.linspace(num_centres, num_samples - 1, num_kept).round().astype(int)
            samples[:, :, places] = self.bounds.limited(state.elites)
        return samples

    def draws(
        self, settings: PlannerSettings, state: SearchState, step: int, generators: Sequence[np.random.Generator]
    ) -> Iterator[tuple[Window, Float32s]]:
        """Each robot's noise, and what it is added to; see :meth:`sample`. Centres: Shape=(horizon, num_centres, n)."""
        num_samples, deviation = self._num_samples(settings, step), state.deviation / self.bounds.unit
        if settings.covariance == "fixed":
            deviation = deviation[..., :1]
        centres = state.centres.astype(np.float32)
        for robot, generator in enumerate(generators):
            yield self._noise.window(num_samples, deviation[:, robot], settings, generator), centres[:, robot]

    def advance(self, settings: PlannerSettings, state: SearchState, outcome: Outcome) -> SearchState:
        """The state after a mirror step, which may overwrite its outcome by the next one's.

        Args:
            settings: The planner's.
            state: Before.
            outcome: Of the step.
        """
        samples, costs, weights, sample_size, mean = outcome
        mean = mean.copy()
        elites, best, num_kept = state.elites, state.best, state.elites.shape[2]
        if num_kept or settings.answer == "best":
            ranked, robots = comparable(costs), np.arange(len(costs))
            cheapest = np.argpartition(ranked, num_kept, axis=1)[:, :num_kept]
            elites = samples[:, robots[:, None], cheapest].astype(np.float64)
            best = self.bounds.controls(samples[:, robots, np.argmin(ranked, axis=1)]).astype(np.float64)
        initial = self._initial_deviation(settings)
        return SearchState(
            mean=mean,
            deviation=learned_deviation(state.deviation, samples, mean, weights, initial, settings),
            centres=self._centres(mean[:, :, None]),
            elites=elites,
            best=best,
            plans=state.plans,
            step_size=state.step_size,
            sample_size=sample_size,
        )
