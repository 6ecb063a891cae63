"""``democtl faults``: break everything, one thing at a time, and judge what the robot did."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo_control.cli.output import (
    EXIT_INTERRUPTED,
    check_destinations,
    error_console,
    fail,
    one_line_errors,
    write_json,
)
from demo_control.configuration import ConfigurationError
from demo_control.faults.report import page, summary
from demo_control.faults.table import Case, cases
from demo_control.files import write_text_atomically
from demo_control.tasks import load_task, task_names

_FAILED = 1


def command(
    task: Annotated[list[str] | None, typer.Option(help="Task; may be given again. All, unless named.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A dozen cases per task, of the first task unless named.")
    ] = False,
    only: Annotated[str, typer.Option(help="Only cases whose name contains this.", metavar="TEXT")] = "",
    into: Annotated[Path, typer.Option(help="Folder of the cases' results; what is there is not run again.")] = Path(
        "out/faults"
    ),
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    json_file: Annotated[
        str, typer.Option("--json", help="Write the result to FILE, '-' for standard output.", metavar="FILE")
    ] = "",
    table: Annotated[str, typer.Option(help="Write the table of all cases to FILE, as Markdown.", metavar="FILE")] = "",
    listing: Annotated[bool, typer.Option("--list", help="Only list the cases.")] = False,
) -> None:
    """Try faults in all phases of a run, on real processes over DDS; judge limits, time to safe and recovery.

    Ends with code 1 where something failed. Goes on where it was interrupted.
    """
    with one_line_errors():
        chosen = _chosen(task, quick, only)
        if listing:
            for case in chosen:
                Console().print(f"{case.name}: {case.fault.text}", markup=False, soft_wrap=True)
            return
        check_destinations(json_file, table)
        results = _run(chosen, into, seed)
        report = summary(results)
        _print(report)
        if json_file:
            write_json(report, json_file)
        if table:
            words = " ".join(["democtl", "faults", *sys.argv[2:]])
            kernel = platform.release().partition("-")[0]
            machine = f"{os.cpu_count()} cores, Linux {kernel}, Python {platform.python_version()}."
            write_text_atomically(Path(table), page(results, words, machine))
    raise typer.Exit(_FAILED if report["failures"] else 0)


def _chosen(tasks: list[str] | None, quick: bool, only: str) -> list[Case]:
    """The cases that are wanted.

    Raises:
        ConfigurationError: An unknown task, or no case.
    """
    names = tasks or (task_names()[:1] if quick else task_names())
    for name in names:
        load_task(name)
    chosen = [case for case in cases(names, quick=quick) if only in case.name]
    if not chosen:
        raise ConfigurationError(f"--only {only}: no case has that in its name; see --list")
    return chosen


def _run(chosen: list[Case], into: Path, seed: int) -> list[dict[str, Any]]:
    try:
        from demo_control.bringup.run import BringUpError, RunInterruptedError  # noqa: PLC0415 - they need ROS 2
        from demo_control.faults.campaign import Campaign  # noqa: PLC0415
    except ImportError as error:
        fail(f"faults needs ROS 2 and demo_msgs: Python cannot import '{error.name}'")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=error_console(), transient=True) as progress:
        bar = progress.add_task("faults", total=len(chosen))

        def tell(case: Case, result: dict[str, Any]) -> None:
            progress.update(bar, advance=1, description=case.name)
            if result.get("failures"):
                progress.console.print(f"{case.name}: {'; '.join(result['failures'])}", style="red", markup=False)

        campaign = Campaign(chosen, into, seed, tell)
        progress.update(bar, completed=campaign.finished)
        try:
            return campaign.run()
        except RunInterruptedError:
            error_console().print("democtl: interrupted; call it again to go on", style="yellow")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except (BringUpError, TimeoutError) as error:
            error_console().print(f"democtl: {error}", style="red", soft_wrap=True, markup=False)
            raise typer.Exit(_FAILED) from None


def _print(report: dict[str, Any]) -> None:
    """The result for people."""
    console = error_console()
    for line in report["failures"]:
        console.print(f"[red]failed[/red] {escape(line)}")
    for line in report["skipped"]:
        console.print(f"[yellow]skipped[/yellow] {escape(line)}")
    times = report["time_to_safe_ms"]["by_task"]
    told = ", ".join(f"{task} {row['max']} of {row['limit']:g} ms" for task, row in times.items())
    console.print(
        f"{report['cases']} cases, {report['commands_outside_limits']} commands outside limits, "
        f"{report['unsafe']} unsafe, {len(report['failures'])} failures; longest time to safe: {told}",
        markup=False,
    )
