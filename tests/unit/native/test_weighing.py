"""Weights of utilities: the kernel's are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from demo_control.mpc.utilities import (
    ELITE_WEIGHTINGS,
    TEMPERATURE_SCALES,
    elites_by_numpy,
    exponential_by_numpy,
)
from demo_control.rollout.native.library import Kernel
from demo_control.rollout.native.weighing import SCALES, elites, exponential
from demo_control.tasks import Array

costs_of_all_kinds = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=12), elements=st.floats(width=64)
)


@pytest.mark.parametrize("scale", SCALES)
@given(costs=costs_of_all_kinds, temperature=st.sampled_from([1e-3, 0.05, 0.7, 10.0]))
def test_the_kernel_weighs_as_numpy_does(kernel: Kernel, scale: str, costs: Array, temperature: float) -> None:
    weights = exponential(kernel, costs, temperature, scale)
    np.testing.assert_allclose(weights, exponential_by_numpy(costs, temperature, scale), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("weighting", ELITE_WEIGHTINGS)
@given(costs=costs_of_all_kinds, share=st.floats(0.0, 1.0))
def test_the_kernel_finds_the_elites_that_numpy_finds(
    kernel: Kernel, weighting: str, costs: Array, share: float
) -> None:
    """Where costs are equal, too: the first ones count."""
    num_elites = max(1, round(share * costs.shape[-1]))
    with np.errstate(under="ignore"):
        expected = elites_by_numpy(costs, num_elites, weighting)
    np.testing.assert_allclose(elites(kernel, costs, num_elites, weighting), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("weighting", ELITE_WEIGHTINGS)
def test_elites_of_costs_that_are_equal(kernel: Kernel, weighting: str) -> None:
    costs = np.array([3.0, 1.0, 1.0, np.nan, 1.0, -np.inf, 2.0])
    np.testing.assert_array_equal(elites(kernel, costs, 2, weighting), [0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    everything = elites(kernel, costs, 7, weighting)
    assert everything.sum() == pytest.approx(1.0)
    assert (everything[[3, 5]] == 0.0).all()


def test_scales_are_the_settings() -> None:
    assert set(SCALES) == set(TEMPERATURE_SCALES)
