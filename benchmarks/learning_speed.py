"""How fast learning is: gradient steps, fits of the model and environment steps, and what others take for the same.

    democtl bench learning [--case sac,ensemble,environments] [--rounds 20] [--json FILE]

All that do the same work take turns in random order in one process, on one thread; a figure is the median of the
process's own processor time, so that other programs count little. Only what several processes do is of the wall. Ours
must compute what the others compute, where others can be made to start from the same numbers.
"""

from __future__ import annotations

import os

# Before NumPy is imported: its linear algebra would start threads of its own.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from typing import Annotated

import typer
from learning_contenders import DifferentResultsError
from learning_measurement import CASES, measure
from learning_report import tables
from rich.console import Console

from demo_control.cli.output import EXIT_INTERRUPTED, episode_progress, error_console, one_line_errors, write_json

BUSY = 0.25
"""Processes at work per core beforehand from which on others are in the way."""


def command(
    case: Annotated[str, typer.Option(help="What to measure, separated by commas.")] = ",".join(CASES),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 20,
    json_file: Annotated[str, typer.Option("--json", help="Write the figures to FILE, '-' for standard output.")] = "",
) -> None:
    """Measure how fast we learn: SAC updates, epochs of the ensemble, environment steps of random search.

    stable-baselines3 and mbrl-lib take part where they are installed.
    """
    try:
        with one_line_errors(), episode_progress("", 1) as progress:

            def told(what: str, done: int, total: int) -> None:
                progress.update(progress.task_ids[0], description=what, completed=done, total=total)

            report = measure([name.strip() for name in case.split(",")], rounds, told)
        with one_line_errors():
            if json_file:
                write_json(report, json_file)
    except DifferentResultsError as error:
        error_console().print(f"democtl: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        error_console().print("democtl: interrupted, nothing was written", style="yellow")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if json_file != "-":
        console = Console()
        for table in tables(report):
            console.print(table)
        load = report["load_average"]["before"]
        if load > BUSY * report["cores"]:
            console.print(
                f"Other programs were running (load {load:.1f}): all times are too long, those of the wall most."
            )
        for name, how in report["absent"].items():
            console.print(f"{name} did not take part; to install it: {how}", markup=False, soft_wrap=True)


app = typer.Typer(add_completion=False)
app.command()(command)

if __name__ == "__main__":
    app(prog_name="democtl bench learning")
