"""What a campaign adds up to, for machines and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

Result = dict[str, Any]

_NOTABLE_STALL_MS = 20.0


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """The campaign as one JSON object.

    Args:
        results: Of all cases; those that were skipped have ``skipped``, a reason.
    """
    run = [result for result in results if "skipped" not in result]
    times_ms = [result["time_to_safe_ms"] for result in run if result["time_to_safe_ms"] is not None]
    by_task = {
        task: _times([result for result in run if result["task"] == task])
        for task in sorted({result["task"] for result in run})
    }
    return {
        "cases": len(run),
        "commands_outside_limits": sum(result["commands_outside_limits"] for result in run),
        "unsafe": sum(result["unsafe"] for result in run),
        "time_to_safe_ms": {
            "max": max(times_ms, default=None),
            "limit": max((result["limit_ms"] for result in run), default=None),
            "by_task": by_task,
        },
        "latched": sum(bool(result["latched"]) for result in run),
        "skipped": [f"{_name(result)}: {result['skipped']}" for result in results if "skipped" in result],
        "failures": [f"{_name(result)}: {_failures(result)}" for result in run if result["failures"]],
        "results": list(results),
    }


def _times(results: Sequence[Result]) -> dict[str, float | None]:
    times_ms = [result["time_to_safe_ms"] for result in results if result["time_to_safe_ms"] is not None]
    return {"max": max(times_ms, default=None), "limit": max(result["limit_ms"] for result in results)}


def _failures(result: Result) -> str:
    """What failed, and whether the machine itself stood still meanwhile."""
    failures, stall_ms = "; ".join(result["failures"]), result.get("machine_stall_ms") or 0.0
    if failures and stall_ms >= _NOTABLE_STALL_MS:
        return f"{failures} (the machine stood still for {stall_ms:.0f} ms)"
    return failures


def _name(result: Result) -> str:
    return f"{result['task']}, {result['phase']}, {result['fault']}"


def page(results: Sequence[Result], command: str, machine: str) -> str:
    """The table of all cases, in Markdown.

    Args:
        results: Of all cases.
        command: That made them.
        machine: What it ran on, in words.
    """
    total = summary(results)
    loads = sorted(result["load"] for result in results if "load" in result)
    lines = [
        "# Fault campaign",
        "",
        f"    {command}",
        "",
        f"{machine} Load average during the cases: {_range(loads)}.",
        "",
    ]
    lines += [
        f"{total['cases']} cases, {total['commands_outside_limits']} commands outside limits, "
        f"{total['unsafe']} unsafe, {total['latched']} latched, {len(total['failures'])} failures, "
        f"{len(total['skipped'])} skipped. "
        "Longest time to safe: "
        + "; ".join(f"{task} {_ms(row['max'])} of {row['limit']:g} ms" for task, row in _by_task(total))
        + ".",
        "",
    ]
    for task, of_task in groupby(results, lambda result: result["task"]):
        lines += [
            f"## {task}",
            "",
            "| phase | fault | the robot | time to safe, ms | outputs | failures |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(result) for result in of_task]
        lines.append("")
    return "\n".join(lines)


def _by_task(total: dict[str, Any]) -> Sequence[tuple[str, dict[str, Any]]]:
    return list(total["time_to_safe_ms"]["by_task"].items())


def _range(values: Sequence[float]) -> str:
    return f"{values[0]:g} to {values[-1]:g}, median {values[len(values) // 2]:g}" if values else "not noted"


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f}"


def _row(result: Result) -> str:
    head = f"| {result['phase']} | {result['text']} "
    if "skipped" in result:
        return f"{head}| skipped: {result['skipped']} | | | |"
    after = "; recovered" if result["recovered"] else ""
    told = f"{result['did']}{after} | {_ms(result['time_to_safe_ms'])} | {result['outputs']}"
    return f"{head}| {told} | {_failures(result)} |"
