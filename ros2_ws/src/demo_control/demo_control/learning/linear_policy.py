"""Linear policies while they are searched for: one, or many side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from demo_control.learning.episodes import ControlLaw
from demo_control.tasks import Array


class Controlled(Protocol):
    """What a linear policy must know of what it controls; tasks and environments' problems say it."""

    @property
    def observation_dim(self) -> int:
        """Length of an observation, n."""
        ...

    @property
    def action_dim(self) -> int:
        """Length of an action, m."""
        ...

    @property
    def action_minimum(self) -> Array:
        """Shape=(action_dim,)."""
        ...

    @property
    def action_maximum(self) -> Array:
        """Shape=(action_dim,)."""
        ...


@dataclass(frozen=True)
class LinearPolicy:
    """u = clip(M (x - mean) / scale + bias, -1, 1), scaled to the task's action range.

    Attributes:
        weights: M. Shape=(action_dim, observation_dim).
        bias: Shape=(action_dim,).
        mean: Shape=(observation_dim,).
        scale: Shape=(observation_dim,).
    """

    weights: Array
    bias: Array
    mean: Array
    scale: Array

    @classmethod
    def of_weights(cls, weights: Array) -> LinearPolicy:
        """A policy without bias and normalisation."""
        m, n = weights.shape
        return cls(weights, np.zeros(m), np.zeros(n), np.ones(n))

    def act(self, observations: Array, controlled: Controlled) -> Array:
        """Actions in physical units. Shape=(num_plants, action_dim)."""
        normalised = (observations - self.mean) / self.scale @ self.weights.T + self.bias
        return denormalised(normalised, controlled)


@dataclass(frozen=True)
class LinearPolicies:
    """Policies side by side, one per plant or one for all; they differ in their parameters only.

    Attributes:
        parameters: M with the bias as last column. Shape=(num_plants or 1, action_dim, observation_dim + 1).
        mean: Shape=(observation_dim,).
        scale: Shape=(observation_dim,).
    """

    parameters: Array
    mean: Array
    scale: Array

    def law(self, controlled: Controlled) -> ControlLaw:
        """What they do."""
        weights, bias = self.parameters[..., :-1], self.parameters[..., -1]
        mean, scale, denormalise = self.mean, self.scale, denormaliser(controlled)

        def act(observations: Array) -> Array:
            normalised = ((observations - mean) / scale)[..., np.newaxis]
            return denormalise((weights @ normalised)[..., 0] + bias)

        return act


def denormaliser(controlled: Controlled) -> ControlLaw:
    """Maps actions of -1 .. 1 (clipped) to physical units."""
    middle = (controlled.action_maximum + controlled.action_minimum) / 2
    half_range = (controlled.action_maximum - controlled.action_minimum) / 2

    def denormalise(normalised: Array) -> Array:
        # What np.clip does, without its wrapper: this is called at every step of a search.
        return np.asarray(middle + half_range * np.minimum(np.maximum(normalised, -1.0), 1.0))

    return denormalise


def denormalised(normalised: Array, controlled: Controlled) -> Array:
    """Actions of -1 .. 1 (clipped) in physical units."""
    return denormaliser(controlled)(normalised)
