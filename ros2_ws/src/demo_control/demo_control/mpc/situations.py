"""What the planner takes and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from demo_control.mpc.shift_models import Previous
from demo_control.tasks import Array


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

    def of(self, robot: int) -> Situations:
        """That of one robot."""
        one = slice(robot, robot + 1)
        return Situations(
            self.observations[one], self.pending[one], self.previous[one], self.change_scale[one],
            self.change_offset[one],
        )  # fmt: skip


@dataclass(frozen=True)
class PlanningResult:
    """Plans for ``num_robots`` robots, and what is known of them.

    Attributes:
        controls: The plan, physical units; step 0 answers the observation after the given one.
            Shape=(num_robots, horizon, action_dim).
        policy_actions: What the policy itself is predicted to answer to those observations.
            Shape=(num_robots, horizon, action_dim).
        nominal_costs: Weighted cost terms of following the policy. Shape=(num_robots, num_terms).
        plan_costs: Weighted cost terms of the plan. Shape=(num_robots, num_terms).
        proposal_cost: Cost of what Φ proposed, μ̃. Shape=(num_robots,).
        path_step: ‖μ − μ̃‖ in units of half the action range: how far the search moved from what Φ proposed.
            Shape=(num_robots,).
        effective_sample_size: Of the last mirror step, 0 without one. Shape=(num_robots,).
        expected_changes: Of the observation in the first step of the model, as it was trained to predict it, under
            the plan. Shape=(num_robots, observation_dim).
        nominal_changes: The same under the policy alone. Shape=(num_robots, observation_dim).
        disagreement: Spread of the members' one-step predictions along the plan, as a share of half the
            observation's range, root mean square over entries and steps. Shape=(num_robots,).
        mean: μ, where the next search starts; the plan itself unless the best sample is the answer.
            Shape=(num_robots, horizon, action_dim).
        deviation: σ after the last mirror step. Shape=(num_robots, horizon, action_dim).
        elites: Samples to be tried again, the cheapest of the last mirror step.
            Shape=(num_robots, num_elites, horizon, action_dim).
        plans: Number of each robot's plan since its search began. Shape=(num_robots,).
    """

    controls: Array
    policy_actions: Array
    nominal_costs: Array
    plan_costs: Array
    proposal_cost: Array
    path_step: Array
    effective_sample_size: Array
    expected_changes: Array
    nominal_changes: Array
    disagreement: Array
    mean: Array
    deviation: Array
    elites: Array
    plans: Array

    @classmethod
    def joined(cls, results: Sequence[PlanningResult]) -> PlanningResult:
        """Plans of several calls as those of one."""
        return cls(*(np.concatenate([getattr(each, entry.name) for each in results]) for entry in fields(cls)))

    def previous(self, robot: int, elapsed: int) -> Previous:
        """What the next search needs of one robot's plan, ``elapsed`` steps after its first."""
        return Previous(self.mean[robot], elapsed, self.deviation[robot], self.elites[robot], int(self.plans[robot]))
