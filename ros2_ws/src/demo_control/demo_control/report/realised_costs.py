"""What the recorded motion cost, in the planner's own terms: beside what the plans predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demo_control.layer import COST_WEIGHT_PREFIX
from demo_control.report.bag_contents import BagContents, Series
from demo_control.tasks import Array, Task

_PRICES = "stages"
"""Terms that count at stages only are prices of the decisions themselves, which the motion does not show."""
_LARGEST_SETTING = 1e100


@dataclass(frozen=True)
class RealisedCosts:
    """Weighted cost terms of the recorded motion.

    Attributes:
        times_s: Of the observations. Shape=(length,).
        terms: Names.
        costs: Shape=(length, num_terms).
        plan_times_s: Of the plans whose whole horizon was recorded. Shape=(num_plans,).
        predicted: What these plans cost over the horizon, by the same terms. Shape=(num_plans,).
        realised: What the motion cost over the horizon. Shape=(num_plans,).
    """

    times_s: Array
    terms: tuple[str, ...]
    costs: Array
    plan_times_s: Array
    predicted: Array
    realised: Array


def realised_costs(contents: BagContents, task: Task, settings: Mapping[str, object]) -> RealisedCosts | None:
    """Cost the recorded motion.

    Args:
        contents: Of the recording.
        task: The robot's.
        settings: Of the layer: horizon, discount, terminal weight, delay, and weights of the cost terms.

    Returns:
        None where the recording does not have the task's observations.
    """
    seen, problem = contents.observations, task.planning_problem
    rows = np.isfinite(seen.values).all(axis=1) if len(seen) else np.zeros(0, bool)
    if not rows.any() or seen.values.shape[1] != task.observation_dim:
        return None
    times_s, values = seen.times_s[rows], seen.values[rows]
    if task.planning is None:
        actions = _in_force(contents.applied if len(contents.applied) else contents.commands, times_s, task.action_dim)
        terms = [term for term in problem.cost_terms if term.counts != _PRICES]
    else:
        names = [quantity.name for quantity in task.observation]
        columns = [names.index(name) for name in task.planning.observation]
        # The corrections are not in the motion: their prices are left out.
        values = np.concatenate([values[:, columns], np.zeros((len(values), problem.action_dim))], axis=1)
        actions = np.zeros((len(values), problem.action_dim))
        terms = [term for term in problem.cost_terms if term.counts != _PRICES]
    chosen = [problem.cost_terms.index(term) for term in terms]
    weights = np.array([_number(settings, f"{COST_WEIGHT_PREFIX}{term.name}", term.weight) for term in terms])
    with np.errstate(all="ignore"):
        costs = problem.stage_costs(values, actions)[:, chosen] * weights
    horizon = int(_number(settings, "horizon", 0))
    starts, predicted, realised = _over_horizon(contents, problem, settings, times_s, costs, chosen, horizon)
    return RealisedCosts(times_s, tuple(term.name for term in terms), costs, starts, predicted, realised)


def _over_horizon(
    contents: BagContents, problem: Task, settings: Mapping[str, object], times_s: Array, costs: Array,
    chosen: list[int], horizon: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Plans with a whole horizon behind them: when, what they predicted, what came of it."""
    plans, nothing = contents.plans, np.zeros(0)
    names = [problem.cost_terms[place].name for place in chosen]
    if horizon < 1 or not len(plans) or not set(names) <= set(plans.terms):
        return nothing, nothing, nothing
    period_s = problem.control_period_s
    delay = problem.unmodelled_ticks + _number(settings, "command_delay_ticks", 0)
    starts = plans.starts_s
    whole = starts + (delay + horizon) * period_s <= times_s[-1] + 0.5 * period_s
    if not whole.any():
        return nothing, nothing, nothing
    moments = starts[whole, None] + (delay + np.arange(horizon + 1)) * period_s
    counts = problem.cost_counts(horizon + 1)[:, chosen]
    discounts = _number(settings, "discount", 1.0) ** np.arange(horizon + 1)
    discounts[-1] *= _number(settings, "terminal_weight", 1.0)
    nearest = np.clip(np.searchsorted(times_s, moments - 0.25 * period_s), 0, len(times_s) - 1)
    realised = (costs[nearest] * counts * discounts[:, None]).sum(axis=(1, 2))
    columns = np.array([plans.terms.index(name) for name in names], dtype=np.int64)
    predicted = plans.plan_costs[whole][:, columns].sum(axis=1)
    return plans.times_s[whole], predicted, realised


def _in_force(actions: Series, times_s: Array, dimension: int) -> Array:
    """The newest action at some times, zero before the first. Shape=(num_times, dimension)."""
    if not len(actions) or actions.values.shape[1] != dimension:
        return np.zeros((len(times_s), dimension))
    index = np.searchsorted(actions.times_s, times_s, side="right") - 1
    return np.asarray(np.where(index[:, None] >= 0, actions.values[np.maximum(index, 0)], 0.0))


def _number(settings: Mapping[str, object], name: str, default: float) -> float:
    """A setting of the recording, which may hold anything."""
    value = settings.get(name, default)
    # An integer may be too large for a float.
    is_usable = isinstance(value, int | float) and abs(value) <= _LARGEST_SETTING
    return float(value) if is_usable else default  # type: ignore[arg-type] # it is a number
