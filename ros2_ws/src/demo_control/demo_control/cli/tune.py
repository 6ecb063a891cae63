"""``democtl tune``: settings that keep to a deadline on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from demo_control.bundle import default_bundle, load_bundle
from demo_control.cli.output import (
    EXIT_INTERRUPTED,
    check_destinations,
    episode_progress,
    error_console,
    one_line_errors,
    write_json,
)
from demo_control.configuration import parse_assignments
from demo_control.files import write_text_atomically
from demo_control.layer import LayerSettings
from demo_control.mpc import PRESETS, preset
from demo_control.rollout import ENGINES
from demo_control.tasks import load_task
from demo_control.tuning import Measurement, TuningGoal, TuningReport, tune_task
from demo_control.tuning.report import told_quantile

_FAILED = 1
_DEFAULTS = TuningGoal()


def command(
    task: Annotated[str, typer.Argument(help="Name of the task, for example cartpole.")],
    period_ms: Annotated[float | None, typer.Option(help="Time between two plans; by default the task's own.")] = None,
    share: Annotated[float, typer.Option(help="Share of the period that a plan may take.")] = _DEFAULTS.share,
    quantile: Annotated[float, typer.Option(help="Share of plans that must keep to that.")] = _DEFAULTS.quantile,
    engine: Annotated[str, typer.Option(help=f"One of {', '.join(ENGINES)}; auto tries both.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="At most that many; 0 for one per core.")] = 0,
    minimum_samples: Annotated[
        int, typer.Option(help="With fewer, a shorter horizon is tried instead.")
    ] = _DEFAULTS.minimum_samples,
    maximum_samples: Annotated[int, typer.Option(help="More are not tried.")] = _DEFAULTS.maximum_samples,
    plans: Annotated[int, typer.Option(help="Plans by which the proposal is verified.")] = _DEFAULTS.plans,
    bundle: Annotated[Path | None, typer.Option(help="Bundle directory; the shipped one by default.")] = None,
    method: Annotated[str, typer.Option("--preset", help=f"Settings of the layer by name: {', '.join(PRESETS)}.")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value of the layer; may be given again.", metavar="NAME=VALUE"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the parameter file there; else to standard output.")] = None,
    json_file: Annotated[str, typer.Option("--json", help="Write the result to FILE, '-' for standard output.")] = "",
) -> None:
    """Propose how many samples, on which engine and how many threads, plan in time on this machine.

    It times whole plans with the task's bundle and settings, and writes a parameter file for `democtl launch …
    --parameters FILE`: as many samples as keep to the deadline at the task's own horizon; a shorter horizon only where
    even few samples take too long. Run it while the machine does what else it will do beside the planner.
    """
    try:
        with one_line_errors():
            check_destinations(out, json_file)
            overrides = {**(preset(method) if method else {}), **parse_assignments(settings or [])}
            loaded = load_task(task)
            own = LayerSettings.for_task(loaded, overrides)
            own_period_ms = 1e3 * own.plan_period_ticks * loaded.control_period_s
            goal = TuningGoal(
                own_period_ms if period_ms is None else period_ms,
                share, quantile, plans, minimum_samples, maximum_samples, min(_DEFAULTS.minimum_horizon, own.horizon),
            )  # fmt: skip
            chosen = load_bundle(bundle or default_bundle(task), loaded)
            with episode_progress(task, 1) as progress:

                def told(what: str, done: int, total: int) -> None:
                    progress.update(progress.task_ids[0], description=f"{task}: {what}", completed=done, total=total)

                report = tune_task(loaded, chosen, goal, overrides, engine, threads, told)
            _print(report, own_period_ms)
            _write(report, out, json_file)
    except KeyboardInterrupt:
        error_console().print("democtl: interrupted, nothing was written", style="yellow")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if report.tuned.proposal is None:
        raise typer.Exit(_FAILED)


def _write(report: TuningReport, out: Path | None, json_file: str) -> None:
    """The parameter file, if there is something to propose, and JSON."""
    if json_file:
        write_json(report.as_mapping(), json_file)
    if report.tuned.proposal is None:
        return
    if out is not None:
        write_text_atomically(out, report.parameter_file())
        error_console().print(f"written to {out}", markup=False, soft_wrap=True)
    elif json_file != "-":
        sys.stdout.write(report.parameter_file())


def _print(report: TuningReport, own_period_ms: float) -> None:
    """What was measured, and what follows."""
    goal, tuned, console = report.goal, report.tuned, error_console()
    late = told_quantile(goal.quantile)
    title = f"{report.task}: whole plans, {late} within {1e3 * goal.deadline_s:.4g} ms"
    right = (
        Column(name, justify="right") for name in ("threads", "samples", "steps", "plans", "p50, ms", f"{late}, ms")
    )
    table = Table("engine", *right, "", title=title)
    for measurement in tuned.measured:
        holds = measurement.quantile_s <= goal.deadline_s
        table.add_row(*_cells(measurement), "[green]holds" if holds else "[red]late")
    console.print(table)
    if tuned.proposal is None:
        fastest = tuned.fastest
        console.print(
            f"democtl: nothing keeps to {1e3 * goal.deadline_s:.4g} ms here; the fastest was {_sentence(fastest)} "
            f"with {late} {1e3 * fastest.quantile_s:.2f} ms",
            style="red", markup=False, soft_wrap=True,
        )  # fmt: skip
        return
    console.print(f"proposed: {_sentence(tuned.proposal)}", soft_wrap=True)
    if 2 * tuned.proposal.quantile_s <= goal.deadline_s:
        console.print("there is time left; more samples than --maximum-samples were not tried", soft_wrap=True)
    if goal.period_ms > 1.001 * own_period_ms:
        console.print(
            f"the task starts a plan every {own_period_ms:g} ms: for a longer period set plan_period_ticks as well",
            style="yellow", soft_wrap=True,
        )  # fmt: skip


def _cells(measurement: Measurement) -> tuple[str, ...]:
    candidate = measurement.candidate
    counts = (candidate.threads, candidate.num_samples, candidate.horizon, measurement.plans)
    times_s = (measurement.median_s, measurement.quantile_s)
    return (candidate.engine, *map(str, counts), *(f"{1e3 * time_s:.2f}" for time_s in times_s))


def _sentence(measurement: Measurement) -> str:
    """'128 samples × 35 steps on native, 1 thread'."""
    found = measurement.candidate
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    return f"{found.num_samples} samples × {found.horizon} steps on {found.engine}, {threads}"
