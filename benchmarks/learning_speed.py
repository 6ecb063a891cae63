"""What learning costs, beside what others take for the same.

    democtl bench learning [--case sac,ensemble,environments] [--rounds 7] [--json FILE]

All that take part in a case take turns in random order, on one thread; a figure is the median of the process's own
processor time, so that other programs do not count. Where processes are compared it is the wall's.
"""

from __future__ import annotations

import os

# Before NumPy is imported: its linear algebra would start threads of its own.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from learning_contenders import DifferentResultsError
from learning_measurement import CASES, measure
from rich.console import Console
from rich.table import Column, Table

from demo_control.cli.output import EXIT_INTERRUPTED, episode_progress, error_console, fail, one_line_errors, write_json

BUSY = 0.25
"""Load per core above which times mean little."""


def command(
    case: Annotated[str, typer.Option(help=f"Of {', '.join(CASES)}; separated by commas.")] = ",".join(CASES),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 7,
    json_file: Annotated[str, typer.Option("--json", help="Write the figures to FILE, '-' for standard output.")] = "",
) -> None:
    """Measure gradient steps, a model's fit and environment steps, ours and others'.

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
    except ModuleNotFoundError as error:
        fail(f"the Python package '{error.name}' is needed")
    except KeyboardInterrupt:
        error_console().print("democtl: interrupted, nothing was written", style="yellow")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if json_file != "-":
        console = Console()
        for table in tables(report):
            console.print(table)
        load = report["load_average"]["before"]
        if load > BUSY * report["cores"]:
            console.print(f"Other programs were running (load {load:.1f}): times are too long, the wall's most.")
        for name, how in report["absent"].items():
            console.print(f"{name} did not take part; to install it: {how}", markup=False, soft_wrap=True)


def tables(report: dict[str, Any]) -> Iterator[Table]:
    """The report for people."""
    table = Table("figure", "who", Column("median", justify="right"), title="Learning, one thread")
    for figure in CASES.values():
        for name, value in report.get(figure.key, {}).items():
            table.add_row(figure.key, name, f"{value:.4g}")
        table.add_section()
    yield table
    bars = Table("bar", Column("value", justify="right"), Column("bound", justify="right"), "", title="Bars")
    for bar in report["bars"]:
        holds = "[green]holds" if bar["holds"] else "[red]missed"
        bars.add_row(bar["figure"], f"{bar['value']:.2f}", f"≥ {bar['at_least']:g}", holds)
    yield bars


app = typer.Typer(add_completion=False)
app.command()(command)

if __name__ == "__main__":
    app(prog_name="democtl bench learning")
