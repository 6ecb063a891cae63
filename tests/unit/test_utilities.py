"""Weights of the utilities: closed forms, invariances, and costs that are no numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from demo_control.mpc.utilities import (
    effective_sample_size,
    elite_fraction,
    expected_cost,
    exponential,
    exponential_by_numpy,
)
from demo_control.tasks import Array

UTILITIES = {
    "uniform elites": lambda costs: elite_fraction(costs, 0.3),
    "elites by return": lambda costs: elite_fraction(costs, 0.3, "return"),
    "exponential": lambda costs: exponential(costs, 0.7),
    "exponential, relative": lambda costs: exponential(costs, 0.7, "standard_deviation"),
    "exponential, of a share": lambda costs: exponential(costs, 0.4, "effective_share"),
}

finite_costs = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=12),
    elements=st.integers(-1000, 1000).map(float),
)
any_costs = hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2, max_side=12), elements=st.floats(width=64))


@pytest.mark.parametrize("name", UTILITIES)
@given(costs=finite_costs)
def test_weights_sum_to_one_and_ignore_a_constant(name: str, costs: Array) -> None:
    weights = UTILITIES[name](costs)
    assert weights.shape == costs.shape
    assert (weights >= 0.0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0)
    np.testing.assert_allclose(UTILITIES[name](costs + 4096.0), weights, atol=1e-9)


@pytest.mark.parametrize("name", UTILITIES)
@given(costs=any_costs)
def test_a_cost_that_is_no_number_gets_no_weight(name: str, costs: Array) -> None:
    weights = UTILITIES[name](costs)
    finite = np.isfinite(costs)
    assert np.isfinite(weights).all()
    assert (weights[~finite] == 0.0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), finite.any(axis=-1).astype(float))


@pytest.mark.parametrize("name", UTILITIES)
def test_a_cheaper_sample_never_weighs_less(name: str) -> None:
    costs = np.random.default_rng(0).normal(size=50)
    weights = UTILITIES[name](costs)[np.argsort(costs)]
    assert (np.diff(weights) <= 1e-12).all()


def test_uniform_elites_are_the_cheapest() -> None:
    weights = elite_fraction(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), 0.4)
    np.testing.assert_allclose(weights, [0.0, 0.5, 0.5, 0.0, 0.0])


def test_elites_by_return_are_weighted_by_their_gap_to_the_worst_elite() -> None:
    weights = elite_fraction(np.array([3.0, 1.0, 2.0, 9.0]), 0.75, "return")
    np.testing.assert_allclose(weights, [0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0])


def test_a_share_of_ten_percent_is_ten_of_a_hundred() -> None:
    """0.1 · 100 is not 10 in binary; the number of elites must be all the same."""
    for num_samples in range(10, 1000, 10):
        assert np.count_nonzero(elite_fraction(np.arange(num_samples, dtype=float), 0.1)) == num_samples // 10


def test_exponential_is_the_softmax() -> None:
    costs = np.array([1.0, 2.0, 4.0])
    expected = np.exp(-costs / 0.5) / np.exp(-costs / 0.5).sum()
    np.testing.assert_allclose(exponential(costs, 0.5), expected)


def test_relative_temperature_makes_weights_independent_of_the_costs_unit() -> None:
    costs = np.random.default_rng(1).normal(size=(3, 20))
    np.testing.assert_allclose(
        exponential(costs, 0.3, "standard_deviation"), exponential(100.0 * costs, 0.3, "standard_deviation")
    )


def test_equal_costs_weigh_the_same() -> None:
    for name in ("exponential", "exponential, relative", "exponential, of a share"):
        np.testing.assert_allclose(UTILITIES[name](np.full(8, 5.0)), 1.0 / 8.0)


@pytest.mark.parametrize("share", [0.1, 0.35, 0.9])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e9])
def test_the_temperature_is_found_for_a_share_of_the_samples(share: float, unit: float) -> None:
    costs = unit * np.random.default_rng(2).normal(size=(4, 200))
    costs[1, :50] = np.inf
    sizes = effective_sample_size(exponential(costs, share, "effective_share"))
    np.testing.assert_allclose(sizes, share * np.array([200.0, 150.0, 200.0, 200.0]), rtol=1e-6)


@pytest.mark.parametrize("scale", ["cost", "standard_deviation", "effective_share"])
@pytest.mark.parametrize("weigh", [exponential, exponential_by_numpy])
def test_costs_whose_difference_is_beyond_a_float_are_weighed(weigh: Callable[..., Array], scale: str) -> None:
    weights = weigh(np.array([1e308, -1e308, np.nan, 0.0, 1.0]), 0.05, scale)
    np.testing.assert_allclose(weights, [0.0, 1.0, 0.0, 0.0, 0.0], atol=1e-6)


def test_a_share_below_one_sample_takes_the_best() -> None:
    weights = exponential(np.array([3.0, 1.0, 2.0]), 0.01, "effective_share")
    np.testing.assert_allclose(weights, [0.0, 1.0, 0.0], atol=1e-6)


@given(costs=finite_costs)
def test_expected_cost_weighs_by_the_distance_from_the_mean(costs: Array) -> None:
    weights = expected_cost(costs, 2.0)
    mean = costs.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights, (mean - costs) / (2.0 * costs.shape[-1]), atol=1e-9)
    np.testing.assert_allclose(expected_cost(costs + 4096.0, 2.0), weights, atol=1e-9)


@given(costs=any_costs)
def test_expected_cost_gives_no_weight_to_a_cost_that_is_no_number(costs: Array) -> None:
    weights = expected_cost(costs, 1.0)
    assert np.isfinite(weights).all()
    assert (weights[~np.isfinite(costs)] == 0.0).all()


def test_expected_cost_is_the_first_order_of_the_exponential() -> None:
    costs = np.random.default_rng(3).normal(size=40)
    temperature = 1e4
    first_order = exponential(costs, temperature) - 1.0 / 40.0
    np.testing.assert_allclose(expected_cost(costs, temperature), first_order, atol=1e-8)


def test_effective_sample_size() -> None:
    weights = np.array([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.5, -0.5, 0.0, 0.0]])
    np.testing.assert_allclose(effective_sample_size(weights), [4.0, 1.0, 0.0, 2.0])
