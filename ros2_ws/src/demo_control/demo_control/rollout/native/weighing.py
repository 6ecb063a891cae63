"""Weights of utilities by the compiled kernel, in one call."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from demo_control.rollout.native.library import Kernel, Pointer, address

Float64s = npt.NDArray[np.float64]

SCALES = ("standard_deviation", "cost", "effective_share")
"""'Scale' in kernel/weigh.cpp."""


class Weighing(ctypes.Structure):
    """One call's arrays; see kernel/weigh.cpp."""

    _fields_ = [
        ("rows", ctypes.c_int64), ("samples", ctypes.c_int64), ("scale", ctypes.c_int64),
        ("temperature", ctypes.c_double), ("costs", Pointer), ("weights", Pointer),
    ]  # fmt: skip


class Selecting(ctypes.Structure):
    """One call's arrays; see kernel/weigh.cpp."""

    _fields_ = [
        ("rows", ctypes.c_int64), ("samples", ctypes.c_int64), ("elites", ctypes.c_int64),
        ("by_return", ctypes.c_int64), ("costs", Pointer), ("weights", Pointer),
    ]  # fmt: skip


def exponential(kernel: Kernel, costs: Float64s, temperature: float, scale: str) -> Float64s:
    """See :func:`demo_control.mpc.utilities.exponential`; at least one cost, in C order."""
    samples = costs.shape[-1]
    weights = np.empty(costs.shape)
    given = Weighing(costs.size // samples, samples, SCALES.index(scale), temperature, address(costs), address(weights))
    kernel.functions.demo_native_weigh(ctypes.byref(given))
    return weights


def elites(kernel: Kernel, costs: Float64s, num_elites: int, weighting: str) -> Float64s:
    """See :func:`demo_control.mpc.utilities.elite_fraction`; at least one cost, in C order.

    Args:
        kernel: The compiled kernel.
        costs: Shape=(..., num_samples).
        num_elites: From 1 to the number of samples.
        weighting: 'uniform' or 'return'.

    Raises:
        MemoryError: No memory for a row of costs.
    """
    samples = costs.shape[-1]
    weights = np.empty(costs.shape)
    rows, by_return = costs.size // samples, weighting == "return"
    given = Selecting(rows, samples, num_elites, by_return, address(costs), address(weights))
    if kernel.functions.demo_native_select(ctypes.byref(given)):
        raise MemoryError("elites: no memory")
    return weights
