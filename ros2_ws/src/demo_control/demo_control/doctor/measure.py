"""Measures timers, interruptions and plans, in a process of its own whose scheduling can then be changed.

    python -m demo_control.doctor.measure {timer|interruptions|plans} {fifo|ordinary} SECONDS

Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from demo_control.bundle import default_bundle, load_bundle
from demo_control.histogram import Histogram
from demo_control.layer import LayerSettings
from demo_control.real_time import RealTimeSettings, apply
from demo_control.tasks import load_task, task_names
from demo_control.tuning.records import Candidate, TuningGoal
from demo_control.tuning.timing import PlanTimer

_PERIOD_NS = 1_000_000
_FEWEST_PLANS = 20
# So long at a stretch a core is kept busy: Linux stops real-time threads that take more than 950 ms of a second.
_STRETCH_NS, _REST_S = 80_000_000, 0.02
_NOTICED_NS, _LONG_NS = 50_000, 1_000_000


def timer_latency(seconds: float) -> dict[str, Any]:
    """How late a thread wakes up that asks to be woken every millisecond, as cyclictest does.

    Args:
        seconds: To measure.

    Returns:
        Percentiles of the lateness in ms.
    """
    lateness = Histogram(width_s=1e-6, limit_s=0.1)
    due_ns = time.monotonic_ns() + _PERIOD_NS
    end_ns = due_ns + int(seconds * 1e9)
    while due_ns < end_ns:
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        now_ns = time.monotonic_ns()
        lateness.add((now_ns - due_ns) / 1e9)
        # What was missed is not made up for.
        due_ns += _PERIOD_NS * max(1, -(-(now_ns - due_ns) // _PERIOD_NS))
    return {"lateness_ms": lateness.milliseconds()}


def interruptions(seconds: float) -> dict[str, Any]:
    """What is taken from a thread that never waits: by the host of a virtual machine, firmware, interrupts.

    Looks at the clock without pause, on each core in turn, as hwlatdetect does. With SCHED_FIFO no
    ordinary program is to blame.

    Args:
        seconds: To measure, all cores together.

    Returns:
        Share of the time that was taken in percent, the longest interruption in ms, and how many of more than 1 ms
        there were in a second.
    """
    cores = sorted(os.sched_getaffinity(0))
    looked_ns = taken_ns = longest_ns = long_ones = 0
    for core in cores:
        os.sched_setaffinity(0, {core})
        end_ns = time.monotonic_ns() + int(seconds * 1e9 / len(cores))
        while time.monotonic_ns() < end_ns:
            before_ns = began_ns = time.monotonic_ns()
            while before_ns - began_ns < _STRETCH_NS:
                now_ns = time.monotonic_ns()
                gap_ns = now_ns - before_ns
                before_ns = now_ns
                if gap_ns > _NOTICED_NS:
                    taken_ns += gap_ns
                    longest_ns = max(longest_ns, gap_ns)
                    long_ones += gap_ns > _LONG_NS
            looked_ns += before_ns - began_ns
            time.sleep(_REST_S)
    os.sched_setaffinity(0, cores)
    return {
        "share_percent": round(100.0 * taken_ns / looked_ns, 3),
        "longest_ms": round(longest_ns / 1e6, 3),
        "over_1_ms_per_s": round(long_ones / (looked_ns / 1e9), 3),
    }


def plans(seconds: float) -> dict[str, Any]:
    """How long the plans of each task that has a bundle take, with its own settings.

    Args:
        seconds: For all tasks together, roughly.

    Returns:
        By task: period, median and 99th percentile in ms.
    """
    names = [name for name in task_names() if default_bundle(name).is_dir()]
    result = {}
    for name in names:
        task = load_task(name)
        settings = LayerSettings.for_task(task)
        period_ms = 1e3 * settings.plan_period_ticks * task.control_period_s
        count = max(_FEWEST_PLANS, round(1e3 * seconds / len(names) / period_ms))
        timer = PlanTimer(task, load_bundle(default_bundle(name), task), {}, TuningGoal(period_ms=period_ms), _quiet)
        size = Candidate(settings.engine, settings.engine_threads, settings.horizon, settings.num_samples)
        [measured] = timer.measure([size], count)
        result[name] = {
            "period_ms": period_ms,
            "p50_ms": round(1e3 * measured.median_s, 3),
            "p99_ms": round(1e3 * measured.quantile_s, 3),
            "plans": measured.plans,
        }
    return {"tasks": result}


_MEASUREMENTS = {"timer": timer_latency, "interruptions": interruptions, "plans": plans}


def _quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody is told."""


def main() -> None:
    """Measure what the arguments say."""
    what, scheduling, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    outcomes = apply(RealTimeSettings(scheduling="fifo" if scheduling == "fifo" else "inherit", reserve_mb=0))
    refusal = next((outcome.refusal for outcome in outcomes if outcome.refusal and "fifo" in outcome.text), "")
    measured = {} if refusal else _MEASUREMENTS[what](seconds)
    print(json.dumps({"refusal": refusal, **measured}))


if __name__ == "__main__":
    main()
