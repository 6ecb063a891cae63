"""Statistics of training runs, on values whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.experiments.statistics import (
    AT_LEAST,
    AT_MOST,
    KNOWN,
    UNKNOWN,
    Reached,
    curve,
    estimate,
    estimate_ratio,
    estimate_steps,
    interquartile_mean,
    steps_to_threshold,
    stratified_estimate,
)


def test_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0])) == pytest.approx(3.5)
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, 3.0, -9.0])) == pytest.approx(2.0)
    assert interquartile_mean(np.array([1.0, 2.0, 6.0])) == pytest.approx(3.0)  # fewer than four: the mean
    columns = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [90.0, 5.0]])
    np.testing.assert_allclose(interquartile_mean(columns, axis=0), [2.5, 5.0])


def test_a_diverged_run_is_not_trimmed_away() -> None:
    assert np.isnan(interquartile_mean(np.array([1.0, 2.0, 3.0, np.nan])))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("infinity", [math.inf, -math.inf])
def test_an_infinite_return_makes_an_interval_infinite_not_unknown(infinity: float) -> None:
    returns = np.array([1.0, 2.0, 3.0, 4.0, infinity, infinity])
    found = estimate(returns)
    assert infinity in (found.low, found.high)
    assert not math.isnan(found.low)
    assert not math.isnan(found.high)
    pooled = stratified_estimate([returns, returns])
    held = curve([([0, 1], [1.0, infinity]), ([0, 1], [2.0, infinity])])
    assert infinity in (pooled.low, pooled.high)
    assert (held.low[0], held.low[1], held.high[1]) == (1.0, infinity, infinity)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0.1, 10.0), st.floats(-100.0, 100.0))
def test_interquartile_mean_moves_with_its_values(values: list[float], factor: float, shift: float) -> None:
    array = np.array(values)
    middle = interquartile_mean(array)
    assert array.min() - 1e-6 <= middle <= array.max() + 1e-6
    np.testing.assert_allclose(
        interquartile_mean(factor * array + shift), factor * middle + shift, atol=1e-6, rtol=1e-9
    )


@pytest.mark.parametrize("skewed", [False, True])
def test_interval_covers_the_truth_about_as_often_as_it_says(skewed: bool) -> None:
    generator = np.random.default_rng(5)

    def draw(count: int) -> np.ndarray:
        normal = generator.normal(size=count)
        return np.exp(0.5 * normal) if skewed else normal

    truth = float(interquartile_mean(draw(400_000)))
    estimates = [estimate(draw(20)) for _ in range(200)]
    covered = np.mean([found.low <= truth <= found.high for found in estimates])
    # 95 % is what it says; of 20 values a percentile interval keeps a little less, and 200 tries scatter by 3 %.
    assert 0.87 <= covered <= 0.99


def test_one_run_has_no_interval() -> None:
    found = estimate(np.array([3.0]))
    assert found.value == 3.0
    assert np.isnan([found.low, found.high]).all()


def test_strata_are_drawn_from_one_by_one() -> None:
    # Within each environment all runs agree: drawing within environments gives the same sample every time.
    found = stratified_estimate([np.full(4, 0.2), np.full(4, 0.8)])
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_threshold_is_reached_when_the_row_is_seen() -> None:
    steps, returns = [10, 20, 30, 40, 50], [5.0, 9.0, 4.0, 8.0, 9.0]
    assert steps_to_threshold(steps, returns, 8.0) == Reached(20, True)
    assert steps_to_threshold(steps, returns, 8.0, in_a_row=2) == Reached(50, True)
    assert steps_to_threshold(steps, returns, 8.0, in_a_row=3) == Reached(50, False)
    assert steps_to_threshold([10], [float("nan")], 8.0) == Reached(10, False)


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=20), st.integers(1, 4))
def test_harder_thresholds_are_not_reached_earlier(returns: list[float], in_a_row: int) -> None:
    steps = list(range(10, 10 * len(returns) + 1, 10))
    easy = steps_to_threshold(steps, returns, 3.0, in_a_row)
    for hard in (
        steps_to_threshold(steps, returns, 6.0, in_a_row),
        steps_to_threshold(steps, returns, 3.0, in_a_row + 1),
    ):
        assert hard.steps >= easy.steps
        assert easy.reached or not hard.reached


def runs(*steps: int, late: int = 0, budget: int = 1000) -> list[Reached]:
    return [*(Reached(step, True) for step in steps), *([Reached(budget, False)] * late)]


def test_runs_that_never_get_there_bound_the_figure() -> None:
    whole = estimate_steps(runs(100, 200, 300, 400))
    assert (whole.value, whole.marks) == (250.0, (KNOWN, KNOWN, KNOWN))
    # One of eight: the interquartile mean leaves it out, but not in every resample.
    few = estimate_steps(runs(100, 200, 300, 400, 500, 600, 700, late=1))
    assert few.value == pytest.approx(450.0)
    assert few.marks == (KNOWN, KNOWN, AT_LEAST)
    most = estimate_steps(runs(100, late=7))
    assert most.value == 1000.0
    assert most.marks == (AT_LEAST, AT_LEAST, AT_LEAST)


def test_ratio_is_over_pairs() -> None:
    reference = runs(100, 200, 300, 400, 500, 600)
    halved = estimate_ratio(runs(50, 100, 150, 200, 250, 300), reference)
    assert (halved.value, halved.low, halved.high) == pytest.approx((0.5, 0.5, 0.5))
    assert halved.marks == (KNOWN, KNOWN, KNOWN)


def test_ratio_is_bounded_by_whoever_never_gets_there() -> None:
    good, bad = runs(100, 200, 300, 400), runs(late=4)
    assert estimate_ratio(bad, good).marks == (AT_LEAST, AT_LEAST, AT_LEAST)
    assert estimate_ratio(good, bad).marks == (AT_MOST, AT_MOST, AT_MOST)
    assert estimate_ratio(bad, bad).marks == (UNKNOWN, UNKNOWN, UNKNOWN)


def test_interval_of_a_ratio_covers_the_truth() -> None:
    generator = np.random.default_rng(2)

    def draw() -> list[Reached]:
        return [Reached(int(step), True) for step in 10_000.0 * np.exp(0.2 * generator.normal(size=16))]

    found = [estimate_ratio(draw(), draw()) for _ in range(100)]
    assert 0.86 <= np.mean([ratio.low <= 1.0 <= ratio.high for ratio in found]) <= 1.0


def test_curve_holds_values_between_evaluations_and_after_the_end() -> None:
    found = curve([([10, 20, 30], [1.0, 2.0, 3.0]), ([15, 30], [5.0, 7.0]), ([10], [3.0])])
    np.testing.assert_allclose(found.steps, [15.0, 20.0, 30.0])
    np.testing.assert_allclose(found.value, [3.0, (2.0 + 5.0 + 3.0) / 3, (3.0 + 7.0 + 3.0) / 3])
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()


def test_curve_of_one_run_is_that_run() -> None:
    found = curve([([1, 2], [4.0, 5.0])])
    np.testing.assert_allclose([found.value, found.low, found.high], [[4.0, 5.0]] * 3)
