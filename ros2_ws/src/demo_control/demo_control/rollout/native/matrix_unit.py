"""When the processor's matrix unit (Intel's AMX) makes a program faster, by the time that its parts were seen to take.

The unit makes wide layers faster, but the processor lowers its clock while it is in use, and all else becomes slower.
The figures are those of a Xeon of the fourth generation (docs/rollouts.md), in cycles of its usual clock, for each
vector of 16 samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

VARIANT = "amx"
"""Name of the kernel's variant with the unit; it has AVX-512 besides."""

WORTH = 0.95
"""The unit is used where a program takes at most this share of its time without."""

ACTIVATION_CYCLES: Mapping[str, float] = {
    "none": 0.0, "relu": 1.0, "hyperbolic_tangent": 9.0, "sigmoid": 9.0, "silu": 10.0,
}  # fmt: skip
"""Of one output, by what a layer may end with."""

_OUTPUTS, _INPUTS, _PRODUCTS = 16, 32, 6  # of a tile; see kernel/dense_matrix.hpp
_TILE = 24.0  # one product of tiles, weights from the second-level cache
_SPLIT = 7.0  # an input into its pieces
_OUTPUT = 8.0  # from tiles of sums to rows
_TILES_BESIDE = 30  # products of tiles for one output beside which most of an activation takes no time
_MULTIPLY_ADD = 0.58  # of 16 samples, by vectors
_INSTRUCTION, _OPERATION = 6.0, 3.0  # other than a layer, and each of its rows
_SLOWER_CLOCK = 1.36


def vector_cycles(inputs: int, outputs: int, activation: str) -> float:
    """What a layer takes by vectors."""
    return _MULTIPLY_ADD * inputs * outputs + ACTIVATION_CYCLES[activation] * outputs


def matrix_cycles(inputs: int, outputs: int, activation: str) -> float:
    """What a layer takes by the matrix unit."""
    whole, rest = divmod(inputs, _INPUTS)
    products = _PRODUCTS * whole + math.ceil(_PRODUCTS * math.ceil(rest / 2) / (_INPUTS // 2))
    hidden = 0.8 if products >= _TILES_BESIDE else 0.0
    tiles = math.ceil(outputs / _OUTPUTS) * products
    return _TILE * tiles + _SPLIT * inputs + (_OUTPUT + (1.0 - hidden) * ACTIVATION_CYCLES[activation]) * outputs


def pays_for_layer(inputs: int, outputs: int, activation: str) -> bool:
    """Whether a program that uses the unit has this layer made by it."""
    return matrix_cycles(inputs, outputs, activation) < _SLOWER_CLOCK * vector_cycles(inputs, outputs, activation)


def tape_cycles(layers: Sequence[tuple[int, int, str]], others: Sequence[int]) -> tuple[float, float]:
    """Estimated cycles of a tape for 16 samples: by vectors alone, and with the unit.

    Args:
        layers: (inputs, outputs, activation) of each layer that is run.
        others: Number of rows of each other instruction.
    """
    apart = sum(_INSTRUCTION + _OPERATION * rows for rows in others)
    vectors = apart + sum(vector_cycles(*layer) for layer in layers)
    slower = _SLOWER_CLOCK * apart
    for layer in layers:
        slower += matrix_cycles(*layer) if pays_for_layer(*layer) else _SLOWER_CLOCK * vector_cycles(*layer)
    return vectors, slower
