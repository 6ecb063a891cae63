"""Plans from thousands of states at once, with the planner that runs on the robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.bundle import make_bundle
from demo_control.learning.ensemble import Ensemble
from demo_control.learning.environments import Problem
from demo_control.learning.export import dynamics_model
from demo_control.learning.model_based.planning_problem import ALIVE
from demo_control.learning.sac import SoftActorCritic
from demo_control.learning.sac.export import policy_model, value_model
from demo_control.mpc import Planner, PlannerSettings, Situations
from demo_control.rollout import RolloutShape, choose_engine
from demo_control.tasks import Array, Task

_STARTS_AT_ONCE = 256
"""Limits the memory for samples."""


@dataclass(frozen=True)
class Plans:
    """Plans from N states.

    Attributes:
        controls: μ, physical units. Shape=(N, horizon, action_dim).
        answers: What the policy is predicted to do along them, π_θ(x̂_h). Shape=(N, horizon, action_dim).
        gains: Predicted return of the plan less that of the policy alone. Shape=(N,).
        disagreement: Of the ensemble's members along the plan. Shape=(N,).
        moved: ‖μ − Φ‖ in half action ranges. Shape=(N,).
    """

    controls: Array
    answers: Array
    gains: Array
    disagreement: Array
    moved: Array


class ModelPlanner:
    """DMD-MPC on the ensemble's mean, with the learner's policy as shift model and its value at the end.

    Args:
        problem: The learning problem.
        task: The same as the planner sees it.
        ensemble: The model.
        learner: Gives policy and value, as they are now.
        settings: How to plan.
    """

    def __init__(
        self, problem: Problem, task: Task, ensemble: Ensemble, learner: SoftActorCritic, settings: PlannerSettings
    ) -> None:
        self._task, self._settings = task, settings
        n = task.observation_dim
        alive = [quantity.name for quantity in task.observation].index(ALIVE)
        bundle = make_bundle(
            task,
            policy=policy_model(learner, problem.action_minimum, problem.action_maximum, n),
            dynamics=dynamics_model(ensemble),
            value=value_model(learner, n, alive),
        )
        choice = choose_engine(task, bundle, settings.engine, settings.engine_threads)
        self._planner = Planner(task, settings, choice.make)
        self._make_engine = choice.make

    def plan(self, starts: Array, generator: np.random.Generator) -> Plans:
        """Plan from each state.

        Args:
            starts: Planning observations. Shape=(N, planning observation_dim).
            generator: Source of the samples' noise.
        """
        parts = [
            self._plan_some(starts[first : first + _STARTS_AT_ONCE], generator)
            for first in range(0, len(starts), _STARTS_AT_ONCE)
        ]
        return Plans(*(np.concatenate([getattr(part, name) for part in parts]) for name in Plans.__annotations__))

    def _plan_some(self, starts: Array, generator: np.random.Generator) -> Plans:
        count = len(starts)
        situations = Situations(
            observations=starts,
            pending=np.zeros((count, 0, self._task.action_dim)),
            previous=[None] * count,
            change_scale=np.ones_like(starts),
            change_offset=np.zeros_like(starts),
        )
        result = self._planner.plan(situations, [generator] * count)
        gains = result.nominal_costs.sum(axis=1) - result.plan_costs.sum(axis=1)
        return Plans(result.controls, result.policy_actions, gains, result.disagreement, result.path_step)

    def member_gains(self, starts: Array, controls: Array) -> Array:
        """Predicted return of sequences less that of the policy alone, on each member by itself.

        Args:
            starts: Planning observations. Shape=(N, planning observation_dim).
            controls: Shape=(N, horizon, action_dim).

        Returns:
            Shape=(num_members, N).
        """
        horizon = controls.shape[1]
        engine = self._make_engine(RolloutShape(horizon, False, True, False, with_controls=False))
        members, (count, n) = engine.num_members, starts.shape
        # Rows: the sequences, then the policy from the same states.
        sequences = np.zeros((horizon, members, 2 * count, controls.shape[2]), np.float32)
        sequences[:, :, :count] = controls.swapaxes(0, 1)[:, None]
        feedback = np.zeros((horizon, members, 2 * count, 1), np.float32)
        feedback[:, :, count:] = 1.0
        twice = np.concatenate([starts, starts])
        step_weights = np.power(self._settings.discount, np.arange(horizon + 1))
        step_weights[-1] *= self._settings.terminal_weight
        rollouts = engine.roll_out(
            np.broadcast_to(twice, (members, 2 * count, n)), sequences, feedback, step_weights,
            np.ones((2 * count, n)), np.zeros((2 * count, n)),
        )  # fmt: skip
        value_weight = self._settings.value_weight * self._settings.discount**horizon
        costs = rollouts.term_costs @ np.array([*self._task.cost_weights, value_weight])
        gains: Array = costs[:, count:] - costs[:, :count]
        return gains


def followed(plans: Plans, planner: ModelPlanner, starts: Array, gate: str, share: float) -> Array:
    """How far each plan is followed: from 0, the policy instead, to 1.

    Args:
        plans: The plans.
        planner: Made them.
        starts: From these planning observations. Shape=(N, planning observation_dim).
        gate: 'none': all; 'members': those that every member by itself finds better than the policy; 'votes': each by
            the share of members that find it better; 'disagreement': those on which the members agree best.
        share: How many, for the gate 'disagreement', 0 to 1; 0 keeps none. Plans on which they agree as well as on the
            last one that is kept are kept, too.

    Returns:
        Shape=(N,). Plans that are not finite are not followed.
    """
    finite = np.isfinite(plans.controls).all(axis=(1, 2)) & np.isfinite(plans.gains) & np.isfinite(plans.disagreement)
    if gate in {"members", "votes"}:
        votes: Array = (planner.member_gains(starts, plans.controls) > 0.0).mean(axis=0)
        return finite * (np.floor(votes) if gate == "members" else votes)
    if gate == "disagreement":
        kept = round(share * len(finite))
        limit = np.sort(np.where(finite, plans.disagreement, np.inf))[kept - 1] if kept else -np.inf
        finite &= plans.disagreement <= limit
    return finite.astype(float)
