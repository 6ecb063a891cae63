"""The mirror step: closed forms, and what every one of them must obey."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.mpc.mirror_step import STEP_SIZES, mirror_step
from demo_control.mpc.utilities import elite_fraction, expected_cost, exponential
from demo_control.tasks import Array

WEIGHTS = {
    "expected cost": lambda costs: expected_cost(costs, 1.0, "standard_deviation"),
    "elites": lambda costs: elite_fraction(costs, 0.2),
    "elites by return": lambda costs: elite_fraction(costs, 0.2, "return"),
    "exponential": lambda costs: exponential(costs, 0.5, "standard_deviation"),
}


def test_it_is_a_convex_combination() -> None:
    mean = np.array([[2.0]])
    samples = np.array([[[4.0], [6.0]]])
    np.testing.assert_allclose(mirror_step(mean, samples, np.array([0.25, 0.75]), 0.5), [[0.5 * 2.0 + 0.5 * 5.5]])
    np.testing.assert_allclose(mirror_step(mean, samples, np.zeros(2), 0.5), mean)


@pytest.mark.parametrize("name", WEIGHTS)
@given(seed=st.integers(0, 1000), horizon=st.integers(1, 5), action_dim=st.integers(1, 3), count=st.integers(1, 30))
def test_ends_of_the_step(name: str, seed: int, horizon: int, action_dim: int, count: int) -> None:
    """α = 0 keeps the proposal to the last bit; α = 1 is the weighted mean of the samples."""
    generator = np.random.default_rng(seed)
    mean, samples = generator.normal(size=(horizon, action_dim)), generator.normal(size=(horizon, count, action_dim))
    weights = WEIGHTS[name](generator.normal(size=count))
    np.testing.assert_array_equal(mirror_step(mean, samples, weights, 0.0), mean)
    if weights.sum() > 0.5:
        expected = np.einsum("i,hia->ha", weights, samples)
        np.testing.assert_allclose(mirror_step(mean, samples, weights, 1.0), expected, atol=1e-12)


@pytest.mark.parametrize("name", WEIGHTS)
def test_rescaled_actions_give_the_rescaled_step(name: str) -> None:
    generator = np.random.default_rng(0)
    mean, samples = generator.normal(size=(4, 2)), generator.normal(size=(4, 50, 2))
    weights = WEIGHTS[name](generator.normal(size=50))
    scale, shift = np.array([3.0, 0.01]), np.array([-7.0, 2.0])
    step = mirror_step(scale * mean + shift, scale * samples + shift, weights, 0.7)
    np.testing.assert_allclose(step, scale * mirror_step(mean, samples, weights, 0.7) + shift, rtol=1e-9)


def quadratic_minimum_found(name: str, num_samples: int, steps: int = 400) -> Array:
    """Where mirror steps on c(u) = ‖u − u*‖² come to rest, minus u*; the mean of the last half of the steps."""
    generator = np.random.default_rng(1)
    best, mean, path = np.array([[1.0, -2.0], [0.5, 3.0]]), np.zeros((2, 2)), []
    for _ in range(steps):
        samples = mean[:, None] + 0.3 * generator.standard_normal((2, num_samples, 2))
        costs = np.square(samples - best[:, None]).sum(axis=(0, 2))
        mean = mirror_step(mean, samples, WEIGHTS[name](costs), 0.5)
        path.append(mean)
    return np.asarray(np.mean(path[steps // 2 :], axis=0) - best)


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_utility_finds_the_minimum_of_a_quadratic(name: str) -> None:
    np.testing.assert_allclose(quadratic_minimum_found(name, 200), 0.0, atol=0.02)


def test_expected_cost_is_the_gradient_of_a_quadratic() -> None:
    """∇_μ E[‖u − u*‖²] = 2 (μ − u*); the estimate from samples is −Σ w (u − μ) λ / σ²."""
    generator, deviation, best = np.random.default_rng(4), 0.2, np.array([[0.7], [-0.4]])
    mean = np.zeros((2, 1))
    samples = mean[:, None] + deviation * generator.standard_normal((2, 400_000, 1))
    costs = np.square(samples - best[:, None]).sum(axis=(0, 2))
    step = mirror_step(mean, samples, expected_cost(costs, 1.0), 1.0) - mean
    np.testing.assert_allclose(-step / deviation**2, 2.0 * (mean - best), atol=0.03)


def test_exponential_step_on_a_quadratic_in_closed_form() -> None:
    """Under u ∼ N(0, σ²) and c = (u − b)² / 2, the exponential's weighted mean is b σ² / (σ² + λ)."""
    generator, deviation, best, temperature = np.random.default_rng(5), 0.5, 0.8, 0.3
    samples = deviation * generator.standard_normal((1, 400_000, 1))
    weights = exponential(np.square(samples[0, :, 0] - best) / 2.0, temperature)
    expected = best * deviation**2 / (deviation**2 + temperature)
    np.testing.assert_allclose(mirror_step(np.zeros((1, 1)), samples, weights, 1.0), expected, atol=0.003)


def test_schedules() -> None:
    plans = np.array([1, 4, 100])
    assert STEP_SIZES["constant"](0.6, plans) == 0.6
    np.testing.assert_allclose(STEP_SIZES["diminishing"](0.6, plans), [0.6, 0.3, 0.06])
    mean, samples = np.zeros((2, 3, 1)), np.ones((2, 3, 4, 1))
    moved = mirror_step(mean, samples, np.full((3, 4), 0.25), STEP_SIZES["diminishing"](0.6, plans))
    np.testing.assert_allclose(moved[0, :, 0], [0.6, 0.3, 0.06])
