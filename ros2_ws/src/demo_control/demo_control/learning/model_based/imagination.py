"""Transitions of the model, for the learner: plans rolled through the ensemble, with its noise."""

from __future__ import annotations

import numpy as np
import torch

from demo_control.learning.ensemble import Ensemble
from demo_control.learning.environments import Problem
from demo_control.learning.model_based.planning import Plans
from demo_control.learning.sac import RowLayout, SoftActorCritic
from demo_control.learning.sac.replay import Float32s
from demo_control.tasks import Array


def roll_through_model(
    problem: Problem,
    ensemble: Ensemble,
    learner: SoftActorCritic,
    starts: Array,
    plans: Plans,
    followed: Array,
    stored: str,
    added_noise: float,
    generator: np.random.Generator,
) -> Float32s:
    """Every transition of N rollouts, each step on a member drawn anew, up to the end of an episode.

    Args:
        problem: The learning problem.
        ensemble: The model.
        learner: Draws actions where ``stored`` is 'policy_along_plan'.
        starts: Planning observations; N is a multiple of the ensemble's members.
            Shape=(N, planning observation_dim).
        plans: What to do.
        followed: How far each plan is followed, 0 ... 1; the rest is the policy's, from state to state. Shape=(N,).
        stored: 'plan': u_h = μ_h. 'policy_along_plan': u_h = a_h + μ_h − π_θ(x̂_h) with a_h drawn from the policy at
            the state that is met; where no mirror step moved μ this is the policy, as in MBPO.
        added_noise: Standard deviation of what is added to every action, in half action ranges.
        generator: Draws members, noise and actions.

    Returns:
        Rows of transitions; those with numbers that are not finite are left out. Shape=(count, layout.width).
    """
    n, layout = problem.observation_dim, learner.layout
    x, rows, weight = starts.astype(np.float32), [], followed[:, None]
    for step in range(plans.controls.shape[1]):
        planned = problem.shares(plans.controls[:, step])
        if stored == "policy_along_plan":
            noise = generator.standard_normal((len(x), layout.action_dim), np.float32)
            correction = planned - problem.shares(plans.answers[:, step])
            drawn = learner.act(x[:, :n], noise).astype(float)
            share = drawn + np.where(weight > 0.0, weight * correction, 0.0)
        else:
            answer = learner.act(x[:, :n]).astype(float)
            share = np.where(weight > 0.0, weight * planned + (1.0 - weight) * answer, answer)
        if added_noise:
            share = share + added_noise * generator.standard_normal(share.shape)
        share = share.clip(-1.0, 1.0)
        following = _sampled_step(ensemble, x, problem.actions(share), generator)
        rows.append(_alive_rows(layout, x, share, following))
        x = following
    return np.concatenate(rows)


def _sampled_step(ensemble: Ensemble, x: Float32s, u: Array, generator: np.random.Generator) -> Float32s:
    """One step of every row on a random member, with noise of the predicted variance. Shape as x."""
    members = ensemble.num_members
    order = generator.permutation(len(x))
    shape = (members, len(x) // members, -1)
    grouped_x = torch.from_numpy(x[order]).reshape(shape)
    grouped_u = torch.from_numpy(u[order].astype(np.float32)).reshape(shape)
    with torch.no_grad():
        mean, log_variance = ensemble.standardised(grouped_x, grouped_u)
        noise = torch.from_numpy(generator.standard_normal(tuple(mean.shape), np.float32))
        following = ensemble.moved(grouped_x, grouped_u, mean + torch.exp(0.5 * log_variance) * noise)
    result = np.empty_like(x)
    result[order] = following.reshape(x.shape).numpy()
    return result


def _alive_rows(layout: RowLayout, x: Float32s, share: Array, following: Float32s) -> Float32s:
    """The transitions of episodes that were going on. The reward and the end are the last two entries of a state."""
    n = layout.observation_dim
    rows = layout.rows(x[:, :n], share, following[:, :n], following[:, -2], following[:, -1] < 0.5)  # noqa: PLR2004
    counts = (x[:, -1] >= 0.5) & np.isfinite(rows).all(axis=1)  # noqa: PLR2004
    return rows[counts]
