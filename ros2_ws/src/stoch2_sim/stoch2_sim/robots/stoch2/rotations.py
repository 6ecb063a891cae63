"""Rotations of unit quaternions."""

from __future__ import annotations

import numpy as np

from stoch2_sim.simulators.protocol import Array


def rotation_matrices(orientation: Array) -> Array:
    """Matrices that turn vectors of the body into those of the world.

    Args:
        orientation: Unit quaternions (w, x, y, z), body to world. Shape=(..., 4).

    Returns:
        Shape=(..., 3, 3).
    """
    w, x, y, z = (orientation[..., index] for index in range(4))
    matrices = np.empty((*orientation.shape[:-1], 3, 3))
    matrices[..., 0, 0] = 1.0 - 2.0 * (y * y + z * z)
    matrices[..., 0, 1] = 2.0 * (x * y - w * z)
    matrices[..., 0, 2] = 2.0 * (x * z + w * y)
    matrices[..., 1, 0] = 2.0 * (x * y + w * z)
    matrices[..., 1, 1] = 1.0 - 2.0 * (x * x + z * z)
    matrices[..., 1, 2] = 2.0 * (y * z - w * x)
    matrices[..., 2, 0] = 2.0 * (x * z - w * y)
    matrices[..., 2, 1] = 2.0 * (y * z + w * x)
    matrices[..., 2, 2] = 1.0 - 2.0 * (x * x + y * y)
    return matrices
