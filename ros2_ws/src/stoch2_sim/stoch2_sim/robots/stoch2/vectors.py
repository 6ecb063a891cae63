"""Vector products of small arrays, without the overhead of NumPy's own."""

from __future__ import annotations

import numpy as np

from stoch2_sim.simulators.protocol import Array


def cross(a: Array, b: Array) -> Array:
    """Cross products over the last axis; the others broadcast.

    Args:
        a: Shape=(..., 3).
        b: Shape=(..., 3).

    Returns:
        Shape=(..., 3).
    """
    result = np.empty(np.broadcast_shapes(a.shape, b.shape))
    result[..., 0] = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
    result[..., 1] = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    result[..., 2] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return result
