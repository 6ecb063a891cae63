"""How near the rollout engines come to what the processor can do, on plans of known size.

    .venv/bin/python benchmarks/rollout_speed.py [--cases a1,b1] [--rounds 30] [--threads 1] [--json FILE]

The limit of a plan is the number of floating-point operations in its layers over the measured rate of multiply-adds
between registers; activations and cost terms count nothing. The engines of a case take turns in random order in one
process; times are medians, of the process's own processor time with one thread (other programs do not count then) and
of the wall's clock with more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rollout_cases import NETWORKS, SHIPPED, Case, make_case

from demo_control.rollout import NativeEngine, OnnxEngine, RolloutEngine
from demo_control.rollout.native import load_kernel

MAXIMUM_DIFFERENCE = 1e-5


def engines_of(case: Case, threads: int) -> dict[str, RolloutEngine]:
    """The engines that are compared."""
    return {
        "native": NativeEngine(case.task, case.bundle, case.shape, threads=threads),
        "onnx": OnnxEngine(case.task, case.bundle, case.shape, threads),
    }


def check_same_costs(case: Case, engines: dict[str, RolloutEngine]) -> float:
    """The largest relative difference between the engines' costs.

    Raises:
        SystemExit: It is too large.
    """
    costs = {name: engine.roll_out(*case.arguments).term_costs.sum(axis=-1) for name, engine in engines.items()}
    difference = float(np.max(np.abs(costs["native"] - costs["onnx"]) / np.abs(costs["onnx"])))
    if not difference <= MAXIMUM_DIFFERENCE:
        raise SystemExit(f"the engines' costs differ by {difference:.1e}")
    return difference


def medians_s(
    case: Case, engines: dict[str, RolloutEngine], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Median time of a call of each engine."""
    generator = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name in generator.permutation(list(engines)):
            for _ in range(3):
                started = clock()
                engines[name].roll_out(*case.arguments)
                times[name].append(clock() - started)
    return {name: float(np.median(values)) for name, values in times.items()}


def measure(
    cases: Annotated[str, typer.Option(help="Which plans, separated by commas.")] = ",".join([*NETWORKS, *SHIPPED]),
    rounds: Annotated[int, typer.Option(help="Turns of each engine, of three calls each.")] = 20,
    threads: Annotated[int, typer.Option(help="Threads of each engine at most.")] = 1,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Measure and print."""
    kernel = load_kernel()
    variant = kernel.variants[0]
    clock = time.process_time if threads == 1 else time.perf_counter
    table = Table("plan", "engine", "ms", "times the limit", "difference")
    found: dict[str, Any] = {"threads": threads, "variant": variant, "cases": {}}
    rates = []
    for name in cases.split(","):
        case = make_case(name)
        engines = engines_of(case, threads)
        difference = check_same_costs(case, engines)
        rates.append(max(kernel.multiply_add_rate(variant) for _ in range(3)))
        medians = medians_s(case, engines, rounds, clock)
        rates.append(max(kernel.multiply_add_rate(variant) for _ in range(3)))
        limit = engines["native"].operations * case.rows / (max(rates) * threads)  # type: ignore[attr-defined]
        found["cases"][name] = {
            "limit_ms": 1e3 * limit,
            "engines": {
                engine: {"median_ms": 1e3 * value, "times_limit": value / limit} for engine, value in medians.items()
            },
        }
        for engine, value in medians.items():
            table.add_row(name, engine, f"{1e3 * value:.3f}", f"{value / limit:.2f}", f"{difference:.0e}")
    found["peak_gflops"] = max(rates) / 1e9
    Console().print(table, f"{found['peak_gflops']:.0f} GF/s per thread at most, {variant}")
    if output is not None:
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(measure)
