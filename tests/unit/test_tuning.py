"""Sizes of plans for a deadline: the search on made-up machines, and the measurement on a small task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import yaml

from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError
from demo_control.layer import LayerSettings
from demo_control.rollout.native.library import installed_kernel
from demo_control.tasks import Task
from demo_control.tuning import (
    Bracket,
    Candidate,
    Measurement,
    PlanTimer,
    Tuned,
    TuningGoal,
    TuningReport,
    possible_arms,
    tune,
    tune_task,
)
from demo_control.tuning.search import possible_threads

OWN = Candidate("native", 1, 35, 128)
ARMS = (("native", 1), ("native", 2), ("onnx", 1), ("onnx", 2))
GOAL = TuningGoal(period_ms=20.0)


def machine(
    native_us: float = 0.1,
    onnx_us: float = 0.4,
    fixed_us: float = 300.0,
    efficiency: float = 0.9,
    late_share: float = 1.1,
    seen: list[tuple[list[Candidate], int]] | None = None,
) -> Callable[[Sequence[Candidate], int], list[Measurement]]:
    """Plans take so long per sample and step, and so long in any case; long ones are shared by the threads."""

    def measure(candidates: Sequence[Candidate], plans: int) -> list[Measurement]:
        if seen is not None:
            seen.append((list(candidates), plans))
        measured = []
        for one in candidates:
            work_us = {"native": native_us, "onnx": onnx_us}[one.engine] * one.num_samples * one.horizon
            if work_us > 2000.0 and one.threads > 1:
                work_us /= 1.0 + efficiency * (one.threads - 1)
            median_s = 1e-6 * (work_us + fixed_us)
            measured.append(Measurement(one, plans, median_s, late_share * median_s, 2.0 * median_s))
        return measured

    return measure


def found(tuned: Tuned) -> Candidate:
    assert tuned.proposal is not None
    assert tuned.proposal.quantile_s <= GOAL.deadline_s
    assert tuned.proposal.plans == GOAL.plans
    return tuned.proposal.candidate


def test_the_most_samples_of_the_faster_engine_are_proposed() -> None:
    one_thread = found(tune(GOAL, OWN, 4, [("native", 1), ("onnx", 1)], machine(efficiency=0.0)))
    # 16 ms / 1.1, less 0.3 ms, at 0.1 µs per sample and step of 35: 4070 samples.
    assert (one_thread.engine, one_thread.horizon) == ("native", 35)
    assert 0.9 * 4070 <= one_thread.num_samples <= 4070
    slow_native = found(tune(GOAL, OWN, 4, ARMS, machine(native_us=0.8, onnx_us=0.4)))
    assert slow_native.engine == "onnx"


@pytest.mark.parametrize("members", [1, 3, 4, 7])
def test_samples_are_a_multiple_of_the_members(members: int) -> None:
    seen: list[tuple[list[Candidate], int]] = []
    tune(GOAL, OWN, members, ARMS, machine(seen=seen, native_us=0.3))
    sizes = {one.num_samples for candidates, _ in seen for one in candidates}
    assert not [size for size in sizes if size % members]


def test_more_threads_must_help() -> None:
    goal = TuningGoal(period_ms=20.0, maximum_samples=65536)
    helping = tune(goal, OWN, 4, ARMS, machine(efficiency=0.9)).proposal
    useless = tune(goal, OWN, 4, ARMS, machine(efficiency=0.05)).proposal
    assert helping is not None
    assert useless is not None
    assert (helping.candidate.threads, useless.candidate.threads) == (2, 1)
    assert helping.candidate.num_samples > 1.5 * useless.candidate.num_samples
    # Where one thread can do all that is allowed, another one has nothing to give.
    assert found(tune(TuningGoal(period_ms=20.0, maximum_samples=256), OWN, 4, ARMS, machine())).threads == 1


def test_the_horizon_is_shortened_only_where_few_samples_take_too_long() -> None:
    few = found(tune(GOAL, OWN, 4, ARMS, machine(native_us=10.0, onnx_us=20.0)))
    assert few.horizon == 35
    assert 60 <= few.num_samples <= 76
    # 32 samples × 35 steps take 28 ms on two threads, and 14 ms are allowed.
    short = found(tune(GOAL, OWN, 4, ARMS, machine(native_us=47.0, onnx_us=100.0)))
    assert short.num_samples == 32
    assert 15 <= short.horizon <= 18


def test_nothing_holds() -> None:
    tuned = tune(GOAL, OWN, 4, ARMS, machine(fixed_us=50_000.0))
    assert tuned.proposal is None
    assert tuned.fastest.candidate.horizon == 5
    assert tuned.fastest.quantile_s > GOAL.deadline_s


def test_a_proposal_that_fails_its_verification_is_made_smaller() -> None:
    seen: list[tuple[list[Candidate], int]] = []
    quick, careful = machine(), machine(late_share=1.6)

    def measure(candidates: Sequence[Candidate], plans: int) -> list[Measurement]:
        seen.append((list(candidates), plans))
        return (careful if plans == GOAL.plans else quick)(candidates, plans)

    proposal = found(tune(GOAL, OWN, 4, [("native", 1)], measure))
    verified = [candidates[0].num_samples for candidates, plans in seen if plans == GOAL.plans]
    assert len(verified) > 1
    assert verified == sorted(verified, reverse=True)
    assert proposal.num_samples == verified[-1]


def test_a_disturbed_measurement_does_not_mislead_for_long() -> None:
    calls = 0
    calm = machine()

    def measure(candidates: Sequence[Candidate], plans: int) -> list[Measurement]:
        nonlocal calls
        calls += 1
        factor = 10.0 if calls == 1 else 1.0  # the first is measured beside something else
        return [
            Measurement(one.candidate, plans, one.median_s, factor * one.quantile_s, one.longest_s)
            for one in calm(candidates, plans)
        ]

    assert found(tune(GOAL, OWN, 4, [("native", 1)], measure)).num_samples > 3000


def test_few_sizes_are_measured() -> None:
    for period_ms in (2.0, 5.0, 20.0, 100.0):
        for native_us in (0.02, 0.1, 1.0, 5.0):
            seen: list[tuple[list[Candidate], int]] = []
            tune(TuningGoal(period_ms=period_ms), OWN, 4, ARMS, machine(native_us=native_us, seen=seen))
            assert len(seen) <= 10


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_times_are_the_search_ends_within_its_limits(seed: int) -> None:
    generator = np.random.default_rng(seed)
    seen: list[tuple[list[Candidate], int]] = []

    def measure(candidates: Sequence[Candidate], plans: int) -> list[Measurement]:
        seen.append((list(candidates), plans))
        return [Measurement(one, plans, *np.sort(generator.uniform(0.001, 0.05, 3))) for one in candidates]

    goal = TuningGoal(period_ms=20.0, minimum_samples=10, maximum_samples=1000, minimum_horizon=3)
    tuned = tune(goal, OWN, 7, ARMS, measure)
    assert tuned.proposal is None or tuned.proposal.quantile_s <= goal.deadline_s
    assert len(seen) < 30
    for candidates, _ in seen:
        for one in candidates:
            assert 14 <= one.num_samples <= 994
            assert 3 <= one.horizon <= 35


def test_a_bracket_needs_a_first_size() -> None:
    with pytest.raises(ValueError, match="first size"):
        Bracket(1, 10, 1, 0.01).following()


def test_threads_that_are_tried() -> None:
    assert [possible_threads(cores) for cores in (1, 2, 3, 6, 8)] == [
        [1], [1, 2], [1, 2, 3], [1, 2, 4, 6], [1, 2, 4, 8],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"period_ms": -3.0}, "period_ms = -3.0: must be between 0.1 and 60000"),
        ({"period_ms": float("nan")}, "period_ms = nan: must be finite"),
        ({"share": 1.5}, "share = 1.5"),
        ({"quantile": 1.0}, "quantile = 1.0"),
        ({"minimum_samples": 100, "maximum_samples": 50}, "maximum_samples = 50: must be at least minimum_samples"),
    ],
)
def test_absurd_goals_are_refused(values: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        TuningGoal(**values)  # type: ignore[arg-type]


def test_the_parameter_file_holds_the_proposal_and_how_it_was_found() -> None:
    tuned = tune(GOAL, OWN, 4, ARMS, machine())
    report = TuningReport("cartpole", GOAL, tuned, {"step_size": 0.5}, "compiled kernel for avx2")
    text = report.parameter_file()
    assert text.startswith("# For cartpole, from 'democtl tune cartpole --period-ms 20'")
    assert "p99" in text
    parameters = yaml.safe_load(text)["demo_layer_node"]["ros__parameters"]
    settings = LayerSettings.from_mapping(parameters)
    candidate = found(tuned)
    assert (settings.num_samples, settings.horizon) == (candidate.num_samples, candidate.horizon)
    assert (settings.engine, settings.engine_threads) == (candidate.engine, candidate.threads)
    assert settings.step_size == 0.5
    nothing = TuningReport("cartpole", GOAL, tune(GOAL, OWN, 4, ARMS, machine(fixed_us=1e5)), {}, "")
    assert nothing.as_mapping()["proposal"] is None
    with pytest.raises(ValueError, match="nothing keeps"):
        nothing.parameter_file()


def test_plans_are_timed_in_turn_and_no_longer_than_needed(linear_task: Task, linear_bundle: Bundle) -> None:
    told: list[tuple[str, int, int]] = []
    candidates = [Candidate("onnx", 1, 5, 6), Candidate("onnx", 1, 8, 9)]
    rests: list[float] = []
    easy_goal = TuningGoal(period_ms=60_000.0)
    easy = PlanTimer(linear_task, linear_bundle, {}, easy_goal, lambda *one: told.append(one), sleep=rests.append)
    measured = easy.measure(candidates, 20)
    assert [one.candidate for one in measured] == candidates
    assert all(0.0 < one.median_s <= one.quantile_s <= one.longest_s for one in measured)
    assert [one.plans for one in measured] == [20, 20]
    assert told[-1] == ("6 × 5 and 9 × 8", 20, 20)
    assert rests == [0.02] * 40
    # None of these can keep to 1 µs, which shows after a few.
    hard_goal = TuningGoal(period_ms=0.1, share=0.01)
    hard = PlanTimer(linear_task, linear_bundle, {}, hard_goal, lambda *_: None, sleep=rests.append)
    assert [one.plans for one in hard.measure(candidates, 20)] == [5, 5]


def test_a_small_task_is_tuned(linear_task: Task, linear_bundle: Bundle) -> None:
    goal = TuningGoal(period_ms=60_000.0, plans=20, maximum_samples=90)
    report = tune_task(linear_task, linear_bundle, goal, {"step_size": 0.5}, threads=1)
    assert report.parameters()["num_samples"] == 90
    assert report.parameters()["horizon"] == 10
    assert report.as_mapping()["holds"] is True


def test_the_arms_are_those_that_are_there(linear_task: Task, linear_bundle: Bundle) -> None:
    onnx, _ = possible_arms(linear_task, linear_bundle, "onnx", 1)
    assert onnx == [("onnx", 1)]
    if installed_kernel() is None:
        assert possible_arms(linear_task, linear_bundle, "auto", 1)[0] == onnx
    else:
        assert possible_arms(linear_task, linear_bundle, "auto", 1)[0] == [("native", 1), ("onnx", 1)]
    with pytest.raises(ConfigurationError, match=r"threads = 4096: must be at most"):
        possible_arms(linear_task, linear_bundle, "auto", 4096)
    with pytest.raises(ConfigurationError, match="engine = 'gpu'"):
        possible_arms(linear_task, linear_bundle, "gpu", 1)
