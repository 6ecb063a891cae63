"""Measures timers and plans, in a process of its own whose scheduling can then be changed.

    python -m demo_control.doctor.measure {timer|plans} {fifo|ordinary} SECONDS

Prints one JSON object.
"""

from __future__ import annotations

import json
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


def _quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody is told."""


def main() -> None:
    """Measure what the arguments say."""
    what, scheduling, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    outcomes = apply(RealTimeSettings(scheduling="fifo" if scheduling == "fifo" else "inherit", reserve_mb=0))
    refusal = next((outcome.refusal for outcome in outcomes if outcome.refusal and "fifo" in outcome.text), "")
    measured = {} if refusal else {"timer": timer_latency, "plans": plans}[what](seconds)
    print(json.dumps({"refusal": refusal, **measured}))


if __name__ == "__main__":
    main()
