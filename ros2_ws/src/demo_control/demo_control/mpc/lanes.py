"""Few sequences for each robot, rolled out on the ensemble's mean: what Φ proposes, and the plan itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.mpc.situations import Situations
from demo_control.mpc.utilities import comparable
from demo_control.rollout.engine import Floats, Rollouts
from demo_control.tasks import Array


@dataclass(frozen=True)
class Lanes:
    """Sequences to be rolled out on the ensemble's mean, a few for each robot.

    Attributes:
        controls: Shape=(horizon, num_robots, num_lanes, action_dim).
        feedback: 1 where the policy is added to them. Shape=(horizon, num_robots, num_lanes, 1).
    """

    controls: Array
    feedback: Array


@dataclass(frozen=True)
class Prospect:
    """What is to be expected without a search.

    Attributes:
        cost: Of μ̃. Shape=(num_robots,).
        nominal_costs: Weighted terms of the policy's rollout. Shape=(num_robots, num_terms).
        nominal_changes: Of the observation in the first step of that rollout. Shape=(num_robots, observation_dim).
    """

    cost: Array
    nominal_costs: Array
    nominal_changes: Array


def joined(first: Lanes, second: Lanes) -> Lanes:
    """The lanes of both, robot by robot."""
    return Lanes(
        np.concatenate([first.controls, second.controls], axis=2),
        np.concatenate([first.feedback, second.feedback], axis=2),
    )


def repeated(times: int, start: Array, situations: Situations) -> tuple[Array, ...]:
    """States to start from, scales and offsets of all robots, for that many rows of each.

    Returns:
        Shape=(rows, n) each, or (1, n) for one robot: the engines repeat it.
    """
    arrays = (start, situations.change_scale, situations.change_offset)
    return arrays if len(start) == 1 else tuple(np.repeat(array, times, axis=0) for array in arrays)


def as_trained(following: Array, situations: Situations) -> Array:
    """The changes from the observations to the ``following`` states, without scale and offset.

    Args:
        following: Shape=(num_robots, num_lanes, n).
        situations: Of all robots.
    """
    changes: Array = following - situations.observations[:, None]
    changes -= situations.change_offset[:, None]
    changes /= situations.change_scale[:, None]
    return changes


def by_robot(sequences: Floats) -> Array:
    """(horizon, num_robots, action_dim) as (num_robots, horizon, action_dim)."""
    return np.ascontiguousarray(sequences.swapaxes(0, 1), np.float64)


def observed(rollouts: Rollouts, step: int, num_robots: int) -> Array:
    """The states at one step of rollouts made with a trajectory. Shape=(num_robots, num_lanes, n)."""
    if rollouts.observations is None:
        raise TypeError("the lane engine must report trajectories")
    rows = rollouts.observations[step]
    states: Array = rows.reshape(num_robots, -1, rows.shape[-1]).astype(np.float64)
    return states


def cheapest_candidates(candidates: Array, costs: Array) -> Array:
    """Which of each robot's candidates costs least; it takes the place of those whose controls are not finite.

    A policy may diverge on the model. Its samples would get no weight, but no weight at all times NaN is NaN, and they
    would be missing beside the other candidate.

    Args:
        candidates: Changed in place. Shape=(horizon, num_robots, num_candidates, action_dim).
        costs: Shape=(num_robots, num_candidates).

    Returns:
        Shape=(num_robots,).
    """
    ranked = comparable(costs)
    # One number where all are finite, as nearly always; they lie within the limits, and so no sum of them overflows.
    if np.isfinite(candidates.sum()):
        return np.asarray(np.argmin(ranked, axis=1))
    usable = np.isfinite(candidates).all(axis=(0, 3))
    # A cost that is none is still better than controls that are none.
    cheapest = np.argmin(np.where(usable, np.minimum(ranked, np.finfo(float).max), np.inf), axis=1)
    for robot, candidate in np.argwhere(~usable):
        candidates[:, robot, candidate] = candidates[:, robot, cheapest[robot]]
    return np.asarray(cheapest)
