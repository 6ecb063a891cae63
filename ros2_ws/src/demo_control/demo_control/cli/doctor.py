"""``democtl doctor``: what this machine will hold, and what to change on it."""

from __future__ import annotations

import platform
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from demo_control.cli.output import check_destinations, error_console, one_line_errors, write_json
from demo_control.doctor import Finding, worst_level
from demo_control.doctor.findings import run_checks
from demo_control.doctor.linux import Linux
from demo_control.doctor.middleware import Middleware
from demo_control.doctor.software import Software
from demo_control.doctor.timing import Timing

_WILL_NOT_HOLD = 1
_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def command(
    json_file: Annotated[
        str, typer.Option("--json", help="Write the findings to FILE, '-' for standard output.", metavar="FILE")
    ] = "",
    seconds: Annotated[
        float, typer.Option(help="For each measurement: two of timers, one of plans.", min=0.2, max=600.0)
    ] = 3.0,
) -> None:
    """Look at kernel, permissions, cores, memory, clocks, DDS and Python, and measure timers and plans here.

    Ends with code 1 when something will not hold.
    """
    with one_line_errors():
        check_destinations(json_file)
    timing = Timing(seconds)
    checks = [*Linux().checks(), *Middleware().checks(), *Software().checks(), *timing.checks()]
    with error_console().status(f"looking and measuring, about {4 * seconds:.0f} s"):
        findings = run_checks(checks)
    verdict = worst_level(findings)
    report = {
        "verdict": verdict,
        "holds": verdict != "problem",
        "machine": platform.platform(),
        "findings": [finding.as_mapping() for finding in findings],
        "figures": timing.figures,
    }
    if json_file != "-":
        Console().print(_table(findings))
    with one_line_errors():
        if json_file:
            write_json(report, json_file)
    raise typer.Exit(0 if report["holds"] else _WILL_NOT_HOLD)


def _table(findings: list[Finding]) -> Table:
    """The findings for people, with what to change."""
    table = Table("", "looked at", Column("found", overflow="fold"), Column("what to change", overflow="fold"))
    for finding in findings:
        style = _STYLES[finding.level]
        level = f"[{style}]{finding.level}[/{style}]"
        table.add_row(level, finding.topic, escape(finding.text), escape(finding.advice))
    return table
