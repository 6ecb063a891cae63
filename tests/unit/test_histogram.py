"""Percentiles of durations that are not kept, against those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.histogram import Histogram


@pytest.mark.parametrize("percent", [0.1, 50.0, 99.0, 99.9, 100.0])
def test_percentiles_are_those_of_the_durations_within_a_bin(percent: float) -> None:
    durations = np.random.default_rng(1).exponential(1e-3, 5000)
    histogram = Histogram(width_s=1e-5, limit_s=0.1)
    for duration in durations:
        histogram.add(float(duration))
    exact = np.percentile(durations, percent, method="inverted_cdf")
    found = histogram.percentile_s(percent)

    assert found is not None
    assert 0.0 <= found - exact <= 1e-5 or found == histogram.longest_s == exact
    assert histogram.count == 5000


def test_what_is_off_the_scale_counts_and_the_longest_is_exact() -> None:
    histogram = Histogram(width_s=1e-3, limit_s=0.01)
    for duration in (-1.0, 0.0005, 0.0049, 7.0):
        histogram.add(duration)

    assert histogram.longest_s == 7.0
    assert histogram.milliseconds() == {"p50": 1.0, "p99": 10.0, "p99.9": 10.0, "max": 7000.0}
    assert histogram.above(0.004) == 2
    assert histogram.above(5.0) == 0


def test_without_durations_there_are_no_percentiles() -> None:
    assert Histogram().percentile_s(50.0) is None
    assert set(Histogram().milliseconds().values()) == {None}
