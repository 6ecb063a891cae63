"""The control side of the layer."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import replace
from operator import itemgetter

import numpy as np

from demo_control.layer.records import SOURCE_LAYER, SOURCE_POLICY, Correction, Counters, Plan, PlanReport
from demo_control.layer.settings import LayerSettings
from demo_control.mpc import Planner, PlanningResult, Previous, Situations
from demo_control.mpc.adaptation import ModelAdaptation
from demo_control.mpc.regret import Regret
from demo_control.tasks import Array, Task

COMPARATORS = ("policy", "proposal")
"""Fixed rules that the plans are compared with: the policy alone, and what the shift model proposed."""


class Corrector:
    """The control side: answers nominal actions from the freshest plan, in microseconds.

    Args:
        task: Gives the action's dimension and limits.
        settings: The layer's settings.
        history_length: Control periods to remember for :meth:`planning_observation` and :meth:`pending`.
    """

    def __init__(self, task: Task, settings: LayerSettings, history_length: int) -> None:
        problem, planning = task.planning_problem, task.planning
        self._minimum, self._maximum = task.action_minimum, task.action_maximum
        self._control_limits = problem.action_minimum, problem.action_maximum
        self._decision_ticks = task.decision_ticks
        self._planning_ticks = problem.planning_ticks
        self._correct = None if planning is None else planning.correct
        names = [quantity.name for quantity in task.observation]
        self._selection = None if planning is None else [names.index(name) for name in planning.observation]
        self._rest = np.clip(0.0, problem.action_minimum, problem.action_maximum)
        self.settings = settings
        """In force for the next command."""
        self.planning_settings = settings
        """Of the plan that is being made, or of the next one: they change between two plans only."""
        self.plan: Plan | None = None
        self.counters = Counters()
        self.regret = Regret(len(COMPARATORS))
        self._history: deque[tuple[int, Array]] = deque(maxlen=history_length)
        self._problem = problem
        self.forget_adaptation()

    def forget_adaptation(self) -> None:
        """Take the model as it was trained: what has been learned of another one does not hold for it."""
        settings = self.planning_settings
        limits = (1.0 / settings.adaptation_limit, settings.adaptation_limit)
        self._adaptation = ModelAdaptation(
            self._problem, settings.adaptation_memory_ticks, settings.adaptation_prior_ticks, limits,
            settings.offset_gain, self._decision_ticks,
        )  # fmt: skip

    def correct(self, sequence: int, nominal: Array) -> Correction:
        """Answer nominal + (μ_h − π_θ(x̂_h)), with h the steps since the plan's first.

        At the state the plan predicted this is the plan itself (the thesis's convex combination); elsewhere the
        policy's reaction to the difference is kept. Where plans decide on corrections, the answer is the
        nominal action corrected by c_h.

        Args:
            sequence: Number of the observation that the nominal action answers.
            nominal: Physical units. Shape=(action_dim,).
        """
        if nominal.shape != self._minimum.shape:
            return self._unanswered("wrong_shape")
        if not np.isfinite(nominal).all():
            return self._unanswered("non_finite_nominal")
        # Read once: the planning thread may put another plan here at any moment.
        newest, settings = self.plan, self.settings
        plan = _in_force(newest, sequence)
        reason = ""
        step = 0
        if not settings.use_layer:
            reason = "disabled"
        elif plan is None:
            reason = "no_plan"
        elif plan.rejection_reason:
            reason = "plan_rejected"
        else:
            age = sequence - plan.first_sequence
            step = age // self._decision_ticks
            if not (0 <= step < len(plan.controls) and age < settings.maximum_plan_age_ticks):
                reason = "stale_plan"
        values, correction = np.asarray(nominal, np.float64), self._rest
        if not reason and plan is not None:
            corrected = self._corrected(values, plan, step)
            # A correction map is the task's, which may be another package's.
            if np.isfinite(corrected).all():
                values = np.minimum(np.maximum(corrected, self._minimum), self._maximum)
                correction = plan.controls[step]
            else:
                reason = "non_finite_correction"
        if reason:
            self.counters.fallbacks[reason] += 1
        control = values if self._correct is None else correction
        self._history.append((sequence, control))
        self.counters.commands += 1
        number = 0 if newest is None else newest.number
        return Correction(values, SOURCE_POLICY if reason else SOURCE_LAYER, reason, number, control)

    def _corrected(self, nominal: Array, plan: Plan, step: int) -> Array:
        """The nominal action corrected by a step of a plan, not limited yet."""
        correction = plan.controls[step]
        if self._correct is None:
            changed: Array = nominal + (correction - plan.policy_actions[step])
        else:
            changed = self._correct(nominal[None], correction[None])[0]
        return changed

    def _unanswered(self, reason: str) -> Correction:
        self.counters.fallbacks[reason] += 1
        return Correction(None, SOURCE_POLICY, reason)

    def planning_observation(self, sequence: int, observation: Array) -> Array:
        """An observation as the planning problem has it: with the correction in force. Shape=(planning_dim,)."""
        if self._selection is None:
            return observation
        return np.concatenate([observation[self._selection], self.pending(sequence, 1)[0]])

    def pending(self, sequence: int, ticks: int) -> Array:
        """The last ``ticks`` decisions up to the one that answered ``sequence``, the oldest first.

        A command that was never sent leaves the one before in force, as on the robot; before the first command it
        is the action nearest to zero.

        Returns:
            Commands, or corrections where plans decide on these. Shape=(ticks, control_dim).
        """
        # The control thread may append meanwhile; one call copies the queue under the interpreter's lock.
        # In order: where an observation was overtaken, the robot has the newer one's command already, and keeps it.
        sent = sorted(self._history, key=_number) if ticks else []
        commands = []
        for number in range(sequence - ticks + 1, sequence + 1):
            newer = bisect_right(sent, number, key=_number)
            commands.append(sent[newer - 1][1] if newer else self._rest)
        return np.array(commands).reshape(ticks, self._rest.size)

    def previous(self, sequence: int) -> Previous | None:
        """The plan in use, as the shift models take it for a plan made from observation ``sequence``.

        An outlived plan is forgotten, and so is a rejected one, but for its share where it was only not worth it.
        """
        plan = self.plan
        if plan is None:
            return None
        share = 1.0
        if plan.rejection_reason:
            share = self.planning_settings.rejected_plan_share if plan.rejection_reason == "no_gain" else 0.0
        elapsed = round((sequence + self._planning_ticks - plan.first_sequence) / self._decision_ticks)
        if share == 0.0 or not 0 <= elapsed < len(plan.controls):
            return None
        search = plan.search
        # A rejected plan is drawn to zero; samples that were cheap for it are not worth another try.
        elites = search.elites if share == 1.0 else None
        return replace(search, controls=share * search.controls, elapsed=elapsed, elites=elites)

    def adapted(self, sequence: int, observation: Array) -> tuple[Array, Array]:
        """Factor on the model's predicted changes and what is added to them, with what an observation teaches.

        Args:
            sequence: The observation's number.
            observation: Of the planning problem. Shape=(planning_dim,).

        Returns:
            Both Shape=(planning_dim,).
        """
        scaled = self.planning_settings.adapt_model
        self._adaptation.observe(sequence, observation, scaled)
        factor = self._adaptation.change_scale
        return (factor if scaled else np.ones_like(factor)), self._adaptation.change_offset

    def take(
        self, sequence: int, situations: Situations, result: PlanningResult, index: int, planner: Planner
    ) -> PlanReport:
        """Validate one robot's new plan and put it in use.

        Args:
            sequence: Number of the observation it was made from.
            situations: What the plans of several robots were made from.
            result: These plans.
            index: Which of them.
            planner: Who made them.
        """
        observation = situations.observations[index]
        nominal, planned = result.nominal_costs[index], result.plan_costs[index]
        gain = float(nominal.sum() - planned.sum())
        disagreement = float(result.disagreement[index])
        mean, policy_actions = result.controls[index], result.policy_actions[index]
        reason = self._rejection(mean, policy_actions, planned, gain, disagreement)
        share = 0.0 if reason else self._followed_share(gain)
        nominal_change, planned_change = result.nominal_changes[index], result.expected_changes[index]
        comparators = np.array([nominal.sum(), result.proposal_cost[index]])
        realised = planner.stage_cost(observation, self.pending(sequence, 1)[0])
        self.regret.add(float(result.path_step[index]), float(planned.sum()), comparators, realised)
        self._adaptation.expect(sequence, observation, between(nominal_change, planned_change, share))
        controls = between(policy_actions, mean, share)
        before = _in_force(self.plan, sequence)
        number = self.counters.plans = self.counters.plans + 1
        # In one assignment: the control thread may look at any moment, and must find a plan that has begun.
        self.plan = Plan(
            sequence + self._planning_ticks, result.previous(index, 0), policy_actions, controls, reason, number,
            # Without the one before that: else none would ever be forgotten.
            None if before is None else replace(before, before=None),
        )  # fmt: skip
        return PlanReport(
            observation_sequence=sequence,
            num_samples=self.planning_settings.num_samples,
            horizon=self.planning_settings.horizon,
            effective_sample_size=float(result.effective_sample_size[index]),
            cost_terms=tuple(planner.term_names),
            nominal_costs=tuple(nominal.tolist()),
            plan_costs=tuple(planned.tolist()),
            nominal_cost=float(nominal.sum()),
            plan_cost=float(planned.sum()),
            predicted_gain=gain,
            ensemble_disagreement=disagreement,
            accepted=not reason,
            rejection_reason=reason,
            followed_share=share,
            path_length=self.regret.path_length,
            regret=self.regret.regret,
            realised_cost=self.regret.realised_cost,
        )

    def _followed_share(self, gain: float) -> float:
        """How much of an accepted plan is followed: the less, the nearer its gain is to the least."""
        minimum, full = self.planning_settings.minimum_gain, self.planning_settings.full_gain
        # A gain that is no number (the policy diverges on the model) counts as large.
        return min(max((gain - minimum) / (full - minimum), 0.0), 1.0) if gain < full else 1.0

    def _rejection(self, controls: Array, policy_actions: Array, costs: Array, gain: float, disagreement: float) -> str:
        """Why a plan must not be used, or ''."""
        if not (np.isfinite(controls).all() and np.isfinite(policy_actions).all()):
            return "not_finite"
        if not np.isfinite(costs).all():
            return "cost_not_finite"
        minimum, maximum = self._control_limits
        if (controls < minimum - 1e-6).any() or (controls > maximum + 1e-6).any():
            return "out_of_bounds"
        if not disagreement <= self.planning_settings.maximum_disagreement:
            return "disagreement"
        # A policy that diverges on the model costs infinitely much, or what is no number: any finite plan is then a
        # gain, +∞ or NaN. One whose path a value function praises beyond all numbers leaves -∞, as it costs less.
        if gain < self.planning_settings.minimum_gain:
            return "no_gain"
        return ""


_number = itemgetter(0)


def _in_force(newest: Plan | None, sequence: int) -> Plan | None:
    """The newest plan that has begun; the one before stays in force until then."""
    if newest is not None and newest.before is not None and sequence < newest.first_sequence:
        return newest.before
    return newest


def between(start: Array, end: Array, share: float) -> Array:
    """A share of the way from one to the other; exactly the start for 0 and the end for 1."""
    if share in {0.0, 1.0}:
        return end if share else start
    return np.asarray(start + share * (end - start))
