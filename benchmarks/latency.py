"""How old commands are when they reach Stoch2's driver, at 200 Hz through real nodes over ROS 2.

The age counts from the instant that an observation was due, by the driver's clock, to the arrival of the command that
answers it: waking up, sensing, policy, layer, and all hops between. Each kind of run is made by itself:

    democtl bench latency --minutes 10 --json docs/experiments/latency.json
    democtl bench latency --minutes 0.2 --composed none --beside nothing

A run that is in the file already is not made again, so that an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from bench_support import machine, write_figures
from latency_report import HOGS, PERIOD_MS, QUIET, bars, console_tables, name_of, plot, table
from rich.console import Console

from demo_control.bringup.description import load_recipe
from demo_control.bringup.run import BringUpError, RunInterruptedError, run_bringup
from demo_control.cli.output import (
    EXIT_INTERRUPTED,
    check_destinations,
    error_console,
    fail,
    one_line_errors,
    write_json,
)
from demo_control.doctor.timing import measure
from demo_control.machine import usable_cores
from demo_control.standstill import Standstills, StandstillWatch

BRINGUP = "stoch2_walk"
COMPOSED = ("none", "policy,layer", "all")
SCHEDULING = ("fifo", "ordinary")
BESIDE = (QUIET, HOGS)
_LOOKING_S = 10.0


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many ordinary programs that compute without end."""
    processes = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run(composed: str, scheduling: str, beside: str, seconds: float, told: Any) -> dict[str, Any]:  # noqa: ANN401
    """One run; the figures that count, and what the machine itself takes away: before, meanwhile, after."""
    taken = [measure("interruptions", "fifo", _LOOKING_S)]
    recipe = load_recipe(BRINGUP)
    arguments = recipe.arguments(duration=seconds, composed=composed, real_time=scheduling == "fifo")
    with hogs(usable_cores() if beside == HOGS else 0), StandstillWatch() as watch:
        result = run_bringup(recipe.make(arguments), progress=told, keeps_all=False)
        standstills = watch.take()
    taken.append(measure("interruptions", "fifo", _LOOKING_S))
    figures: Mapping[str, Any] = result.figures
    ticks = figures["ticks"]
    return {
        "composed": composed,
        "scheduling": scheduling,
        "beside": beside,
        "seconds": seconds,
        "age_ms": figures["command_age_at_driver_ms"],
        "tick_lateness_ms": figures["tick_lateness_ms"],
        "ticks": ticks,
        "missed_ticks": figures["missed_ticks"],
        "late_commands": figures["late_commands"],
        "overruns_percent": 100.0 * (figures["missed_ticks"] + figures["late_commands"]) / max(ticks, 1),
        "falls": figures["falls"],
        "processor_cores": dict(result.cores),
        "real_time": dict(result.real_time),
        "load_average": os.getloadavg()[0],
        "interruptions": taken,
        **_told(standstills, figures, seconds),
    }


def _told(found: Standstills | None, figures: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What standstills explain; nothing where they are not known."""
    if found is None:
        return {"standstills": None, "overruns_unexplained_percent": None}
    unexplained = figures["missed_ticks"] + figures["late_commands"] - explained(found, figures["late_from_until"])
    return {
        "standstills": {
            "longest_ms": found.longest_ms,
            "number": found.number,
            "total_ms": found.total_ms,
            "share_percent": 100.0 * found.seconds / seconds,
        },
        "overruns_unexplained_percent": 100.0 * unexplained / max(figures["ticks"], 1),
    }


def explained(found: Standstills, late: Sequence[tuple[float, float, int]]) -> int:
    """How many overruns there would not have been if no core had stood still.

    Args:
        found: While the run was made.
        late: Each overrun's beginning and end by the steady clock, in s, and how many ticks or commands it is.
    """
    period_s = PERIOD_MS / 1e3
    return sum(count for begin_s, end_s, count in late if end_s - begin_s - found.within_s(begin_s, end_s) <= period_s)


def main(
    minutes: Annotated[float, typer.Option(help="Length of each run.", min=0.05)] = 10.0,
    composed: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(COMPOSED)}; all by default.")] = None,
    scheduling: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(SCHEDULING)}.")] = None,
    beside: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(BESIDE)}.")] = None,
    json_file: Annotated[str, typer.Option("--json", help="Keep the report in FILE.", metavar="FILE")] = "",
    figures: Annotated[bool, typer.Option(help="Draw table and plot beside the report.")] = False,
) -> None:
    """Measure the age of commands at the driver, by kind of run."""
    chosen = [
        _checked("--composed", composed, COMPOSED),
        _checked("--scheduling", scheduling, SCHEDULING),
        _checked("--beside", beside, BESIDE),
    ]
    with one_line_errors():
        check_destinations(json_file)
    report = _report(json_file, 60.0 * minutes)
    cases = [(c, s, b) for c in chosen[0] for s in chosen[1] for b in chosen[2]]
    for case in cases:
        name = name_of(*case)
        if name in report["runs"]:
            error_console().print(f"{name}: measured before")
        else:
            report["runs"][name] = _measured(name, case, 60.0 * minutes)
        report["bars"] = bars(report["runs"])
        if json_file:
            write_json(report, json_file)
    for shown in console_tables(report):
        Console().print(shown)
    if json_file and figures:
        write_figures(Path(json_file), table, plot)


def _measured(name: str, case: tuple[str, str, str], seconds: float) -> dict[str, Any]:
    """One run, with its progress told."""
    with error_console().status(name) as status:
        try:
            return run(*case, seconds, lambda passed: status.update(f"{name}: {passed:.0f} of {seconds:.0f} s"))
        except RunInterruptedError:
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BringUpError as error:
            fail(f"{name}: {error}")


def _report(json_file: str, seconds: float) -> dict[str, Any]:
    """The report so far, or a new one.

    A report of runs of another length is left alone.
    """
    fresh = {**machine(["rclpy", "onnxruntime", "mujoco"], os.getloadavg()[0]), "seconds": seconds, "runs": {}}
    if not json_file or not Path(json_file).exists():
        return fresh
    try:
        report = json.loads(Path(json_file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"{json_file}: is no report ({error})")
    if report.get("seconds") != seconds:
        fail(f"{json_file}: has runs of {report.get('seconds')} s, not {seconds:g} s; move it, or give its --minutes")
    return dict(report)


def _checked(option: str, given: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    for name in given or ():
        if name not in known:
            fail(f"{option} {name}: must be one of {', '.join(known)}")
    return tuple(given or known)


if __name__ == "__main__":
    typer.run(main)
