"""The planner: dynamic mirror descent MPC for one robot or many in one call.

The algorithm is :meth:`Planner.plan`; everything else is bookkeeping of shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.mpc.distribution import BOUNDS
from demo_control.mpc.ensemble_use import ENSEMBLE_USES
from demo_control.mpc.mirror_step import mirror_step
from demo_control.mpc.noise import NoisePool
from demo_control.mpc.search import Proposal, Search, SearchState, comparable
from demo_control.mpc.settings import PlannerSettings
from demo_control.mpc.shift_models import SHIFT_MODELS, moved_on
from demo_control.mpc.situations import PlanningResult, Situations
from demo_control.mpc.utilities import UTILITIES
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
        self._sample_engine = make_engine(RolloutShape(settings.horizon, False, follow, False))
        members = self._sample_engine.num_members
        if settings.ensemble == "split" and settings.num_samples % members:
            raise ConfigurationError(
                f"num_samples = {settings.num_samples}: must be a multiple of the model's {members} members"
            )
        self._members = members
        self._minimum, self._maximum = task.action_minimum, task.action_maximum
        bounds = BOUNDS[settings.bounds](self._minimum, self._maximum)
        split = members if settings.ensemble == "split" else 1
        self._search = Search(bounds, NoisePool(settings, task.action_dim), self._shift, split)
        self._observation_scale = np.array([(q.maximum - q.minimum) / 2.0 for q in task.observation])
        self._stage_counts = task.cost_counts(2)[0]
        self.cost_weights = task.cost_weights
        self.settings = settings

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
        with np.errstate(over="ignore", invalid="ignore"):
            proposal = self._propose(situations)
            state = self._search.begin(settings, proposal, situations.previous)
            for step in range(settings.mirror_steps):
                samples = self._search.sample(settings, state, step, generators)
                costs, samples = self._evaluate(proposal.start, samples, situations)
                weights = UTILITIES[settings.utility](costs, settings)
                mean = mirror_step(state.mean, samples, weights, state.step_size)
                state = self._search.advance(settings, state, mean, samples, costs, weights)
            return self._judge(situations, state, proposal)

    def _propose(self, situations: Situations) -> Proposal:
        """Φ: roll the pending commands and then each candidate out on the ensemble's mean."""
        num_robots, horizon = len(situations.observations), self.settings.horizon
        shape = self._shift
        lanes = 2 if shape.proposes_remembered else 1
        controls = np.zeros((num_robots, lanes, horizon, self._task.action_dim))
        feedback = np.ones((num_robots, lanes, horizon, 1))
        if shape.proposes_remembered:
            for robot, plan in enumerate(situations.previous):
                kept, follow = moved_on(plan, horizon, shape, (self._minimum + self._maximum) / 2.0)
                share = self.settings.remembered_share
                controls[robot, 1], feedback[robot, 1] = share * kept, follow + (1.0 - share) * (1.0 - follow)
        rollouts = self._roll_out_lanes(situations, controls, feedback)
        terms = self._weighted(rollouts.term_costs[0]).reshape(num_robots, lanes, -1)
        applied = _by_robot(rollouts.controls[self._delay :, 0], num_robots).astype(np.float64)
        first = 0 if shape.proposes_policy else 1
        candidates = applied[:, first:]
        costs = terms[:, first:].sum(axis=-1)
        robots, cheapest = np.arange(num_robots), np.argmin(comparable(costs), axis=1)
        states = np.asarray(_observed(rollouts)[:, 0], np.float64).reshape(
            -1, num_robots, lanes, self._task.observation_dim
        )
        return Proposal(
            start=states[self._delay, :, 0],
            mean=candidates[robots, cheapest],
            cost=costs[robots, cheapest],
            candidates=candidates,
            nominal_costs=terms[:, 0],
            nominal_changes=_as_trained(states[1, :, 0], situations),
        )

    def _roll_out_lanes(self, situations: Situations, controls: Array, feedback: Array) -> Rollouts:
        """Pending commands, then (num_robots, lanes, horizon, ·) controls, on the ensemble's mean."""
        num_robots, lanes = controls.shape[:2]
        steps = self._delay + self.settings.horizon
        all_controls = np.zeros((steps, 1, num_robots * lanes, self._task.action_dim))
        all_feedback = np.zeros((steps, 1, num_robots * lanes, 1))
        all_controls[: self._delay, 0] = np.repeat(situations.pending, lanes, axis=0).swapaxes(0, 1)
        all_controls[self._delay :, 0] = controls.reshape(num_robots * lanes, *controls.shape[2:]).swapaxes(0, 1)
        all_feedback[self._delay :, 0] = feedback.reshape(num_robots * lanes, *feedback.shape[2:]).swapaxes(0, 1)
        start = np.repeat(situations.observations, lanes, axis=0)[None]
        scale, offset = (
            np.repeat(factor, lanes, axis=0) for factor in (situations.change_scale, situations.change_offset)
        )
        weights = np.concatenate([np.zeros(self._delay), self._step_weights()])
        return self._lane_engine.roll_out(start, all_controls, all_feedback, weights, scale, offset)

    def _evaluate(self, start: Array, samples: Floats, situations: Situations) -> tuple[Array, Floats]:
        """Costs of samples, Shape=(num_robots, num_samples), and the sequences that the mirror step weighs."""
        num_robots, num_samples, horizon = samples.shape[:3]
        controls = samples if self._shift.samples_follow_policy else self._search.bounds.controls(samples)
        members, summary = self._members, ENSEMBLE_USES[self.settings.ensemble]
        per_member = num_samples if summary else num_samples // members
        # (robot, sample, ...) with sample = member-major -> (step, member, robot · sample of member, action)
        split = controls.reshape(num_robots, -1, per_member, horizon, controls.shape[-1])
        rows = split.transpose(3, 1, 0, 2, 4).reshape(horizon, -1, num_robots * per_member, controls.shape[-1])
        rows = np.broadcast_to(rows, (horizon, members, *rows.shape[2:]))
        feedback = np.ones((*rows.shape[:3], 1), np.float32) if self._shift.samples_follow_policy else None
        starts = np.broadcast_to(
            np.repeat(start, per_member, axis=0), (members, num_robots * per_member, start.shape[-1])
        )
        scale, offset = (
            np.repeat(factor, per_member, axis=0) for factor in (situations.change_scale, situations.change_offset)
        )
        rollouts = self._sample_engine.roll_out(starts, rows, feedback, self._step_weights(), scale, offset)
        costs = self._weighted(rollouts.term_costs).sum(axis=-1).reshape(members, num_robots, per_member)
        if feedback is not None:
            # What was applied on the path of the first member that a sample met; a diverging policy's is no number.
            applied = rollouts.controls.reshape(horizon, members, num_robots, per_member, -1)[:, : split.shape[1]]
            samples = np.nan_to_num(applied.transpose(2, 1, 3, 0, 4).reshape(samples.shape))
        by_sample = summary(costs) if summary else costs.swapaxes(0, 1).reshape(num_robots, num_samples)
        return by_sample, samples

    def _judge(self, situations: Situations, state: SearchState, proposal: Proposal) -> PlanningResult:
        """Roll the plans out: their cost, the policy's predicted answers, the members' disagreement."""
        mean = np.asarray(self._search.bounds.controls(state.mean), np.float64)
        controls = state.best if self.settings.answer == "best" else mean
        num_robots, horizon = mean.shape[:2]
        rollouts = self._roll_out_lanes(situations, controls[:, None], np.zeros((num_robots, 1, horizon, 1)))
        states = _observed(rollouts)
        assert rollouts.policy_actions is not None
        assert rollouts.predictions is not None
        # Step h of the plan answers the observation ``unmodelled_ticks`` + h steps on; a delayed command acts later.
        first = self._task.unmodelled_ticks
        answers = rollouts.policy_actions[first : first + horizon, 0]
        spread = np.asarray(rollouts.predictions, np.float64).std(axis=1) / self._observation_scale
        return PlanningResult(
            controls=controls,
            policy_actions=_by_robot(answers, num_robots)[:, 0].astype(np.float64),
            nominal_costs=proposal.nominal_costs,
            plan_costs=self._weighted(rollouts.term_costs[0]),
            proposal_cost=proposal.cost,
            path_step=self._distance(mean, proposal.mean),
            effective_sample_size=state.sample_size,
            expected_changes=_as_trained(states[1, 0], situations),
            nominal_changes=proposal.nominal_changes,
            disagreement=np.sqrt(np.square(spread).mean(axis=(0, 2))),
            mean=mean,
            deviation=state.deviation,
            elites=state.elites,
            plans=state.plans,
        )

    def _distance(self, one: Array, other: Array) -> Array:
        """Euclidean distance of sequences, in units of half the action range. Shape=(num_robots,)."""
        apart = (one - other) / ((self._maximum - self._minimum) / 2.0)
        distance: Array = np.sqrt(np.square(apart).sum(axis=(1, 2)))
        return distance

    def _step_weights(self) -> Array:
        """γ^h for the steps, and γ^H times the terminal weight. Shape=(horizon + 1,)."""
        settings = self.settings
        weights: Array = np.power(settings.discount, np.arange(settings.horizon + 1))
        weights[-1] *= settings.terminal_weight
        return weights

    def _weighted(self, term_costs: Floats) -> Array:
        """Cost terms times their weights. Shape=(..., num_terms)."""
        weights = self.cost_weights
        if self._sample_engine.num_terms > len(weights):
            settings = self.settings
            weights = np.append(weights, settings.value_weight * settings.discount**settings.horizon)
        weighted: Array = np.asarray(term_costs, np.float64) * weights
        return weighted


def _as_trained(following: Floats, situations: Situations) -> Array:
    """The change from the observations to the ``following`` states, without scale and offset."""
    return (following - situations.observations - situations.change_offset) / situations.change_scale


def _by_robot(steps: Floats, num_robots: int) -> Floats:
    """(steps, robots · lanes, k) as (robots, lanes, steps, k)."""
    lanes = steps.shape[1] // num_robots
    by_robot: Floats = steps.reshape(steps.shape[0], num_robots, lanes, -1).transpose(1, 2, 0, 3)
    return by_robot


def _observed(rollouts: Rollouts) -> Floats:
    """The states of rollouts made with a trajectory."""
    if rollouts.observations is None:
        raise TypeError("the lane engine must report trajectories")
    return rollouts.observations
