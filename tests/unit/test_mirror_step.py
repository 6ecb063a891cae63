"""The mirror step and the samples it weighs."""

from __future__ import annotations

import numpy as np

from demo_control.mpc.mirror_step import mirror_step, sample_controls

HORIZON, ACTION_DIM, SAMPLES = 6, 2, 4000
LIMITS = np.full(ACTION_DIM, -10.0), np.full(ACTION_DIM, 10.0)


def draw(num_held: int = 0, smallest_share: float = 1.0, seed: int = 0) -> np.ndarray:
    means = np.ones((SAMPLES, HORIZON, ACTION_DIM))
    deviation = np.array([0.5, 1.0])
    return sample_controls(means, deviation, *LIMITS, np.random.default_rng(seed), num_held, smallest_share)


def test_mirror_step_is_a_convex_combination() -> None:
    mean = np.array([[2.0]])
    samples = np.array([[[4.0]], [[6.0]]])
    np.testing.assert_allclose(mirror_step(mean, samples, np.array([0.25, 0.75]), 0.5), [[0.5 * 2.0 + 0.5 * 5.5]])
    np.testing.assert_allclose(mirror_step(mean, samples, np.zeros(2), 0.5), mean)


def test_samples_have_the_mean_and_the_deviation() -> None:
    samples = draw()
    np.testing.assert_allclose(samples.mean(axis=(0, 1)), 1.0, atol=0.03)
    np.testing.assert_allclose(samples.std(axis=(0, 1)), [0.5, 1.0], rtol=0.02)


def test_held_noise_is_the_same_at_every_step_and_spread_evenly() -> None:
    held = np.ptp(draw(num_held=SAMPLES // 2), axis=1).max(axis=1) == 0.0
    assert held.sum() == SAMPLES // 2
    np.testing.assert_allclose(held.reshape(4, -1).mean(axis=1), 0.5, atol=0.01)


def test_noise_comes_in_all_sizes() -> None:
    """The scale is log-uniform in [s, 1], so the mean square is (1 − s²) / (2 ln(1 / s))."""
    share = 0.1
    samples = draw(smallest_share=share) - 1.0
    expected = (1.0 - share**2) / (2.0 * np.log(1.0 / share))
    np.testing.assert_allclose(np.square(samples).mean(axis=(0, 1)), expected * np.array([0.25, 1.0]), rtol=0.05)
    thirds = np.square(samples).mean(axis=(1, 2)).reshape(8, -1).mean(axis=1)
    np.testing.assert_allclose(thirds, thirds.mean(), rtol=0.2)


def test_same_seed_same_samples() -> None:
    np.testing.assert_array_equal(draw(10, 0.3, seed=1), draw(10, 0.3, seed=1))
