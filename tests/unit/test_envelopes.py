"""Long series on a page: fewer points, and every spike still there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.report.envelopes import envelope, with_gaps


@given(st.integers(1, 5000), st.integers(2, 400), st.integers(0, 2**32 - 1))
def test_extremes_of_each_stretch_are_kept_and_nothing_is_made_up(length: int, points: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    times = np.cumsum(generator.uniform(0.0, 1.0, length))
    values = generator.standard_normal(length)

    kept_times, kept = envelope(times, values, points)

    assert len(kept) <= max(points, 2)
    assert set(zip(kept_times, kept, strict=True)) <= set(zip(times, values, strict=True))
    assert (np.diff(kept_times) >= 0.0).all()
    assert kept.max() == values.max()
    assert kept.min() == values.min()
    if length <= points:
        assert len(kept) == length


def test_one_sample_of_a_hundred_thousand_stays_visible() -> None:
    values = np.zeros(100_000)
    values[51_234] = 7.0

    times, kept = envelope(np.arange(100_000.0), values, 200)

    assert times[kept == 7.0] == [51_234.0]


def test_a_hole_stays_a_hole() -> None:
    _, values = with_gaps(np.array([0.0, 0.1, 0.2, 2.0, 2.1]), np.arange(5.0))
    assert np.isnan(values).tolist() == [False, False, False, True, False, False]

    long = np.sin(np.arange(10_000) / 100.0)
    long[4000:5000] = np.nan
    kept_times, kept = envelope(np.arange(10_000.0), long, 100)

    assert ((kept_times[np.isnan(kept)] >= 4000.0) & (kept_times[np.isnan(kept)] < 5000.0)).all()
    assert np.isnan(kept).sum() == 1


@pytest.mark.parametrize("length", [0, 1])
def test_short_series_are_left_alone(length: int) -> None:
    times, values = np.arange(float(length)), np.ones(length)
    assert len(envelope(*with_gaps(times, values), 100)[0]) == length
