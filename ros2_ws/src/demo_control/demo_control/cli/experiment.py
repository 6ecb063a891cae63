"""``democtl experiment``: many training runs from one specification, and the report on them."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from demo_control.cli.output import EXIT_INTERRUPTED, error_console, fail, one_line_errors, write_json
from demo_control.configuration import ConfigurationError
from demo_control.experiments.journal import has_tensorboard
from demo_control.experiments.local import run_locally
from demo_control.experiments.progress import RunProgress
from demo_control.experiments.run import Folders, Outcome, Pool, Selection, run_experiment
from demo_control.experiments.spec import read_experiment
from demo_control.experiments.study import load_study, states
from demo_control.machine import usable_cores

EXIT_FAILED = 1
"""Exit code of a session in which a run failed."""
EXIT_UNFINISHED = 3
"""Exit code of a session whose time was over."""

app = typer.Typer(
    help="Run a study of training methods from one specification, and report on it.",
    no_args_is_help=True, add_completion=False,
)  # fmt: skip

_Out = Annotated[Path | None, typer.Option(help="Folder of the study; out/experiments/NAME by default.")]


@app.command("run")
def run(
    specification: Annotated[Path, typer.Argument(help="YAML file; docs/experiments.md describes it.")],
    out: _Out = None,
    results: Annotated[
        Path | None, typer.Option(help="Where results are kept and looked for, with a copy of the file; --out if none.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time; one per core by default.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="method=NAME; may be given again.")] = None,
    environment: Annotated[list[str] | None, typer.Option(help="Only this environment; may be given again.")] = None,
    seeds: Annotated[str, typer.Option(help="Only these seeds, for example 0,1,2 or 0-4.")] = "",
    time_limit: Annotated[
        float | None, typer.Option(min=0.0, help="Minutes after which the session ends; another one goes on.")
    ] = None,
    logs: Annotated[bool, typer.Option(help="Write TensorBoard logs.")] = True,
    ray: Annotated[str, typer.Option(help="Address of a Ray cluster that runs the cells, for example auto.")] = "",
) -> None:
    """Run what a specification asks for and is not there yet.

    Every environment, method and seed is one run. Finished runs are kept; interrupted ones go on where they were when
    the same command is given again. Exit code: 0 all runs are there, 1 some failed, 3 the time was over, 130
    interrupted.
    """
    with one_line_errors():
        experiment = read_experiment(specification)
        cells = Selection(_methods(only or []), environment or [], _numbers(seeds)).of(experiment)
        folder = out or Path("out") / "experiments" / experiment.name
        folders = Folders(folder, results or folder, logs)
        folders.check(experiment.name)
        pool, count = _pool(ray, jobs)
        text = specification.read_text(encoding="utf-8")
        limit_s = None if time_limit is None else 60.0 * time_limit
        outcome = run_experiment(cells, folders, text, pool, count, RunProgress(error_console()), limit_s)
    _end(outcome, folders)


def _methods(only: list[str]) -> list[str]:
    """The names in 'method=NAME'."""
    names = []
    for text in only:
        key, _, name = text.partition("=")
        if key != "method" or not name:
            raise ConfigurationError(f"--only {text}: expected method=NAME")
        names.append(name)
    return names


def _numbers(text: str) -> list[int]:
    """The seeds in '0,1,5-7'."""
    numbers: list[int] = []
    for part in text.split(",") if text else []:
        first, dash, last = part.partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.strip().isdecimal() for end in ends) or int(ends[0]) > int(ends[1]):
            # No seed at all would choose every one.
            raise ConfigurationError(f"--seeds {text}: expected seeds such as 0,1,2 or 0-4")
        numbers += range(int(ends[0]), int(ends[1]) + 1)
    return numbers


def _pool(ray: str, jobs: int | None) -> tuple[Pool, int]:
    """What runs the cells, and how many at a time."""
    if ray:
        if importlib.util.find_spec("ray") is None:
            fail("--ray needs Ray, which is not installed: python -m pip install 'demo-stack[ray]'")
        from demo_control.experiments.ray_cluster import connect  # noqa: PLC0415 - optional

        return connect(ray, jobs)
    count = jobs or usable_cores()
    return (lambda works: run_locally(works, count)), count


def _end(outcome: Outcome, folders: Folders) -> None:
    """Say how the session ended."""
    console = error_console()
    if folders.with_logs and not has_tensorboard():
        console.print("no TensorBoard logs: the Python package 'tensorboardX' is not installed", soft_wrap=True)
    for title, message in outcome.failed.items():
        console.print(f"failed: {title}: {message}", style="red", markup=False, soft_wrap=True)
    if outcome.failed:
        console.print(f"each has a failure.txt in {folders.out / 'runs'}", markup=False, soft_wrap=True)
    parts = [f"{outcome.finished} runs finished", f"{outcome.present} were there"]
    parts += [f"{len(outcome.failed)} failed"] if outcome.failed else []
    parts += [f"{outcome.left} are left"] if outcome.left else []
    console.print(f"{', '.join(parts)}. Results: {folders.results}", markup=False, soft_wrap=True)
    if outcome.left or outcome.failed:
        reason = "Interrupted. " if outcome.interrupted else "The time is over. " if outcome.late else ""
        again = shlex.join(["democtl", *sys.argv[1:]])
        console.print(f"{reason}To go on: {again}", markup=False, soft_wrap=True)
    if outcome.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if outcome.failed:
        raise typer.Exit(EXIT_FAILED)
    if outcome.left:
        raise typer.Exit(EXIT_UNFINISHED)


@app.command("status")
def status(
    folder: Annotated[Path, typer.Argument(help="Folder of the study: what --out was.")],
    json_file: Annotated[str, typer.Option("--json", help="Write it to FILE, '-' for standard output.")] = "",
) -> None:
    """Show how far each run is, also while they run."""
    with one_line_errors():
        experiment, found = states(folder)
        if json_file:
            rows = [
                {"run": state.cell.name, "state": state.state, "step": state.step, "text": state.text}
                for state in found
            ]
            write_json({"name": experiment.name, "runs": rows}, json_file)
    if json_file == "-":
        return
    table = Table("environment", "method", "seed", "state", "step", "return", title=experiment.name)
    for state in found:
        request = state.cell.request
        step = f"{state.step} of {request.steps}" if state.step else ""
        table.add_row(request.environment, state.cell.method, str(request.seed), state.state, step, state.text)
    error_console().print(table)


@app.command("report")
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of studies: what --out or --results was.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to; by default the study's folder, or out/experiments/report of several.")
    ] = None,
    json_file: Annotated[str, typer.Option("--json", help="Write the tables to FILE, '-' for standard output.")] = "",
) -> None:
    """Write a page with tables and figures of the runs that are finished, and all their records as CSV."""
    with one_line_errors():
        studies = [load_study(folder) for folder in folders]
        empty = [str(folder) for folder, study in zip(folders, studies, strict=True) if not study.results]
        if empty:
            raise ConfigurationError(f"{', '.join(empty)}: no run is finished there")
        from demo_control.experiments.report import PAGE, write_report  # noqa: PLC0415 - draws: slow to import

        destination = out or (folders[0] if len(folders) == 1 else Path("out") / "experiments" / "report")
        content = write_report(studies, destination)
        if json_file:
            write_json(content, json_file)
    error_console().print(f"Report: {destination / PAGE}", markup=False, soft_wrap=True)
