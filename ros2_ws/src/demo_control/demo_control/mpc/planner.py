"""The planner: dynamic mirror descent MPC for one robot or many in one call.

The algorithm is :meth:`Planner.plan`; everything else is bookkeeping of shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.mpc.mirror_step import mirror_step, sample_controls
from demo_control.mpc.settings import PlannerSettings
from demo_control.mpc.shift_models import SHIFT_MODELS, Previous, moved_on
from demo_control.mpc.utilities import Utility, effective_sample_size, elite_fraction, exponential
from demo_control.rollout.engine import Floats, RolloutEngine, Rollouts, RolloutShape
from demo_control.tasks import Array, Task

EngineFactory = Callable[[RolloutShape], RolloutEngine]
"""Builds the engine for one kind of rollouts."""


@dataclass(frozen=True)
class Situations:
    """What plans for ``num_robots`` robots are made from.

    Attributes:
        observations: x_k of each robot. Shape=(num_robots, observation_dim).
        pending: Commands already sent whose effect x_k does not show, the oldest first.
            Shape=(num_robots, pending_ticks, action_dim).
        previous: Each robot's plan before this one, or None.
        change_scale: Factor on the changes that the model predicts; see :mod:`demo_control.mpc.adaptation`.
            Shape=(num_robots, observation_dim).
        change_offset: Added to these changes. Shape=(num_robots, observation_dim).
    """

    observations: Array
    pending: Array
    previous: Sequence[Previous | None]
    change_scale: Array
    change_offset: Array


@dataclass(frozen=True)
class PlanningResult:
    """Plans for ``num_robots`` robots, and what is known of them.

    Attributes:
        controls: μ, physical units; step 0 answers the observation after the given one.
            Shape=(num_robots, horizon, action_dim).
        policy_actions: What the policy itself is predicted to answer to those observations.
            Shape=(num_robots, horizon, action_dim).
        nominal_costs: Weighted cost terms of following the policy. Shape=(num_robots, num_terms).
        plan_costs: Weighted cost terms of the plan. Shape=(num_robots, num_terms).
        effective_sample_size: Of the last mirror step. Shape=(num_robots,).
        expected_changes: Of the observation in the first step of the model, as it was trained to predict it, under
            the plan. Shape=(num_robots, observation_dim).
        nominal_changes: The same under the policy alone. Shape=(num_robots, observation_dim).
        disagreement: Spread of the members' one-step predictions along the plan, as a share of half the
            observation's range, root mean square over entries and steps. Shape=(num_robots,).
    """

    controls: Array
    policy_actions: Array
    nominal_costs: Array
    plan_costs: Array
    effective_sample_size: Array
    expected_changes: Array
    nominal_changes: Array
    disagreement: Array


@dataclass(frozen=True)
class _Proposal:
    """What Φ proposes.

    Attributes:
        start: Predicted state at which the plan begins. Shape=(num_robots, observation_dim).
        mean: μ̃, the cheapest candidate. Shape=(num_robots, horizon, action_dim).
        candidates: Shape=(num_robots, num_candidates, horizon, action_dim).
        nominal_costs: Weighted terms of the policy's rollout. Shape=(num_robots, num_terms).
        nominal_changes: Of the observation in the first step of that rollout. Shape=(num_robots, observation_dim).
    """

    start: Array
    mean: Array
    candidates: Array
    nominal_costs: Array
    nominal_changes: Array


class Planner:
    """DMD-MPC with a frozen policy as part of its shift model.

    Args:
        task: The planning problem: limits, ranges and cost terms.
        settings: How to plan.
        make_engine: Builds the rollout engines.
        engine: What they are, for logs.

    Raises:
        ConfigurationError: The number of samples is no multiple of the ensemble's members, or a delay of commands
            that the planning problem cannot take into account.
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
        # Few rows on the ensemble's mean, with all that is to be known of them ...
        self._lane_engine = make_engine(RolloutShape(self._delay + settings.horizon, True, True, True))
        # ... and many samples, each on the member it belongs to.
        self._sample_engine = make_engine(RolloutShape(settings.horizon, False, follow, False, with_controls=follow))
        members = self._sample_engine.num_members
        if settings.num_samples % members:
            raise ConfigurationError(
                f"num_samples = {settings.num_samples}: must be a multiple of the model's {members} members"
            )
        self._members = members
        self._minimum, self._maximum = task.action_minimum, task.action_maximum
        self._middle = (self._minimum + self._maximum) / 2.0
        self._observation_scale = np.array([(q.maximum - q.minimum) / 2.0 for q in task.observation])
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
            mean, centres = proposal.mean, proposal.candidates
            for _ in range(settings.mirror_steps):
                samples = self._sample(centres, generators)
                costs, samples = self._evaluate(proposal.start, samples, situations)
                weights = self._utility()(costs)
                mean = mirror_step(mean, samples, weights, settings.step_size)
                centres = mean[:, None]
            return self._judge(situations, mean, proposal, effective_sample_size(weights))

    def _utility(self) -> Utility:
        settings = self.settings
        if settings.utility == "exponential":
            return partial(exponential, temperature=settings.temperature, scale=settings.temperature_scale)
        return partial(elite_fraction, fraction=settings.elite_fraction, weighting=settings.elite_weighting)

    def _propose(self, situations: Situations) -> _Proposal:
        """Φ: roll the pending commands and then each candidate out on the ensemble's mean."""
        num_robots, horizon = len(situations.observations), self.settings.horizon
        shape = self._shift
        lanes = 2 if shape.proposes_remembered else 1
        controls = np.zeros((num_robots, lanes, horizon, self._task.action_dim))
        feedback = np.ones((num_robots, lanes, horizon, 1))
        if shape.proposes_remembered:
            for robot, plan in enumerate(situations.previous):
                kept, follow = moved_on(plan, horizon, shape, self._middle)
                share = self.settings.remembered_share
                controls[robot, 1], feedback[robot, 1] = share * kept, follow + (1.0 - share) * (1.0 - follow)
        rollouts = self._roll_out_lanes(situations, controls, feedback)
        terms = self._weighted(rollouts.term_costs[0]).reshape(num_robots, lanes, -1)
        assert rollouts.controls is not None
        applied = _by_robot(rollouts.controls[self._delay :, 0], num_robots).astype(np.float64)
        first = 0 if shape.proposes_policy else 1
        candidates = applied[:, first:]
        cheapest = np.argmin(_comparable(terms[:, first:].sum(axis=-1)), axis=1)
        states = np.asarray(_observed(rollouts)[:, 0], np.float64).reshape(
            -1, num_robots, lanes, self._task.observation_dim
        )
        return _Proposal(
            start=states[self._delay, :, 0],
            mean=candidates[np.arange(num_robots), cheapest],
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

    def _sample(self, centres: Array, generators: Sequence[np.random.Generator]) -> Floats:
        """Sequences around the centres in turn, each centre itself among them.

        Args:
            centres: Shape=(num_robots, num_centres, horizon, action_dim).
            generators: One per robot.

        Returns:
            Shape=(num_robots, num_samples, horizon, action_dim). Where samples follow the policy: what is added to it.
        """
        num_samples, num_centres = self.settings.num_samples, centres.shape[1]
        deviation = self.settings.noise_standard_deviation * (self._maximum - self._minimum) / 2.0
        minimum, maximum = self._minimum, self._maximum
        if self._shift.samples_follow_policy:
            centres = np.zeros_like(centres)
            minimum, maximum = minimum - maximum, maximum - minimum
        turn = np.arange(num_samples) % num_centres
        held = round(self.settings.noise_held_share * num_samples)
        samples = [
            sample_controls(
                centres[robot, turn], deviation, minimum, maximum, generator, held, self.settings.noise_smallest_share
            )
            for robot, generator in enumerate(generators)
        ]
        stacked = np.stack(samples)
        stacked[:, : min(num_centres, num_samples)] = centres[:, : min(num_centres, num_samples)]
        return stacked

    def _evaluate(self, start: Array, samples: Floats, situations: Situations) -> tuple[Array, Floats]:
        """Costs of samples, Shape=(num_robots, num_samples), and the sequences that were really applied."""
        num_robots, num_samples = samples.shape[:2]
        members, horizon, per_member = self._members, samples.shape[2], num_samples // self._members
        # (robot, sample, ...) with sample = member-major -> (step, member, robot · sample of member, action)
        split = samples.reshape(num_robots, members, per_member, horizon, -1)
        controls = split.transpose(3, 1, 0, 2, 4).reshape(horizon, members, num_robots * per_member, -1)
        feedback = None
        if self._shift.samples_follow_policy:
            feedback = np.ones((*controls.shape[:3], 1), np.float32)
        starts = np.broadcast_to(
            np.repeat(start, per_member, axis=0), (members, num_robots * per_member, start.shape[-1])
        )
        scale, offset = (
            np.repeat(factor, per_member, axis=0) for factor in (situations.change_scale, situations.change_offset)
        )
        rollouts = self._sample_engine.roll_out(starts, controls, feedback, self._step_weights(), scale, offset)
        costs = self._weighted(rollouts.term_costs).sum(axis=-1)
        costs = costs.reshape(members, num_robots, per_member).swapaxes(0, 1).reshape(num_robots, num_samples)
        if rollouts.controls is not None:
            applied = rollouts.controls.reshape(horizon, members, num_robots, per_member, -1)
            samples = applied.transpose(2, 1, 3, 0, 4).reshape(samples.shape)
        return costs, samples

    def _judge(self, situations: Situations, mean: Array, proposal: _Proposal, sample_size: Array) -> PlanningResult:
        """Roll the new means out: their cost, the policy's predicted answers, the members' disagreement."""
        num_robots, horizon = mean.shape[:2]
        controls = mean[:, None]
        rollouts = self._roll_out_lanes(situations, controls, np.zeros((num_robots, 1, horizon, 1)))
        states = _observed(rollouts)
        assert rollouts.policy_actions is not None
        assert rollouts.predictions is not None
        # Step h of the plan answers the observation ``unmodelled_ticks`` + h steps on; a delayed command acts later.
        first = self._task.unmodelled_ticks
        answers = rollouts.policy_actions[first : first + horizon, 0]
        spread = np.asarray(rollouts.predictions, np.float64).std(axis=1) / self._observation_scale
        return PlanningResult(
            controls=mean,
            policy_actions=_by_robot(answers, num_robots)[:, 0].astype(np.float64),
            nominal_costs=proposal.nominal_costs,
            plan_costs=self._weighted(rollouts.term_costs[0]),
            effective_sample_size=sample_size,
            expected_changes=_as_trained(states[1, 0], situations),
            nominal_changes=proposal.nominal_changes,
            disagreement=np.sqrt(np.square(spread).mean(axis=(0, 2))),
        )

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


def _comparable(costs: Array) -> Array:
    """Costs with +∞ where they are not finite, so that the cheapest is a real one if there is any."""
    comparable: Array = np.where(np.isfinite(costs), costs, np.inf)
    return comparable
