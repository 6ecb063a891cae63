"""``democtl bundle``: look at a model bundle and validate it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from demo_control.bundle import load_bundle
from demo_control.cli.output import error_console, one_line_errors, write_json
from demo_control.rollout import choose_engine
from demo_control.tasks import load_task, task_names

app = typer.Typer(help="Look at model bundles and validate them.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps 'check' a sub-command although it is the only one."""


@app.command()
def check(
    directory: Annotated[Path, typer.Argument(help="Bundle directory.")],
    json_file: Annotated[str, typer.Option("--json", help="Write the result to FILE, '-' for standard output.")] = "",
) -> None:
    """Validate a bundle: files, hashes, contract, names, dimensions, finite weights, one run of each graph, engine."""
    with one_line_errors():
        bundle = load_bundle(directory)
        contract = bundle.contract
        installed = contract.task in task_names()
        rollouts = ""
        if installed:
            task = load_task(contract.task)
            contract.check_task(task)
            rollouts = str(choose_engine(task.planning_problem, bundle))
        report: dict[str, object] = {
            "ok": True,
            "directory": str(directory),
            "task": contract.task,
            "task_installed": installed,
            "sha256": bundle.sha256,
            "members": contract.members,
            "rollouts": rollouts,
            "files": dict(contract.files),
            "metrics": dict(contract.metrics),
        }
        if json_file:
            write_json(report, json_file)
    if json_file == "-":
        return
    table = Table(show_header=False, title=escape(f"{directory}: a valid bundle"))
    table.add_row("task", escape(contract.task) + ("" if installed else " (not installed here: not compared with it)"))
    table.add_row("observation", ", ".join(escape(f"{q.name} [{q.unit}]") for q in contract.observation))
    table.add_row("action", ", ".join(escape(f"{q.name} [{q.unit}]") for q in contract.action))
    table.add_row("control period", f"{contract.control_period_s:g} s")
    table.add_row("ensemble members", str(contract.members))
    if rollouts:
        table.add_row("rollouts here", escape(rollouts))
    table.add_row("SHA-256", bundle.sha256)
    error_console().print(table)
