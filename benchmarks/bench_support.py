"""What the benchmarks that compare us with others share: who is there, on what machine, and how it is told."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from demo_control.cli.output import (
    EXIT_INTERRUPTED,
    check_destinations,
    episode_progress,
    error_console,
    one_line_errors,
    write_json,
)
from demo_control.files import write_atomically, write_text_atomically
from demo_control.machine import processor_name, usable_cores

Report = Mapping[str, Any]

Told = Callable[[str, int, int], None]
"""Is told what is measured, how far it has come, and how far it will go."""

BUSY = 0.25
"""Processes at work per core beforehand from which on others are in the way."""

_EXTRA = "pip install -e '.[bench]'"
_HOW_TO_INSTALL = {
    "torch": _EXTRA,
    "pytorch_mppi": _EXTRA,
    "stable_baselines3": _EXTRA,
    # Its pins (an old hydra-core) do not install on current Pythons; the extra has what it really needs.
    "mbrl": f"{_EXTRA} && pip install --no-deps 'mbrl==0.2.*'",
}

_Contender = TypeVar("_Contender")


class DifferentResultsError(RuntimeError):
    """A contender does not compute what the others compute: its time would mean nothing."""


def those_there(
    makers: Mapping[str, Callable[[], Sequence[_Contender]]],
) -> tuple[list[_Contender], dict[str, str]]:
    """The contenders that can be made, and how to get the others.

    Args:
        makers: By the package that they need.
    """
    found: list[_Contender] = []
    absent: dict[str, str] = {}
    for package, make in makers.items():
        try:
            found += make()
        except ImportError as error:
            absent[package] = f"{_HOW_TO_INSTALL[package]} ({error})"
    return found, absent


def machine(packages: Sequence[str], load_before: float) -> dict[str, Any]:
    """Where it was measured, for the report: processor, load, versions of packages (None: absent)."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "load_average": {"before": load_before, "after": os.getloadavg()[0]},
        "versions": found,
    }


def measured(measure: Callable[[Told], Report], json_file: str) -> Report:
    """Measure with a progress bar, and write the report; ends the command where that cannot be."""
    try:
        with one_line_errors():
            check_destinations(json_file)
        with one_line_errors(), episode_progress("", 1) as progress:

            def told(what: str, done: int, total: int) -> None:
                progress.update(progress.task_ids[0], description=what, completed=done, total=total)

            report = measure(told)
        with one_line_errors():
            if json_file:
                write_json(report, json_file)
    except DifferentResultsError as error:
        error_console().print(f"democtl: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        error_console().print("democtl: interrupted, nothing was written", style="yellow")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    return report


def show(report: Report, tables: Iterable[Table], disturbed: bool = True) -> None:
    """Print the tables, and what the reader must know of them.

    Args:
        report: What was measured.
        tables: Of it.
        disturbed: Whether other programs can have been in the way.
    """
    console = Console()
    for table in tables:
        console.print(table)
    load = report["load_average"]["before"]
    if load > BUSY * report["cores"] and disturbed:
        console.print(f"Other programs were running (load {load:.1f}): all times are too long, those of the wall most.")
    for name, how in report["absent"].items():
        console.print(f"{name} did not take part; to install it: {how}", markup=False, soft_wrap=True)


def write_figures(file: Path, table: Callable[[Report], Iterable[str]], plot: Callable[[Report, Path], None]) -> None:
    """A table and a plot of a report, beside its file."""
    report: Report = json.loads(file.read_text(encoding="utf-8"))
    write_text_atomically(file.with_name(f"{file.stem}_table.md"), "\n".join(table(report)) + "\n")
    write_atomically(file.with_suffix(".png"), lambda path: plot(report, path))
