"""The linear policy of augmented random search (Mania et al. 2018) as an ONNX graph."""

from __future__ import annotations

import numpy as np
import onnx

from demo_control.onnx_graph import GraphBuilder
from demo_control.tasks import Array


def linear_policy_model(
    weights: Array,
    bias: Array,
    mean: Array,
    scale: Array,
    action_minimum: Array,
    action_maximum: Array,
) -> onnx.ModelProto:
    """U = clip(M diag(scale)⁻¹ (x − mean) + bias), from units of the half range to physical units.

    The normalisation and the scaling to physical units are folded into one matrix and one offset.

    Args:
        weights: M; an output of ±1 means the ends of the action range. Shape=(action_dim, observation_dim).
        bias: Shape=(action_dim,).
        mean: Of the observations, zeros without state normalisation. Shape=(observation_dim,).
        scale: Standard deviation of the observations, ones without. Shape=(observation_dim,).
        action_minimum: Physical units. Shape=(action_dim,).
        action_maximum: Physical units. Shape=(action_dim,).

    Returns:
        A model ``observation (batch, n) → action (batch, m)``.

    Raises:
        ValueError: Shapes that do not fit, a scale that is not positive, or numbers that are not finite.
    """
    action_dim, observation_dim = _checked_shape(weights, bias, mean, scale)
    half_range = (action_maximum - action_minimum) / 2.0
    centre = (action_maximum + action_minimum) / 2.0
    gain = half_range[:, None] * weights / scale
    offset = half_range * bias + centre - gain @ mean
    graph = GraphBuilder("linear_policy")
    observation = graph.input("observation", ["batch", observation_dim])
    action = graph.node("MatMul", observation, graph.constant(gain.T))
    action = graph.node("Add", action, graph.constant(offset))
    action = graph.node("Max", action, graph.constant(action_minimum))
    action = graph.node("Min", action, graph.constant(action_maximum))
    graph.output("action", action, ["batch", action_dim])
    return graph.build()


def _checked_shape(weights: Array, bias: Array, mean: Array, scale: Array) -> tuple[int, int]:
    """(action_dim, observation_dim), or a ValueError that names the array."""
    if weights.ndim != 2:  # noqa: PLR2004 - a matrix
        raise ValueError(f"weights: expected a matrix, got shape {weights.shape}")
    action_dim, observation_dim = weights.shape
    expected = {"bias": (bias, action_dim), "mean": (mean, observation_dim), "scale": (scale, observation_dim)}
    for name, (array, length) in expected.items():
        if array.shape != (length,):
            raise ValueError(f"{name}: expected shape ({length},), got {array.shape}")
    if not all(np.isfinite(array).all() for array in (weights, bias, mean, scale)):
        raise ValueError("weights, bias, mean and scale must be finite")
    if not (scale > 0.0).all():
        raise ValueError(f"scale: must be positive, got {scale.min()}")
    return action_dim, observation_dim
