"""The planner: dynamic mirror descent MPC for one robot or many in one call.

The algorithm is :meth:`Planner.plan`; everything else is bookkeeping of shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.mpc.compiled_steps import CompiledSteps
from demo_control.mpc.distribution import BOUNDS
from demo_control.mpc.ensemble_use import ENSEMBLE_USES
from demo_control.mpc.lanes import (
    Lanes,
    Prospect,
    as_trained,
    by_robot,
    cheapest_candidates,
    joined,
    observed,
    repeated,
)
from demo_control.mpc.mirror_step import mirror_step
from demo_control.mpc.noise import NoisePool
from demo_control.mpc.search import Outcome, Proposal, Search, SearchState
from demo_control.mpc.settings import PlannerSettings
from demo_control.mpc.shift_models import SHIFT_MODELS, moved_on
from demo_control.mpc.situations import PlanningResult, Situations
from demo_control.mpc.utilities import UTILITIES, effective_sample_size
from demo_control.rollout.engine import Floats, RolloutEngine, Rollouts, RolloutShape
from demo_control.tasks import Array, Task

EngineFactory = Callable[[RolloutShape], RolloutEngine]
"""Builds the engine for one kind of rollouts."""


class Planner:
    """DMD-MPC with a frozen policy as part of its shift model.

    Args:
        task: The planning problem: limits, ranges and cost terms.
        settings: How to plan.
        make_engine: Builds the rollout engines.
        engine: What they are, for logs.

    Raises:
        ConfigurationError: The number of samples is no multiple of the ensemble's members, a delay of commands that the
            planning problem cannot take into account, or settings that do not go together.
    """

    def __init__(self, task: Task, settings: PlannerSettings, make_engine: EngineFactory, engine: str = "") -> None:
        self._task = task
        self.engine = engine
        if settings.command_delay_ticks and not task.unmodelled_ticks:
            raise ConfigurationError(
                f"command_delay_ticks = {settings.command_delay_ticks}: must be 0 for '{task.name}', whose model spans "
                "several control periods"
            )
        self._delay = settings.command_delay_ticks + task.unmodelled_ticks
        self._shift = SHIFT_MODELS[settings.shift]
        follow = self._shift.samples_follow_policy
        if follow and (settings.bounds != "clip" or settings.keep_elites):
            raise ConfigurationError(
                f"bounds = '{settings.bounds}', keep_elites = {settings.keep_elites:g}: must be clip and 0 with shift "
                f"'{settings.shift}', whose samples are what is added to the policy"
            )
        # Few rows on the ensemble's mean, with all that is to be known of them ...
        self._lane_engine = make_engine(RolloutShape(self._delay + settings.horizon, True, True, True))
        # ... and many samples, each on the members that it meets.
        self._sample_engine = make_engine(RolloutShape(settings.horizon, False, follow, False, with_controls=follow))
        members = self._sample_engine.num_members
        if settings.ensemble == "split" and settings.num_samples % members:
            raise ConfigurationError(
                f"num_samples = {settings.num_samples}: must be a multiple of the model's {members} members"
            )
        self._members = members
        minimum, maximum = task.action_minimum, task.action_maximum
        self._middle, self._half_range = (minimum + maximum) / 2.0, (maximum - minimum) / 2.0
        bounds = BOUNDS[settings.bounds](minimum, maximum)
        split = members if settings.ensemble == "split" else 1
        self._search = Search(bounds, NoisePool(settings, bounds.unit), self._shift, split)
        self._compiled = CompiledSteps.on(self._sample_engine, settings, (minimum, maximum))
        self._observation_scale = np.array([(q.maximum - q.minimum) / 2.0 for q in task.observation])
        self._stage_counts = task.cost_counts(2)[0]
        self._cost_weights = task.cost_weights
        self.settings = settings

    @property
    def settings(self) -> PlannerSettings:
        """How to plan; may be replaced between two plans by settings that need no other engine."""
        return self._settings

    @settings.setter
    def settings(self, settings: PlannerSettings) -> None:
        """Take over settings, with what follows from them."""
        self._settings = settings
        # γ^h for the steps, and γ^H times the terminal weight.
        self._step_weights = np.power(settings.discount, np.arange(settings.horizon + 1))
        self._step_weights[-1] *= settings.terminal_weight
        self._lane_weights = np.concatenate([np.zeros(self._delay), self._step_weights])
        self._term_weights = self._with_value(self._cost_weights)

    @property
    def cost_weights(self) -> Array:
        """Weights of the task's cost terms; may be replaced between two plans. Shape=(num_terms,)."""
        return self._cost_weights

    @cost_weights.setter
    def cost_weights(self, weights: Array) -> None:
        """Take over weights."""
        self._cost_weights = weights
        self._term_weights = self._with_value(weights)

    def _with_value(self, weights: Array) -> Array:
        """Weights of all terms reported, with that of a value function. Shape=(num_terms,)."""
        if self._sample_engine.num_terms == len(weights):
            return weights
        return np.append(weights, self._settings.value_weight * self._settings.discount**self._settings.horizon)

    @property
    def pending_ticks(self) -> int:
        """How many commands are on their way when a plan is made: the length of ``pending``."""
        return self._delay

    @property
    def term_names(self) -> list[str]:
        """Names of the cost terms reported, a value function's last."""
        names = [term.name for term in self._task.cost_terms]
        return [*names, "terminal_value"][: self._lane_engine.num_terms]

    def stage_cost(self, observation: Array, control: Array) -> float:
        """Weighted stage cost of one state under a control, as it counts along a plan.

        Args:
            observation: Shape=(observation_dim,).
            control: Shape=(action_dim,).
        """
        weights = self.cost_weights * self._stage_counts
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self._task.stage_costs(observation, control) @ weights)

    def plan(self, situations: Situations, generators: Sequence[np.random.Generator]) -> PlanningResult:
        """Make plans.

        Args:
            situations: Of all robots.
            generators: Each robot's source of noise.

        Returns:
            The plans; numbers that are not finite in, or a model that diverges, give costs that are not finite.
        """
        settings = self.settings
        if settings.mirror_step_tolerance and len(generators) > 1:
            # Each robot's search ends when its own plan has settled.
            alone = [self.plan(situations.of(robot), generators[robot : robot + 1]) for robot in range(len(generators))]
            return PlanningResult.joined(alone)
        with np.errstate(over="ignore", invalid="ignore"):
            proposal = self._propose(situations)
            state = self._search.begin(settings, proposal, situations.previous)
            for step in range(settings.mirror_steps):
                if self._compiled and self._compiled.serves(settings, len(generators)):
                    outcome = self._in_one_call(situations, proposal, state, step, generators)
                else:
                    samples = self._search.sample(settings, state, step, generators)
                    costs, samples = self._evaluate(proposal.start, samples, situations)
                    weights = UTILITIES[settings.utility](costs, settings)
                    mean = mirror_step(state.mean, samples, weights, state.step_size)
                    mean = np.asarray(self._search.bounds.limited(mean), np.float64)
                    outcome = Outcome(samples, costs, weights, effective_sample_size(weights), mean)
                before, state = state, self._search.advance(settings, state, outcome)
                if settings.mirror_step_tolerance and self._moved(before, state) < settings.mirror_step_tolerance:
                    break
            return self._judge(situations, state, proposal)

    def _moved(self, before: SearchState, after: SearchState) -> float:
        """How far a mirror step of one robot's plan went."""
        controls = self._search.bounds.controls
        apart = np.asarray(controls(after.mean) - controls(before.mean), np.float64)
        return self._length(apart).item()

    def _propose(self, situations: Situations) -> Proposal:
        """Φ: roll the pending commands and then each candidate out on the ensemble's mean."""
        lanes, first = self._candidates(situations), 0 if self._shift.proposes_policy else 1
        if self._may_wait():
            candidates = np.maximum(lanes.controls[:, :, first:], self._task.action_minimum)
            np.minimum(candidates, self._task.action_maximum, out=candidates)
            return Proposal(situations.observations, candidates[:, :, 0], candidates, lanes, None)
        rollouts = self._roll_out_lanes(situations, lanes)
        assert rollouts.controls is not None
        candidates = rollouts.controls[self._delay :].reshape(lanes.controls.shape)[:, :, first:].astype(np.float64)
        terms, changes = self._outlook(situations, rollouts)
        costs = terms[:, first:].sum(axis=-1)
        robots, cheapest = np.arange(len(costs)), cheapest_candidates(candidates, costs)
        return Proposal(
            start=observed(rollouts, self._delay, len(costs))[:, 0],
            mean=candidates[:, robots, cheapest],
            candidates=candidates,
            lanes=lanes,
            prospect=Prospect(costs[robots, cheapest], terms[:, 0], changes[:, 0]),
        )

    def _candidates(self, situations: Situations) -> Lanes:
        """The policy, and the previous plan moved on where that is a candidate."""
        num_robots, horizon, shape = len(situations.observations), self.settings.horizon, self._shift
        lanes = 2 if shape.proposes_remembered else 1
        controls = np.zeros((horizon, num_robots, lanes, self._task.action_dim))
        feedback = np.ones((horizon, num_robots, lanes, 1))
        if shape.proposes_remembered:
            for robot, plan in enumerate(situations.previous):
                controls[:, robot, 1], feedback[:, robot, 1] = moved_on(plan, horizon, shape, self._middle)
            share = self.settings.remembered_share
            if share < 1.0:
                controls[:, :, 1] *= share
                feedback[:, :, 1] = 1.0 - share * (1.0 - feedback[:, :, 1])
        return Lanes(controls, feedback)

    def _may_wait(self) -> bool:
        """Whether samples can be drawn before the candidates are rolled out, which is then done with the plan.

        That is where there is but one candidate, nothing of it is the policy's, and it begins at the observation.
        """
        remembers = not self._shift.proposes_policy and self._shift.tail is not None
        return remembers and self.settings.remembered_share == 1.0 and not self._delay

    def _outlook(self, situations: Situations, rollouts: Rollouts) -> tuple[Array, Array]:
        """Weighted cost terms of rollouts, and changes in their first step. Shape=(num_robots, num_lanes, ...) each."""
        num_robots = len(situations.observations)
        terms = self._weighted(rollouts.term_costs).reshape(num_robots, -1, rollouts.term_costs.shape[-1])
        return terms, as_trained(observed(rollouts, 1, num_robots), situations)

    def _roll_out_lanes(self, situations: Situations, lanes: Lanes) -> Rollouts:
        """Pending commands, then the lanes' controls, on the ensemble's mean."""
        horizon, num_robots, num_lanes, action_dim = lanes.controls.shape
        steps, rows = self._delay + horizon, num_robots * num_lanes
        controls, feedback = lanes.controls, lanes.feedback
        if self._delay:
            controls = np.empty((steps, num_robots, num_lanes, action_dim))
            feedback = np.zeros((steps, num_robots, num_lanes, 1))
            controls[: self._delay] = situations.pending.swapaxes(0, 1)[:, :, None]
            controls[self._delay :], feedback[self._delay :] = lanes.controls, lanes.feedback
        controls, feedback = controls.reshape(steps, 1, rows, action_dim), feedback.reshape(steps, 1, rows, 1)
        start, scale, offset = repeated(num_lanes, situations.observations, situations)
        return self._lane_engine.roll_out(start[None], controls, feedback, self._lane_weights, scale, offset)

    def _evaluate(self, start: Array, samples: Floats, situations: Situations) -> tuple[Array, Floats]:
        """Costs of samples, Shape=(num_robots, num_samples), and the sequences that the mirror step weighs."""
        horizon, num_robots, num_samples, action_dim = samples.shape
        controls = samples if self._shift.samples_follow_policy else self._search.bounds.controls(samples)
        members, summary = self._members, ENSEMBLE_USES[self.settings.ensemble]
        per_member = num_samples if summary else num_samples // members
        # (step, robot, sample, ...) with sample = member-major -> (step, member, robot · sample of member, action)
        split = controls.reshape(horizon, num_robots, -1, per_member, action_dim)
        rows = split.swapaxes(1, 2).reshape(horizon, -1, num_robots * per_member, action_dim)
        feedback = np.ones((horizon, 1, 1, 1), np.float32) if self._shift.samples_follow_policy else None
        start, scale, offset = repeated(per_member, start, situations)
        rollouts = self._sample_engine.roll_out(start[None], rows, feedback, self._step_weights, scale, offset)
        terms = np.asarray(rollouts.term_costs, np.float64)
        costs = np.matmul(terms, self._term_weights).reshape(members, num_robots, per_member)
        if rollouts.controls is not None:
            # What was applied on the path of the first member that a sample met; a diverging policy's is no number.
            applied = rollouts.controls.reshape(horizon, members, num_robots, per_member, action_dim)
            samples = np.nan_to_num(applied[:, : split.shape[2]].swapaxes(1, 2).reshape(samples.shape))
        by_sample = summary(costs) if summary else costs.swapaxes(0, 1).reshape(num_robots, num_samples)
        return by_sample, samples

    def _in_one_call(
        self,
        situations: Situations,
        proposal: Proposal,
        state: SearchState,
        step: int,
        generators: Sequence[np.random.Generator],
    ) -> Outcome:
        """A mirror step, as :meth:`plan` makes it one by one."""
        assert self._compiled
        settings = self.settings
        ((window, centres),) = self._search.draws(settings, state, step, generators)
        call = self._compiled.prepared(settings, window.noise.shape[1])
        model, step_size = (proposal.start, situations.change_scale, situations.change_offset), state.step_size
        mean = call(state.mean, window, centres, model, self._step_weights, self._term_weights, step_size)
        return Outcome(call.samples, call.costs, call.weights, np.array([call.sample_size]), mean)

    def _judge(self, situations: Situations, state: SearchState, proposal: Proposal) -> PlanningResult:
        """Roll the plans out: their cost, the policy's predicted answers, the members' disagreement."""
        mean = self._within_limits(self._search.bounds.controls(state.mean))
        controls = self._within_limits(state.best) if self.settings.answer == "best" else mean
        lanes = Lanes(controls[:, :, None], np.zeros((*controls.shape[:2], 1, 1)))
        if proposal.prospect is None:
            lanes = joined(proposal.lanes, lanes)
        rollouts = self._roll_out_lanes(situations, lanes)
        terms, changes = self._outlook(situations, rollouts)
        prospect = proposal.prospect or Prospect(terms[:, 1].sum(axis=-1), terms[:, 0], changes[:, 0])
        assert rollouts.policy_actions is not None
        assert rollouts.predictions is not None
        # The plan is the last of each robot's lanes. Step h of it answers the observation ``unmodelled_ticks`` + h
        # steps on; a delayed command acts later.
        num_lanes, first = lanes.controls.shape[2], self._task.unmodelled_ticks
        answers = rollouts.policy_actions[first : first + len(mean), 0, num_lanes - 1 :: num_lanes]
        return PlanningResult(
            controls=by_robot(controls),
            policy_actions=by_robot(answers),
            nominal_costs=prospect.nominal_costs,
            plan_costs=terms[:, -1],
            proposal_cost=prospect.cost,
            path_step=self._length(mean - proposal.mean),
            effective_sample_size=state.sample_size,
            expected_changes=changes[:, -1],
            nominal_changes=prospect.nominal_changes,
            disagreement=self._disagreement(rollouts.predictions[:, :, num_lanes - 1 :: num_lanes]),
            mean=by_robot(mean),
            deviation=by_robot(state.deviation),
            elites=state.elites.transpose(1, 2, 0, 3),
            plans=state.plans,
        )

    def _within_limits(self, controls: Floats) -> Array:
        """Controls within the limits of float64: as float32, which samples and rollouts are, a limit may lie beyond."""
        limited: Array = np.minimum(np.maximum(controls, self._task.action_minimum), self._task.action_maximum)
        return limited

    def _disagreement(self, predictions: Floats) -> Array:
        """Spread of the members' predictions, Shape=(horizon, num_members, num_robots, n). Shape=(num_robots,)."""
        if self._members == 1:
            # Nothing, unless a prediction is no number.
            return np.asarray((predictions - predictions).sum(axis=(0, 1, 3)), np.float64)
        predictions = np.asarray(predictions, np.float64)
        apart = (predictions - predictions.mean(axis=1, keepdims=True)) / self._observation_scale
        spread: Array = np.sqrt(np.square(apart).mean(axis=(0, 1, 3)))
        return spread

    def _length(self, sequences: Array) -> Array:
        """Euclidean length of differences of controls, in units of half the action range. Shape=(num_robots,)."""
        length: Array = np.sqrt(np.square(sequences / self._half_range).sum(axis=(0, 2)))
        return length

    def _weighted(self, term_costs: Floats) -> Array:
        """Cost terms times their weights. Shape=(..., num_terms)."""
        weighted: Array = np.asarray(term_costs, np.float64) * self._term_weights
        return weighted
