"""Regret and path length of a sequence of plans (Hall & Willett 2013; thesis, Theorem 3.1).

For convex J_t and a diminishing step size the regret against comparators η*_t is bounded by

    Σ_t J_t(η_t) − J_t(η*_t)  ≤  D_max / α_T + (4 M / α_T) Σ_t ‖η*_{t+1} − Φ_t(η*_t)‖ + (G² / 2) Σ_t α_t

with D_max and M from the size of the domain and G the largest gradient (:func:`regret_bound`). The sum in the middle is
the *path length* of the comparators under the shift model: the better Φ anticipates, the smaller the bound. On a robot
the comparators are unknown; the running path length of the plans themselves, Σ ‖μ_{t+1} − Φ_t(μ_t)‖, takes its place.
"""

from __future__ import annotations

import numpy as np

from demo_control.tasks import Array


class Regret:
    """Running path length and regret of one robot's plans.

    The comparators are fixed rules of which each plan knows the cost (the policy alone; what Φ proposed, never
    corrected); the regret is against the one of them that was best in hindsight, negative where planning beat all.

    Args:
        num_comparators: How many rules.
    """

    def __init__(self, num_comparators: int) -> None:
        self.path_length = 0.0
        self.realised_cost = 0.0
        self._plan_costs = 0.0
        self._comparator_costs = np.zeros(num_comparators)

    @property
    def regret(self) -> float:
        """Σ_t J_t(μ_t) − min_c Σ_t J_t(c); −∞ where no rule has a finite cost."""
        return self._plan_costs - float(self._comparator_costs.min())

    def add(self, path_step: float, plan_cost: float, comparator_costs: Array, realised_cost: float) -> None:
        """Take in one plan; one whose cost is not finite is left out.

        Args:
            path_step: ‖μ − μ̃‖.
            plan_cost: J_t(μ_t).
            comparator_costs: J_t of each rule; a cost that is not finite counts as infinite. Shape=(num_comparators,).
            realised_cost: Stage cost that was observed since the last plan.
        """
        if np.isfinite(realised_cost):
            self.realised_cost += realised_cost
        if not (np.isfinite(plan_cost) and np.isfinite(path_step)):
            return
        self.path_length += path_step
        self._plan_costs += plan_cost
        self._comparator_costs += np.where(np.isfinite(comparator_costs), comparator_costs, np.inf)


def regret_bound(step_sizes: Array, path_length: float, largest_gradient: float, radius: float) -> float:
    """The bound of dynamic mirror descent with ψ = ½‖·‖² (Hall & Willett 2013, Theorem 2).

    Holds for convex losses and a shift model that does not drive points apart (‖Φ(a) − Φ(b)‖ ≤ ‖a − b‖).

    Args:
        step_sizes: α_t, not rising. Shape=(num_steps,).
        path_length: Σ_t ‖η*_{t+1} − Φ_t(η*_t)‖ of the comparators.
        largest_gradient: G, the largest norm of a gradient met.
        radius: All decisions and comparators lie within this distance of the origin.

    Returns:
        A number that the regret does not exceed.
    """
    largest_divergence = (2.0 * radius) ** 2 / 2.0
    last = float(step_sizes[-1])
    along_the_path = 4.0 * (radius / 2.0) * path_length / last
    return largest_divergence / last + along_the_path + largest_gradient**2 / 2.0 * float(step_sizes.sum())
