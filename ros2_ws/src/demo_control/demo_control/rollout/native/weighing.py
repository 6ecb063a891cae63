"""Weights of the exponential utility by the compiled kernel, in one call."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from demo_control.rollout.native.library import Kernel, Pointer, address

Float64s = npt.NDArray[np.float64]

SCALES = ("standard_deviation", "cost", "effective_share")
"""'Scale' in kernel/weigh.cpp."""


class Arrays(ctypes.Structure):
    """One call's arrays; 'Weighing' in kernel/weigh.cpp."""

    _fields_ = [
        ("rows", ctypes.c_int64), ("samples", ctypes.c_int64), ("scale", ctypes.c_int64),
        ("temperature", ctypes.c_double), ("costs", Pointer), ("weights", Pointer),
    ]  # fmt: skip


def exponential(kernel: Kernel, costs: Float64s, temperature: float, scale: str) -> Float64s:
    """See :func:`demo_control.mpc.utilities.exponential`; at least one cost, in C order."""
    samples = costs.shape[-1]
    weights = np.empty(costs.shape)
    given = Arrays(costs.size // samples, samples, SCALES.index(scale), temperature, address(costs), address(weights))
    kernel.functions.demo_native_weigh(ctypes.byref(given))
    return weights
