"""How near plans come to what the processor can do, and what others take for the same.

    democtl bench planner [--case a1,b1] [--rounds 20] [--json FILE]

The limit of a plan is the number of floating-point operations in its layers over the measured rate of multiply-adds
between registers; activations and cost terms count nothing. All that evaluate a case take turns in random order in one
process, on one thread; a figure is the median of the process's own processor time, so that other programs do not count.
Everyone must compute the same costs on the same samples.
"""

from __future__ import annotations

import os

# Before NumPy is imported: its linear algebra would start threads of its own.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from typing import Annotated

import typer
from bench_support import measured, show
from planner_jitter import JITTER_CASES
from planner_measurement import CALLS, DEFAULT_CASES, measure
from planner_report import tables
from rollout_cases import NETWORKS, SHIPPED

from demo_control.cli.output import fail
from demo_control.rollout.native import KernelError


def command(
    case: Annotated[
        str, typer.Option(help=f"Which plans, separated by commas: {', '.join([*NETWORKS, *SHIPPED])}.")
    ] = ",".join(DEFAULT_CASES),
    rounds: Annotated[int, typer.Option(min=1, help=f"Turns of each contender, of {CALLS} calls each.")] = 20,
    jitter: Annotated[bool, typer.Option(help=f"Time many plans of {' and '.join(JITTER_CASES)} first.")] = True,
    plans: Annotated[int, typer.Option(min=100, help="How many plans that is.")] = 2000,
    json_file: Annotated[str, typer.Option("--json", help="Write the figures to FILE, '-' for standard output.")] = "",
) -> None:
    """Measure our rollout engines, whole plans on them, and other planners, against the processor's limit.

    The figures mean most on an idle machine; elsewhere real-time priority helps (chrt --fifo 1 democtl bench …).
    pytorch_mppi and mbrl-lib take part where they are installed.
    """
    names = [name.strip() for name in case.split(",")]
    try:
        report = measured(lambda told: measure(names, rounds, plans if jitter else 0, told), json_file)
    except KernelError as error:
        fail(f"without the native engine there is nothing to compare with: {error}")
    if json_file != "-":
        show(report, tables(report), disturbed=not report["real_time_priority"])


app = typer.Typer(add_completion=False)
app.command()(command)

if __name__ == "__main__":
    app(prog_name="democtl bench planner")
