"""How much a sample is worth: closed-loop cost and success against the number of samples per plan.

    .venv/bin/python benchmarks/sample_efficiency.py                  # everything; about half an hour on two cores
    .venv/bin/python benchmarks/sample_efficiency.py --quick          # a glance, in less than a minute
    .venv/bin/python benchmarks/sample_efficiency.py --problems arm,obstacles --variants white,cem

A cell is one problem, one way of planning and one number of samples; its seeds are planned for as one batch, and its
figures do not depend on the number of processes. Each finished cell is written at once to samples_cells.csv, from which
an interrupted study goes on. The tables (samples_tables.md) and figures (samples_*.png) come from the cells that were
asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from samples.problems import PROBLEMS, chosen
from samples.results import Row
from samples.study import make_cells, run_study
from samples.variants import FIGURES, QUICK_VARIANTS, VARIANTS

from demo_control.cli.output import check_destinations, error_console, one_line_errors, write_json
from demo_control.configuration import ConfigurationError
from demo_control.files import write_text_atomically
from demo_control.learning.progress import ConsoleReporter

SAMPLES = (8, 16, 32, 64, 128, 256)
SEEDS = 24
QUICK_SAMPLES = (16, 64)
QUICK_SEEDS = 4
OUT = Path("out") / "samples"
QUICK_OUT = Path("out") / "samples_quick"


def _numbers(text: str) -> list[int]:
    """Numbers separated by commas, rising.

    Raises:
        ConfigurationError: Something else.
    """
    try:
        numbers = sorted({int(word) for word in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise ConfigurationError(f"samples = '{text}': must be whole numbers of at least 1, separated by commas")
    return numbers


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _write_report(rows: Sequence[Row], folder: Path) -> None:
    """The tables, and the figures for which there is something to draw."""
    from samples.figures import draw  # noqa: PLC0415 - loads matplotlib, which the study's processes do not need
    from samples.report import report  # noqa: PLC0415

    write_text_atomically(folder / "samples_tables.md", report(rows))
    for figure in FIGURES:
        if any(VARIANTS[row.variant].figures == (figure,) for row in rows):
            draw(rows, figure, folder / f"samples_{figure}.png")


def study(
    problems: Annotated[str, typer.Option(help=f"Of {', '.join(PROBLEMS)}; separated by commas, all by default.")] = "",
    variants: Annotated[str, typer.Option(help=f"Of {', '.join(VARIANTS)}; all by default.")] = "",
    samples: Annotated[str, typer.Option(help="Numbers of samples M per plan, separated by commas.")] = "",
    seeds: Annotated[int | None, typer.Option(min=1, help=f"Episodes per cell; {SEEDS} by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of starts, noise and disturbances.")] = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; as many as cores by default.")] = None,
    out: Annotated[Path | None, typer.Option(help=f"Folder of the results; {OUT} by default.")] = None,
    json_file: Annotated[str, typer.Option("--json", help="Write all cells to FILE, '-' for standard output.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Few seeds, samples and ways of planning.")] = False,
) -> None:
    """Run the study, or what is missing of it, and write tables and figures."""
    with one_line_errors():
        check_destinations(json_file)
        names = _names(variants) or (list(QUICK_VARIANTS) if quick else [])
        budgets = _numbers(samples) if samples else list(QUICK_SAMPLES if quick else SAMPLES)
        cells = make_cells(
            chosen(_names(problems), PROBLEMS, "problems"), chosen(names, VARIANTS, "variants"), budgets,
            seeds or (QUICK_SEEDS if quick else SEEDS), seed,
        )  # fmt: skip
        folder = out or (QUICK_OUT if quick else OUT)
        console = error_console()
        reporter = ConsoleReporter(console)
        try:
            rows = run_study(cells, folder / "samples_cells.csv", jobs or len(os.sched_getaffinity(0)), reporter)
        finally:
            reporter.close()
        _write_report(rows, folder)
        if json_file:
            write_json({"seed": seed, "cells": [asdict(row) for row in rows]}, json_file)
        console.print(f"{folder}: samples_cells.csv, samples_tables.md and figures", markup=False)


if __name__ == "__main__":
    typer.run(study)
