"""The control side of the layer."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from demo_control.layer.records import SOURCE_LAYER, SOURCE_POLICY, Correction, Counters, Plan, PlanReport
from demo_control.layer.settings import LayerSettings
from demo_control.mpc import PlanningResult
from demo_control.mpc.adaptation import ModelAdaptation
from demo_control.mpc.planner import PLANNING_TICKS
from demo_control.mpc.shift_models import Previous
from demo_control.tasks import Array, Task


class Corrector:
    """The control side: answers nominal actions from the freshest plan, in microseconds.

    Args:
        task: Gives the action's dimension and limits.
        settings: The layer's settings.
        history_length: Commands to remember for :meth:`pending`.
    """

    def __init__(self, task: Task, settings: LayerSettings, history_length: int) -> None:
        self._minimum, self._maximum = task.action_minimum, task.action_maximum
        self.settings = settings
        self.plan: Plan | None = None
        self.counters = Counters()
        self._history: deque[tuple[int, Array]] = deque(maxlen=history_length)
        limits = (1.0 / settings.adaptation_limit, settings.adaptation_limit)
        self._adaptation = ModelAdaptation(
            task, settings.adaptation_memory_ticks, settings.adaptation_prior_ticks, limits
        )

    def correct(self, sequence: int, nominal: Array) -> Correction:
        """Answer nominal + (μ_h − π_θ(x̂_h)), with h the periods since the plan's first step.

        At the state the plan predicted this is the plan itself (the thesis's convex combination); elsewhere the
        policy's reaction to the difference is kept.

        Args:
            sequence: Number of the observation that the nominal action answers.
            nominal: Physical units. Shape=(action_dim,).
        """
        if nominal.shape != self._minimum.shape:
            return self._unanswered("wrong_shape")
        if not np.isfinite(nominal).all():
            return self._unanswered("non_finite_nominal")
        plan, settings = self.plan, self.settings
        reason = ""
        step = 0
        if not settings.use_layer:
            reason = "disabled"
        elif plan is None:
            reason = "no_plan"
        elif plan.rejection_reason:
            reason = "plan_rejected"
        else:
            step = sequence - plan.first_sequence
            if not 0 <= step < min(len(plan.controls), settings.maximum_plan_age_ticks):
                reason = "stale_plan"
        values = np.asarray(nominal, np.float64)
        if not reason and plan is not None:
            corrected = values + plan.controls[step] - plan.policy_actions[step]
            values = np.minimum(np.maximum(corrected, self._minimum), self._maximum)
        else:
            self.counters.fallbacks[reason] += 1
        self._history.append((sequence, values))
        self.counters.commands += 1
        return Correction(values, SOURCE_POLICY if reason else SOURCE_LAYER, reason)

    def _unanswered(self, reason: str) -> Correction:
        self.counters.fallbacks[reason] += 1
        return Correction(None, SOURCE_POLICY, reason)

    def pending(self, sequence: int, ticks: int) -> Array:
        """The last ``ticks`` commands up to the one that answered ``sequence``, the oldest first.

        A command that was never sent leaves the one before in force, as on the robot; before the first command it
        is the action nearest to zero.
        """
        rest = np.minimum(np.maximum(0.0, self._minimum), self._maximum)
        # The control thread may append meanwhile; one call copies the queue under the interpreter's lock.
        sent = [entry for entry in tuple(self._history) if entry[0] <= sequence]
        commands = []
        for number in range(sequence - ticks + 1, sequence + 1):
            in_force = [values for sent_number, values in sent if sent_number <= number]
            commands.append(in_force[-1] if in_force else rest)
        return np.array(commands)

    def previous(self, first_sequence: int) -> Previous | None:
        """The plan in use, as the shift models take it; a rejected or outlived one is forgotten."""
        plan = self.plan
        if plan is None or plan.rejection_reason:
            return None
        elapsed = first_sequence - plan.first_sequence
        return Previous(plan.controls, elapsed) if 0 <= elapsed < len(plan.controls) else None

    def change_scale(self, sequence: int, observation: Array) -> Array:
        """Factor on the model's predicted changes, with what an observation teaches. Shape=(observation_dim,)."""
        self._adaptation.observe(sequence, observation)
        factor = self._adaptation.change_scale
        return factor if self.settings.adapt_model else np.ones_like(factor)

    def take(
        self, sequence: int, observation: Array, result: PlanningResult, index: int, term_names: Sequence[str]
    ) -> PlanReport:
        """Validate one robot's new plan and put it in use.

        Args:
            sequence: Number of the observation it was made from.
            observation: That observation. Shape=(observation_dim,).
            result: Plans of several robots.
            index: Which of them.
            term_names: Names of the cost terms.
        """
        self._adaptation.expect(sequence, observation, result.expected_changes[index])
        nominal, planned = result.nominal_costs[index], result.plan_costs[index]
        gain = float(nominal.sum() - planned.sum())
        disagreement = float(result.disagreement[index])
        reason = self._rejection(result.controls[index], result.policy_actions[index], planned, gain, disagreement)
        self.plan = Plan(sequence + PLANNING_TICKS, result.controls[index], result.policy_actions[index], reason)
        self.counters.plans += 1
        return PlanReport(
            observation_sequence=sequence,
            num_samples=self.settings.num_samples,
            horizon=self.settings.horizon,
            effective_sample_size=float(result.effective_sample_size[index]),
            cost_terms=tuple(term_names),
            nominal_costs=tuple(nominal.tolist()),
            plan_costs=tuple(planned.tolist()),
            nominal_cost=float(nominal.sum()),
            plan_cost=float(planned.sum()),
            predicted_gain=gain,
            ensemble_disagreement=disagreement,
            accepted=not reason,
            rejection_reason=reason,
        )

    def _rejection(self, controls: Array, policy_actions: Array, costs: Array, gain: float, disagreement: float) -> str:
        """Why a plan must not be used, or ''."""
        if not (np.isfinite(controls).all() and np.isfinite(policy_actions).all()):
            return "not_finite"
        if not np.isfinite(costs).all():
            return "cost_not_finite"
        if (controls < self._minimum - 1e-6).any() or (controls > self._maximum + 1e-6).any():
            return "out_of_bounds"
        if not disagreement <= self.settings.maximum_disagreement:
            return "disagreement"
        # A policy that diverges on the model has an infinite cost: any finite plan is then a gain.
        if not gain >= self.settings.minimum_gain and np.isfinite(gain):
            return "no_gain"
        return ""
