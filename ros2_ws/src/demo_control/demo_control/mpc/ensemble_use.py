"""How samples meet the members of an ensemble.

A way of your own to sum up the members is one function and one entry of :data:`ENSEMBLE_USES`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demo_control.tasks import Array

Summary = Callable[[Array], Array]
"""Maps costs of the same samples on every member, Shape=(num_members, ...), to one cost each, Shape=(...)."""


def mean(costs: Array) -> Array:
    """Expected cost over the members: the model's uncertainty counts as chance."""
    return np.asarray(costs.mean(axis=0))


def worst(costs: Array) -> Array:
    """The costliest member's: robust, a sample must be good on all. A cost that is no number counts as infinite."""
    return np.asarray(np.where(np.isnan(costs), np.inf, costs).max(axis=0))


ENSEMBLE_USES: dict[str, Summary | None] = {"split": None, "mean": mean, "worst": worst}
"""By name; ``PlannerSettings.ensemble`` is one of these. None: each sample runs on one member only, in equal parts.

That costs no more than a single network, but leans to the members that flatter: the cheapest samples are mostly theirs.
"""
