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
from bench_support import measured, show
from learning_measurement import CASES, measure
from learning_report import tables


def command(
    case: Annotated[str, typer.Option(help="What to measure, separated by commas.")] = ",".join(CASES),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 20,
    json_file: Annotated[str, typer.Option("--json", help="Write the figures to FILE, '-' for standard output.")] = "",
) -> None:
    """Measure how fast we learn: SAC updates, epochs of the ensemble, environment steps of random search.

    stable-baselines3 and mbrl-lib take part where they are installed.
    """
    names = [name.strip() for name in case.split(",")]
    report = measured(lambda told: measure(names, rounds, told), json_file)
    if json_file != "-":
        show(report, tables(report))


app = typer.Typer(add_completion=False)
app.command()(command)

if __name__ == "__main__":
    app(prog_name="democtl bench learning")
