"""Named scalars: what the entries of observation, action and correction vectors are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo_control.configuration import ConfigurationError

Array = npt.NDArray[np.float64]


def unusable(values: Array, length: int) -> str:
    """Why a vector cannot be used ('wrong_shape', 'non_finite'), or '' if it can."""
    if values.shape != (length,):
        return "wrong_shape"
    return "" if np.isfinite(values).all() else "non_finite"


def columns(names: Sequence[str], values: Array) -> dict[str, Array]:
    """Entries of vectors, by name; of a single one numbers, with which NumPy computes faster than with arrays of one.

    Args:
        names: Of the entries.
        values: Shape=(..., len(names)).

    Returns:
        Shape=(...) each.
    """
    rows = values if values.ndim == 1 else np.moveaxis(values, -1, 0)
    return dict(zip(names, rows, strict=True))


@dataclass(frozen=True)
class Quantity:
    """One scalar of an observation or action vector.

    Attributes:
        name: Unique within its vector.
        unit: SI unit, '1' for none.
        minimum: Lower end of the range the robot works in (actions: the hard limit), in ``unit``.
        maximum: Upper end, in ``unit``.
    """

    name: str
    unit: str
    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        """Check the range."""
        if not (np.isfinite([self.minimum, self.maximum]).all() and self.minimum < self.maximum):
            raise ConfigurationError(
                f"quantity '{self.name}': range [{self.minimum}, {self.maximum}] must be finite and not empty"
            )
