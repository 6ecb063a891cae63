"""``democtl bag refit``, what people see of it."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from demo_control.cli.bag_judgement import told
from demo_control.cli.output import (
    EXIT_INTERRUPTED,
    GET_PYTORCH,
    check_destinations,
    error_console,
    fail,
    warn,
    write_json,
)
from demo_control.configuration import Scalar, parse_assignments

EXIT_NOT_BETTER = 1
"""Exit code where no bundle was written, as the new model is not better with confidence."""


def refit(
    bags: Annotated[list[Path], typer.Argument(help="Folders or files of recordings of one robot.")],
    bundle: Annotated[Path, typer.Option(help="Bundle whose model is adapted.")],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle.")],
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the training run whose states are rehearsed; simulated anew where there is none."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value of the refit; may be given again.", metavar="NAME=VALUE"),
    ] = None,
    json_file: Annotated[
        str, typer.Option("--json", help="Write the result to FILE, '-' for standard output.", metavar="FILE")
    ] = "",
) -> None:
    """Adapt a bundle's model to the robot that was recorded.

    What is held out of the recordings decides when to stop, and whether the new model is better at all: if it is not,
    with confidence, no bundle is written and the exit code is 1.
    """
    with told():
        check_destinations(json_file)
        report = _run(bags, bundle, out, seed, data, parse_assignments(settings or []))
        if json_file:
            write_json(report, json_file)
    if not report["better"]:
        raise typer.Exit(EXIT_NOT_BETTER)


def _run(
    bags: Sequence[Path], bundle: Path, out: Path, seed: int, data: Path | None, settings: Mapping[str, Scalar]
) -> dict[str, Any]:
    """Refit with progress on standard error; returns the figures.

    Raises:
        BagError, BundleError, ConfigurationError: See :func:`demo_control.learning.refit.refit`.
    """
    if importlib.util.find_spec("torch") is None:
        fail(f"a refit needs PyTorch, which is not installed here: {GET_PYTORCH}")
    from demo_control.learning.progress import ConsoleReporter  # noqa: PLC0415 - needs torch
    from demo_control.learning.refit import RefitRequest, refit  # noqa: PLC0415
    from demo_control.learning.refit_settings import RefitSettings  # noqa: PLC0415

    console = error_console()
    reporter = ConsoleReporter(console)
    chosen = RefitSettings.from_mapping(settings)
    try:
        verdict, report = refit(RefitRequest(tuple(bags), bundle, out, chosen, seed, data), reporter)
    except KeyboardInterrupt:
        reporter.close()
        again = shlex.join(["democtl", *sys.argv[1:]])
        console.print(f"Interrupted, nothing was written. To do it again: {again}", soft_wrap=True, markup=False)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        reporter.close()
    _print(report)
    style = None if verdict.better else "red"
    console.print(_ending(report, out), style=style, soft_wrap=True, markup=False)
    return report


def _print(report: Mapping[str, Any]) -> None:
    before, after = report["before"], report["after"]
    horizon_s = before["horizon_steps"] * before["step_s"]
    table = Table("root mean square error", "one step, before", "after", f"{horizon_s:.2f} s, before", "after")
    for old, new in zip(before["dimensions"], after["dimensions"], strict=True):
        values = [entry[steps]["rms"] for steps in ("one_step", "horizon") for entry in (old, new)]
        table.add_row(f"{old['name']}, {old['unit']}", *("–" if v is None else f"{v:.4g}" for v in values))
    error_console().print(table)
    for recording in report["lineage"]["recordings"]:
        for line in recording["warnings"]:
            warn(f"{recording['name']}: {line}")


def _ending(report: Mapping[str, Any], out: Path) -> str:
    """How it ended, for people."""
    pieces = report["judged_pieces"]
    if report["interval"] is None:
        return (
            f"No bundle: only {pieces} pieces of time could be held out to judge by, too few to tell whether the new "
            "model is better. Record more."
        )
    low, high = report["interval"]
    ratio = (
        f"{report['horizon_error_ratio']:.3f} of what it was (95 % interval {low:.3f} to {high:.3f}, {pieces} pieces)"
    )
    if report["better"]:
        return f"Error at the horizon, held out: {ratio}. Bundle and card: {out}"
    return f"No bundle: the new model is not better on what was held out: error at the horizon {ratio}."
