"""How much the time of whole plans varies, alone and beside programs that take all they can get."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from planner_engines import PlanInTurn, plan_in_turn
from rollout_cases import make_case

from demo_control.machine import settle_memory

JITTER_CASES = ("a1", "b1")
BUSY_PROCESSES = 2
REST_S = 0.004
KINDS = 3
"""Of measurements per case."""
_BUSY = """
import os
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # whatever priority this benchmark was started with
from demo_control.processes import end_with_parent
end_with_parent({parent})
print("busy", flush=True)
while True: pass
"""
_WARM_UP = 20
_TOLD_EVERY = 100


def jitter(plans: int, told: Callable[[int], None]) -> dict[str, object]:
    """Times of many plans on one thread, in a process that is set up as our nodes are.

    One directly after the other, first alone, then beside busy processes: the scheduler takes the planner for one of
    them. Then with a rest after each plan, as a node has it, which is preferred to them.

    Args:
        plans: Of each case.
        told: Of plans that were made, now and then.

    Returns:
        Percentiles by case and by what ran beside.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in JITTER_CASES:
        plan = plan_in_turn(make_case(name), "native")
        settle_memory()
        quiet = _figures(plan, plans, told)
        with busy_processes(BUSY_PROCESSES):
            busy = _figures(plan, plans, told)
            resting = _figures(plan, plans, told, REST_S)
        found[name] = {"quiet": quiet, "busy": busy, "busy_resting": resting}
    return {
        "plans": plans,
        "engine": "native",
        "busy_processes": BUSY_PROCESSES,
        "rest_ms": 1e3 * REST_S,
        "cases": found,
    }


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """That many processes compute without end meanwhile; they end with this one, however it ends."""
    command = [sys.executable, "-c", _BUSY.format(parent=os.getpid())]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            # In a session of their own: Ctrl-C is for this process, which ends them.
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True))
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()


def percentiles(times_s: list[float]) -> dict[str, float]:
    """In milliseconds; a percentile is a time that was measured."""
    figures = {"p50_ms": 0.5, "p99_ms": 0.99, "p99_9_ms": 0.999, "max_ms": 1.0}
    ordered = 1e3 * np.sort(times_s)
    found = {name: float(np.quantile(ordered, share, method="inverted_cdf")) for name, share in figures.items()}
    return {**found, "p99_over_p50": found["p99_ms"] / found["p50_ms"]}


def _figures(plan: PlanInTurn, plans: int, told: Callable[[int], None], rest_s: float = 0.0) -> dict[str, Any]:
    """Percentiles of the wall's clock, and of the thread's processor time: what no other program has a share in."""
    for _ in range(_WARM_UP):
        plan()
    wall, processor = [], []
    for number in range(1, plans + 1):
        started, started_thread = time.perf_counter(), time.thread_time()
        plan()
        processor.append(time.thread_time() - started_thread)
        wall.append(time.perf_counter() - started)
        if rest_s:
            time.sleep(rest_s)
        if number % _TOLD_EVERY == 0 or number == plans:
            told((number - 1) % _TOLD_EVERY + 1)
    return {**percentiles(wall), "processor": percentiles(processor)}
