"""The same bits: from call to call, for any number of threads, and whatever else is in the call."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from demo_control.rollout import Rollouts, RolloutShape
from demo_control.rollout.native import NativeEngine
from demo_control.rollout.native import engine as engine_module
from demo_control.rollout.native.library import Kernel

from .conftest import arguments, make_task, network_bundle, quadratic

SHAPE = RolloutShape(4, average_members=False, with_policy=True, with_trajectory=True)
COSTS = {"squares": quadratic, "waves": lambda x, u, xp: xp.sin(x["x0"]) + xp.exp(u["u0"])}
ROWS = 150


def parts(rollouts: Rollouts) -> list[np.ndarray]:
    arrays = (rollouts.term_costs, rollouts.controls, rollouts.policy_actions, rollouts.observations)
    return [array for array in (*arrays, rollouts.predictions) if array is not None]


def make_engine(
    kernel: Kernel,
    activation: str = "Silu",
    threads: int = 1,
    variant: str | None = None,
    hidden: Sequence[int] = (37, 21),
) -> NativeEngine:
    task = make_task(5, 2, COSTS)
    bundle = network_bundle(task, hidden, activation, 3)
    return NativeEngine(task, bundle, SHAPE, threads=threads, kernel=kernel, variant=variant)


def given(rows: int = ROWS) -> tuple[np.ndarray, ...]:
    return arguments(make_task(5, 2, COSTS), SHAPE, 3, rows)


def first_rows(given: tuple[np.ndarray, ...], rows: int) -> tuple[np.ndarray, ...]:
    observations, controls, feedback, weights, scale, offset = given
    return observations[:, :rows], controls[:, :, :rows], feedback[:, :, :rows], weights, scale[:rows], offset[:rows]


def assert_first_rows(some: Rollouts, whole: Rollouts, rows: int) -> None:
    for one, other in zip(parts(some), parts(whole), strict=True):
        axis = 1 if one.ndim == 3 else 2
        np.testing.assert_array_equal(one, other.take(range(rows), axis))


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 16])
def test_from_call_to_call_and_for_all_numbers_of_threads(
    kernel: Kernel, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WORK_PER_THREAD_S", 1e-12)
    engine = make_engine(kernel, threads=threads)
    assert engine.threads_for(ROWS) == threads
    expected = parts(make_engine(kernel).roll_out(*given()))
    for _ in range(3):
        for one, other in zip(parts(engine.roll_out(*given())), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Silu", "Sigmoid"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 16, 17, 33, 64, 65])
def test_a_sample_does_not_depend_on_the_others(kernel: Kernel, activation: str, rows: int) -> None:
    """Few samples go another way through a layer than many; the bits are the same."""
    for variant in kernel.variants:
        engine = make_engine(kernel, activation, variant=variant)
        assert_first_rows(engine.roll_out(*first_rows(given(), rows)), engine.roll_out(*given()), rows)


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize(("sizes", "hidden"), [((19, 17), [300, 129]), ((33, 3), [16, 128]), ((1, 1), [1, 15])])
def test_few_samples_and_many_of_networks_of_all_sizes(
    kernel: Kernel, sizes: tuple[int, int], hidden: list[int], average: bool
) -> None:
    """Few samples lie otherwise in memory than many, and their layers add up along other vectors."""
    task = make_task(*sizes, COSTS)
    bundle = network_bundle(task, hidden, "Tanh", 2, with_value=True)
    shape = RolloutShape(3, average_members=average, with_policy=True, with_trajectory=True)
    passed = arguments(task, shape, 2, 40)
    for variant in kernel.variants:
        engine = NativeEngine(task, bundle, shape, kernel=kernel, variant=variant)
        whole = engine.roll_out(*passed)
        for rows in range(1, 13):
            assert_first_rows(engine.roll_out(*first_rows(passed, rows)), whole, rows)


@pytest.mark.parametrize("hidden", [(37, 21), (150, 140)])
@pytest.mark.parametrize("far", [1e5, 1e30, np.inf, np.nan])
def test_a_sample_does_not_depend_on_one_that_is_far_off(kernel: Kernel, far: float, hidden: tuple[int, int]) -> None:
    """Angles too large for our own sine go another way, and numbers that are not finite stay where they are."""
    for variant in kernel.variants:
        engine = make_engine(kernel, variant=variant, hidden=hidden)
        observations, *others = given(20)
        expected = parts(engine.roll_out(observations, *others))
        observations[:, 3] = far
        for one, other in zip(parts(engine.roll_out(observations, *others)), expected, strict=True):
            axis = 1 if one.ndim == 3 else 2
            np.testing.assert_array_equal(np.delete(one, 3, axis), np.delete(other, 3, axis))


def test_one_engine_may_be_called_from_several_threads(kernel: Kernel) -> None:
    engine = make_engine(kernel)
    expected = parts(engine.roll_out(*given()))
    found: list[list[np.ndarray]] = []

    def call() -> None:
        found.extend(parts(engine.roll_out(*given())) for _ in range(5))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    for result in found:
        for one, other in zip(result, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_short_plans_stay_on_one_thread(kernel: Kernel) -> None:
    engine = make_engine(kernel, threads=8)
    assert engine.threads_for(1) == 1
    rows = int(2.5 * engine_module.WORK_PER_THREAD_S / engine._seconds_per_row)
    assert engine.threads_for(rows) == 2
    assert engine.threads_for(1000 * rows) == 8


def test_arrays_need_not_be_copied_to_be_read(kernel: Kernel) -> None:
    """One start for all samples, and sequences that lie sample by sample as a planner draws them; both read-only."""
    engine = make_engine(kernel)
    observations, controls, *others = [array.astype(np.float32) for array in given()]
    start = np.broadcast_to(observations[:1, :1], observations.shape)
    drawn = np.ascontiguousarray(controls.transpose(1, 2, 0, 3)).transpose(2, 0, 1, 3)
    drawn.flags.writeable = False
    found = engine.roll_out(start, drawn, *others)
    for one, other in zip(parts(found), parts(engine.roll_out(start.copy(), controls, *others)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_call_takes_nothing_over_from_those_before(kernel: Kernel) -> None:
    """What follows from the arrays' layouts is kept between calls, for a limited number of them; nothing else is."""
    engine = make_engine(kernel)
    first = engine.roll_out(*given())
    kept = [array.copy() for array in parts(first)]
    for rows in range(1, 40):
        assert_first_rows(engine.roll_out(*first_rows(given(), rows)), first, rows)
    changed = given()
    changed[1][:], changed[3][:] = 0.5 * changed[1], 0.5 * changed[3]  # controls and weights, in their places
    for one, other in zip(parts(engine.roll_out(*changed)), parts(make_engine(kernel).roll_out(*changed)), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(parts(first), kept, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_arrays_of_any_layout(kernel: Kernel, kind: type) -> None:
    engine = make_engine(kernel)
    passed = [array.astype(np.float32) for array in given()]
    expected = parts(engine.roll_out(*passed))
    strided = [np.asfortranarray(array.astype(kind)) for array in passed]
    for one, other in zip(parts(engine.roll_out(*strided)), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_wrong_arrays_are_named(kernel: Kernel) -> None:
    engine = make_engine(kernel)
    observations, controls, feedback, weights, scale, offset = given()
    with pytest.raises(ValueError, match=r"controls: shape \(3, 3, 150, 2\), expected \(4, 3, 150, 2\)"):
        engine.roll_out(observations, controls[1:], feedback, weights, scale, offset)
    with pytest.raises(ValueError, match="feedback: missing"):
        engine.roll_out(observations, controls, None, weights, scale, offset)
    with pytest.raises(ValueError, match=r"change_scale: shape \(149, 5\)"):
        engine.roll_out(observations, controls, feedback, weights, scale[1:], offset)
