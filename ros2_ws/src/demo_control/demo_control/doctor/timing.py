"""What the measurements of timers, interruptions and plans mean."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from demo_control.doctor.findings import Check, Finding

_GOOD_MS, _BEARABLE_MS = 0.5, 2.5
"""Of the timer's 99th percentile: a tenth and half of the shortest control period that we ship, 5 ms."""
_RARE_PER_S = 0.02
"""Interruptions of over 1 ms, a second: one in 10 000 periods of 5 ms."""
_GOOD_SHARE = 0.8
_LONGEST_S = 120.0

Measure = Callable[[str, str, float], dict[str, Any]]
"""Runs :mod:`demo_control.doctor.measure`: what, scheduling, seconds."""


def measure(what: str, scheduling: str, seconds: float) -> dict[str, Any]:
    """Measure in a process of its own.

    Raises:
        RuntimeError: It failed; with its last line.
    """
    command = [sys.executable, "-m", "demo_control.doctor.measure", what, scheduling, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _LONGEST_S, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1])
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Timing:
    """Measures on this machine, for some seconds.

    Args:
        seconds: For each of the measurements.
        measuring: Runs one.
    """

    def __init__(self, seconds: float, measuring: Measure = measure) -> None:
        self._seconds = seconds
        self._measure = measuring
        self.figures: dict[str, Any] = {}

    def checks(self) -> list[tuple[str, Check]]:
        """All checks by topic."""
        return [("timer", self.timers), ("interruptions", self.interruptions), ("plans", self.plans)]

    def timers(self) -> Iterator[Finding]:
        """How late threads wake up: ordinary ones, and with SCHED_FIFO where that is permitted."""
        found = {name: self._measure("timer", name, self._seconds) for name in ("ordinary", "fifo")}
        self.figures["timer"] = found
        permitted = not found["fifo"]["refusal"]
        for name, measured in found.items():
            if measured["refusal"]:
                text = f"{name}: not measured, {measured['refusal'].split(':')[0]}"
                yield Finding("timer", "ok", text)
                continue
            lateness = measured["lateness_ms"]
            text = f"{name}: late by {lateness['p50']} / {lateness['p99']} / {lateness['max']} ms (p50, p99, longest)"
            level = "ok" if lateness["p99"] <= _GOOD_MS else "warning" if lateness["p99"] <= _BEARABLE_MS else "problem"
            advice = "end other programs; see kernel, frequency and permissions" if level != "ok" else ""
            # Only what the nodes will have decides.
            if name == "ordinary" and permitted:
                level, advice = "ok", ""
            yield Finding("timer", level, text, advice)

    def interruptions(self) -> Iterator[Finding]:
        """What the machine takes from a thread that runs before all programs."""
        found = self._measure("interruptions", "fifo", self._seconds)
        self.figures["interruptions"] = found
        if found["refusal"]:
            yield Finding("interruptions", "ok", f"not measured, {found['refusal'].split(':')[0]}")
            return
        text = (
            f"{found['over_1_ms_per_s']} a second of over 1 ms, longest {found['longest_ms']} ms, "
            f"{found['share_percent']} % of the time"
        )
        if found["over_1_ms_per_s"] <= _RARE_PER_S:
            yield Finding("interruptions", "ok", text)
        else:
            advice = (
                "no ordinary program does that: the host of a virtual machine, firmware or interrupts; use cores that "
                "are nobody else's"
            )
            yield Finding("interruptions", "warning", text, advice)

    def plans(self) -> Iterator[Finding]:
        """Whether each shipped task's plans keep to their period."""
        found = self._measure("plans", "fifo", self._seconds)
        if found["refusal"]:
            found = self._measure("plans", "ordinary", self._seconds)
        self.figures["plans"] = found["tasks"]
        for name, plan in found["tasks"].items():
            late, period = plan["p99_ms"], plan["period_ms"]
            text = f"{name}: {plan['p50_ms']} / {late} ms (p50, p99) of {period:g} ms"
            if late <= _GOOD_SHARE * period:
                yield Finding("plans", "ok", text)
            else:
                level = "warning" if late <= period else "problem"
                yield Finding(
                    "plans", level, text, f"democtl tune {name} --out FILE, and launch with --parameters FILE"
                )
