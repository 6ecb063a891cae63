"""Checks that all simulators share."""

from __future__ import annotations

import math

from demo_control.configuration import ConfigurationError
from stoch2_sim.simulators.protocol import Array


def check_layout(num_robots: int, period_s: float, substeps: int) -> None:
    """Check a simulator's construction arguments.

    Raises:
        ConfigurationError: A value out of range.
    """
    if num_robots < 1:
        raise ConfigurationError(f"num_robots = {num_robots}: must be at least 1")
    if not (period_s > 0.0 and math.isfinite(period_s)):
        raise ConfigurationError(f"period_s = {period_s}: must be positive and finite")
    if substeps < 1:
        raise ConfigurationError(f"substeps = {substeps}: must be at least 1")


def check_shape(what: str, values: Array, shape: tuple[int, ...]) -> None:
    """Check an array's shape.

    Raises:
        ValueError: It differs.
    """
    if values.shape != shape:
        raise ValueError(f"{what} have shape {values.shape}, expected {shape}")
