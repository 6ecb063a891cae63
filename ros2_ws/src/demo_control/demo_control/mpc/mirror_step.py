"""The mirror step and the Gaussian control distribution it acts on."""

from __future__ import annotations

import numpy as np

from demo_control.rollout.engine import Floats
from demo_control.tasks import Array

_GOLDEN_RATIO = (np.sqrt(5.0) - 1.0) / 2.0


def mirror_step(mean: Array, samples: Floats, weights: Array, step_size: float) -> Array:
    """μ = (1 − α) μ̃ + α Σ_i w_i u⁽ⁱ⁾ (Wagener et al. 2019, eq. 13; thesis, section 3.3).

    With the KL divergence of the Gaussian as Bregman divergence, the mirror descent step in expectation
    parameters is a convex combination of the proposed mean and the weighted samples.

    Args:
        mean: μ̃, what the shift model proposed. Shape=(..., horizon, action_dim).
        samples: u⁽ⁱ⁾. Shape=(..., num_samples, horizon, action_dim).
        weights: w_i; rows that sum to zero leave the mean as it is. Shape=(..., num_samples).
        step_size: α in [0, 1].

    Returns:
        μ. Shape=(..., horizon, action_dim).
    """
    leading, (horizon, action_dim) = mean.shape[:-2], mean.shape[-2:]
    flat = samples.reshape(*leading, -1, horizon * action_dim)
    # matmul, not einsum: three to four times faster at these sizes.
    weighted = np.matmul(weights[..., None, :].astype(flat.dtype), flat).reshape(mean.shape)
    usable = weights.sum(axis=-1)[..., None, None] > 0.0
    new_mean: Array = np.where(usable, (1.0 - step_size) * mean + step_size * weighted, mean)
    return new_mean


def sample_controls(
    means: Floats,
    standard_deviation: Array,
    minimum: Array,
    maximum: Array,
    generator: np.random.Generator,
    num_held: int = 0,
    smallest_share: float = 1.0,
) -> Floats:
    """Draw u ∼ N(mean, diag(σ²)), one sequence around each mean, clipped to the limits.

    Args:
        means: One per sample. Shape=(num_samples, horizon, action_dim).
        standard_deviation: σ in physical units. Shape=(action_dim,).
        minimum: Hard limits. Shape=(action_dim,).
        maximum: Hard limits. Shape=(action_dim,).
        generator: Source of the noise.
        num_held: This many of the samples, spread evenly, have the same noise at every step: a correction that is
            only worth its price when kept up is not found by independent draws.
        smallest_share: The samples' noise is scaled by factors from this to 1, evenly in their logarithm: wild
            samples find a way out of trouble, calm ones settle the plan when there is none.

    Returns:
        Shape=(num_samples, horizon, action_dim), float32.
    """
    noise: Floats = generator.standard_normal(means.shape, np.float32)
    if num_held:
        held = np.linspace(0, len(noise) - 1, num_held).round().astype(int)
        noise[held] = noise[held, :1]
    if smallest_share < 1.0:
        # Multiples of the golden ratio: any part of the samples has all sizes of noise.
        places = np.arange(len(noise)) * _GOLDEN_RATIO % 1.0
        noise *= np.power(smallest_share, places).astype(np.float32)[:, None, None]
    noise *= standard_deviation.astype(np.float32)
    noise += means.astype(np.float32, copy=False)
    return np.clip(noise, minimum.astype(np.float32), maximum.astype(np.float32), out=noise)
