"""Weights of the exponential utility: the kernel's are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from demo_control.mpc.utilities import TEMPERATURE_SCALES, exponential_by_numpy
from demo_control.rollout.native.library import Kernel
from demo_control.rollout.native.weighing import SCALES, exponential
from demo_control.tasks import Array

costs_of_all_kinds = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=12), elements=st.floats(width=64)
)


@pytest.mark.parametrize("scale", SCALES)
@given(costs=costs_of_all_kinds, temperature=st.sampled_from([1e-3, 0.05, 0.7, 10.0]))
def test_the_kernel_weighs_as_numpy_does(kernel: Kernel, scale: str, costs: Array, temperature: float) -> None:
    weights = exponential(kernel, costs, temperature, scale)
    np.testing.assert_allclose(weights, exponential_by_numpy(costs, temperature, scale), rtol=1e-7, atol=1e-12)


def test_scales_are_the_settings() -> None:
    assert set(SCALES) == set(TEMPERATURE_SCALES)
