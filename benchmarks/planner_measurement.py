"""The measurement behind ``democtl bench planner``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from batched_model import Contender
from bench_support import DifferentResultsError, Told, machine
from planner_engines import ENGINES, costs_of, engine_contender, plan_contender
from planner_jitter import JITTER_CASES, KINDS, jitter
from planner_peers import PACKAGES, peers_of
from planner_report import judged
from rollout_cases import Case, make_case

from demo_control.machine import usable_cores
from demo_control.rollout import NativeEngine
from demo_control.rollout.native import load_kernel

DEFAULT_CASES = ("a1", "a2", "b1", "b2", "b3", "b4", "ensemble")
TWO_THREADS_CASE = "b2"
CALLS = 3
"""Of a contender in a row before it is the next one's turn."""
MAXIMUM_DIFFERENCE = 1e-5
"""Between the costs of the native engine and those of anyone else, relative; all compute in float32."""
_PEAK_TRIES = 10
_SETTLING_S = 0.003


def measure(names: Sequence[str], rounds: int, plans: int, told: Told) -> dict[str, Any]:
    """Everything.

    Args:
        names: Of cases.
        rounds: Turns of each contender.
        plans: For the jitter; 0 leaves it out.
        told: Progress.

    Returns:
        The report; see docs/rollouts.md.

    Raises:
        ConfigurationError: An unknown case.
        KernelError: There is no native engine here.
        DifferentResultsError: Someone computes something else.
    """
    variant = load_kernel().variants[0]
    load = os.getloadavg()[0]
    cases = {name: make_case(name) for name in names}
    # First, while nothing else is loaded: as in a node.
    variation = None
    if plans:
        done = _Counter("jitter", KINDS * plans * len(JITTER_CASES), told)
        variation = jitter(plans, done.add)
    found, absent = {}, {}
    for name, case in cases.items():
        contenders, missing = _contenders(case)
        absent.update(missing)
        found[name] = _measure_case(case, contenders, rounds, time.process_time, partial(told, name))
    two_threads = None
    if TWO_THREADS_CASE in cases and usable_cores() > 1:
        case = cases[TWO_THREADS_CASE]
        contenders = [engine_contender(case, name, threads=2) for name in ENGINES]
        two_threads = {
            "case": TWO_THREADS_CASE,
            **_measure_case(case, contenders, rounds, time.perf_counter, partial(told, "two threads"), threads=2),
        }
    report: dict[str, Any] = {
        "peak_gflops": max(figures["peak_gflops"] for figures in found.values()),
        "variant": variant,
        "threads": 1,
        "rounds": rounds,
        "calls_per_round": CALLS,
        "maximum_difference": MAXIMUM_DIFFERENCE,
        **machine(PACKAGES, load),
        "real_time_priority": os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR),
        "absent": absent,
        "cases": found,
        "two_threads": two_threads,
        "planner_overhead": {name: _overhead(figures["engines"]) for name, figures in found.items()},
        "jitter": variation,
    }
    return {**report, "bars": judged(report)}


def _contenders(case: Case) -> tuple[list[Contender], dict[str, str]]:
    """Who evaluates a case, and how to get who is absent."""
    peers, absent = ([], {}) if case.dynamics is None else peers_of(case)
    engines = [engine_contender(case, name) for name in ENGINES]
    return [*engines, *(plan_contender(case, name) for name in ENGINES), *peers], absent


def _measure_case(
    case: Case,
    contenders: Sequence[Contender],
    rounds: int,
    clock: Callable[[], float],
    told: Callable[[int, int], None],
    threads: int = 1,
) -> dict[str, Any]:
    """Median times of the contenders, and the limit by the clock rate that the processor had meanwhile."""
    told(0, rounds)
    reference = NativeEngine(case.task, case.bundle, case.shape, 1)
    differences = _differences(case, reference, contenders)
    before = _peak_gflops()
    generator = np.random.default_rng(0)
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(1, rounds + 1):
        for index in generator.permutation(len(contenders)):
            contender = contenders[index]
            _settle(contender)
            for _ in range(CALLS):
                started = clock()
                contender.run()
                times[contender.name].append(clock() - started)
        told(number, rounds)
    peak, gflop = max(before, _peak_gflops()), reference.operations * case.rows / 1e9
    limit_ms = 1e3 * gflop / (threads * peak)
    medians_ms = {name: 1e3 * float(np.median(values)) for name, values in times.items()}
    engines = {
        name: {
            "median_ms": median_ms,
            "p10_ms": 1e3 * float(np.quantile(times[name], 0.1)),
            "times_limit": median_ms / limit_ms,
            "times_native": median_ms / medians_ms["native"],
            "difference": differences[name],
        }
        for name, median_ms in medians_ms.items()
    }
    return {"gflop": gflop, "peak_gflops": peak, "limit_ms": limit_ms, "engines": engines}


def _settle(contender: Contender) -> None:
    """Calls that do not count: who came before may have left a lower clock, as the matrix unit does, and its data."""
    until = time.perf_counter() + _SETTLING_S
    while time.perf_counter() < until:
        contender.run()


def _differences(case: Case, reference: NativeEngine, contenders: Sequence[Contender]) -> dict[str, float]:
    """Largest relative difference between each contender's costs and the native engine's on the same samples.

    Raises:
        DifferentResultsError: One is too large.
    """
    differences = {}
    for contender in contenders:
        samples, costs = contender.evaluate()
        expected = costs_of(case, reference, samples)
        difference = float(np.max(np.abs(costs - expected) / np.abs(expected)))
        if not difference <= MAXIMUM_DIFFERENCE:
            raise DifferentResultsError(
                f"{contender.name}: its costs differ from native's on the same samples by {difference:.1e}, "
                f"more than {MAXIMUM_DIFFERENCE:.0e}"
            )
        differences[contender.name] = difference
    return differences


def _peak_gflops() -> float:
    """Multiply-adds between registers on one thread; the best of several tries, of the thread's own time."""
    kernel = load_kernel()
    return max(kernel.multiply_add_rate(kernel.variants[0]) for _ in range(_PEAK_TRIES)) / 1e9


def _overhead(engines: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Whole plans as a multiple of the bare rollout of their samples, by engine."""
    return {name: engines[f"{name}_plan"]["median_ms"] / engines[name]["median_ms"] for name in ENGINES}


class _Counter:
    """Adds up what was done.

    Args:
        what: Is done.
        total: How much of it there is.
        told: See :data:`Told`.
    """

    def __init__(self, what: str, total: int, told: Told) -> None:
        self._what, self._total, self._told, self._done = what, total, told, 0
        told(what, 0, total)

    def add(self, done: int) -> None:
        """So much more is done."""
        self._done += done
        self._told(self._what, self._done, self._total)
