"""Noise of the samples: moments, spectra, held and sized noise, and the pool."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.mpc import PlannerSettings
from demo_control.mpc.noise import NOISES, NoisePool
from demo_control.tasks import Array

HORIZON, ACTION_DIM, SAMPLES = 12, 2, 4000


def settings(**values: object) -> PlannerSettings:
    return PlannerSettings.from_mapping({"horizon": HORIZON, "num_samples": SAMPLES, **values})


def drawn(pool: NoisePool, deviation: Array, chosen: PlannerSettings, generator: np.random.Generator) -> Array:
    """Shape=(HORIZON, chosen.num_samples, ACTION_DIM)."""
    window, scales, sizes, held = pool.window(chosen.num_samples, deviation, chosen, generator)
    noise = window.copy()
    if held is not None:
        noise[:, held] = noise[:1, held]
    return noise * scales[:, None] * (1.0 if sizes is None else sizes)


def draw(deviation: Array | None = None, seed: int = 0, **values: object) -> Array:
    """Shape=(SAMPLES, HORIZON, ACTION_DIM)."""
    chosen = settings(**values)
    deviation = np.ones((HORIZON, ACTION_DIM)) if deviation is None else deviation
    noise = drawn(NoisePool(chosen, np.ones(ACTION_DIM)), deviation, chosen, np.random.default_rng(seed))
    return noise.swapaxes(0, 1)


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("horizon", [1, 2, 7, 12])
def test_every_kind_has_mean_zero_and_variance_one_at_every_step(kind: str, horizon: int) -> None:
    chosen = settings(noise=kind, noise_colour_exponent=2.0, noise_knots=4, horizon=horizon)
    noise = NOISES[kind](np.random.default_rng(0), (20_000, horizon, 2), chosen)
    assert noise.shape == (20_000, horizon, 2)
    assert noise.dtype == np.float32
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose(noise.std(axis=0), 1.0, atol=0.03)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_coloured_noise_has_its_spectrum(exponent: float) -> None:
    chosen = settings(noise_colour_exponent=exponent)
    noise = NOISES["coloured"](np.random.default_rng(0), (20_000, 64, 1), chosen)[:, :, 0]
    power = np.square(np.abs(np.fft.rfft(noise, axis=1))).mean(axis=0)
    slope = np.polyfit(np.log(np.arange(1, 32)), np.log(power[1:32]), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.03)
    assert power[0] == pytest.approx(power[1], rel=0.05)


def test_knots_are_joined_by_straight_lines() -> None:
    noise = NOISES["knots"](np.random.default_rng(0), (100, 13, 1), settings(noise_knots=4))[:, :, 0]
    shares = 1.0 - np.arange(5) / 4.0
    lines = noise[:, :5] * np.sqrt(np.square(shares) + np.square(1.0 - shares))
    np.testing.assert_allclose(np.diff(lines, 2, axis=1), 0.0, atol=1e-5)


def test_white_noise_is_independent_from_step_to_step() -> None:
    noise = draw()
    correlation = np.corrcoef(noise[:, :, 0].T)
    np.testing.assert_allclose(correlation, np.eye(HORIZON), atol=0.06)


def test_deviations_apply_to_their_entries() -> None:
    deviation = np.linspace(0.1, 2.0, HORIZON * ACTION_DIM).reshape(HORIZON, ACTION_DIM)
    np.testing.assert_allclose(draw(deviation).std(axis=0), deviation, rtol=0.06)


def test_units_are_those_of_the_entries() -> None:
    chosen, unit = settings(), np.array([3.0, 0.01])
    noise = drawn(NoisePool(chosen, unit), np.full((HORIZON, 1), 0.5), chosen, np.random.default_rng(0))
    np.testing.assert_allclose(noise.std(axis=(0, 1)), 0.5 * unit, rtol=0.03)


def test_held_noise_is_the_same_at_every_step_and_spread_evenly() -> None:
    held = np.ptp(draw(noise_held_share=0.5), axis=1).max(axis=1) == 0.0
    assert held.sum() == SAMPLES // 2
    np.testing.assert_allclose(held.reshape(4, -1).mean(axis=1), 0.5, atol=0.01)


def test_noise_comes_in_all_sizes() -> None:
    """The scale is log-uniform in [s, 1], so the mean square is (1 − s²) / (2 ln(1 / s))."""
    share = 0.1
    squares = np.square(draw(noise_smallest_share=share)).mean(axis=(1, 2))
    expected = (1.0 - share**2) / (2.0 * np.log(1.0 / share))
    np.testing.assert_allclose(squares.mean(), expected, rtol=0.05)
    np.testing.assert_allclose(squares.reshape(8, -1).mean(axis=1), expected, rtol=0.2)


def test_same_seed_same_noise_and_other_seed_other_noise() -> None:
    np.testing.assert_array_equal(draw(seed=1), draw(seed=1))
    assert not np.array_equal(draw(seed=1), draw(seed=2))
    assert not np.array_equal(draw(noise_pool_seed=1), draw(noise_pool_seed=2))


def test_windows_of_the_pool_are_unbiased() -> None:
    """Over many plans each entry's mean is zero, although the pool is one table: signs are drawn anew."""
    chosen = settings(num_samples=8)
    pool, generator, ones = (
        NoisePool(chosen, np.ones(ACTION_DIM)),
        np.random.default_rng(0),
        np.ones((HORIZON, ACTION_DIM)),
    )
    firsts = np.array([drawn(pool, ones, chosen, generator)[:, 0] for _ in range(4000)])
    np.testing.assert_allclose(firsts.mean(axis=0), 0.0, atol=0.06)
    np.testing.assert_allclose(firsts.std(axis=0), 1.0, atol=0.06)
