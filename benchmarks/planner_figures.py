"""A table and a plot of what ``democtl bench planner --json FILE`` wrote, beside that file.

.venv/bin/python benchmarks/planner_figures.py docs/experiments/planner_speed.json
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import typer
from bench_support import write_figures
from planner_report import Report

mpl.use("Agg")

from matplotlib import pyplot

COLOURS = {
    "native": "#00509e",
    "native_plan": "#6fa8dc",
    "onnx": "#38761d",
    "onnx_plan": "#93c47d",
    "numpy": "#b7b7b7",
    "torch_eager": "#f6b26b",
    "pytorch_mppi": "#cc0000",
    "mbrl_evaluation": "#c27ba0",
    "mbrl_cem": "#741b47",
    "mbrl_pets": "#4c1130",
}
TEXTS = {
    "native_plan": "native, whole plan",
    "onnx_plan": "onnx, whole plan",
    "torch_eager": "PyTorch",
    "numpy": "NumPy",
    "mbrl_evaluation": "mbrl-lib, evaluation",
    "mbrl_cem": "mbrl-lib, CEM iteration",
    "mbrl_pets": "mbrl-lib, CEM iteration of PETS",
}


def command(
    file: Annotated[Path, typer.Argument(help="What the benchmark wrote.", exists=True, dir_okay=False)],
) -> None:
    """Write the table and the plot."""
    write_figures(file, table, plot)


def table(report: Report) -> Iterator[str]:
    """Lines of Markdown: one row per contender, one column per case, with milliseconds and multiples of the limit."""
    cases = report["cases"]
    yield "| one thread, ms (× limit) | " + " | ".join(cases) + " |"
    yield "|---" * (len(cases) + 1) + "|"
    yield "| limit | " + " | ".join(f"{case['limit_ms']:.2f}" for case in cases.values()) + " |"
    for engine in _engines(report):
        cells = []
        for case in cases.values():
            figures = case["engines"].get(engine)
            cells.append(f"{figures['median_ms']:.2f} ({figures['times_limit']:.2f})" if figures else "")
        yield f"| {TEXTS.get(engine, engine)} | " + " | ".join(cells) + " |"


def plot(report: Report, path: Path) -> None:
    """Bars of the multiples of the limit, by case."""
    cases, engines = report["cases"], list(_engines(report))
    figure, axes = pyplot.subplots(figsize=(11.0, 4.2), layout="constrained")
    labelled: set[str] = set()
    for place, case in enumerate(cases.values()):
        there = [engine for engine in engines if engine in case["engines"]]
        width = 0.86 / len(there)
        for index, engine in enumerate(there):
            left = place - 0.43 + (index + 0.5) * width
            label = None if engine in labelled else TEXTS.get(engine, engine)
            labelled.add(engine)
            axes.bar(left, case["engines"][engine]["times_limit"], width, color=COLOURS[engine], label=label)
    axes.set_yscale("log")
    ticks = (0.5, 1, 2, 4, 8, 16, 32)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_yticks([], minor=True)
    axes.set_ylim(bottom=0.5)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(cases)), list(cases))
    axes.set_ylabel("processor time / limit of the layers' operations")
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _engines(report: Report) -> list[str]:
    """All contenders, ours first."""
    there = [engine for case in report["cases"].values() for engine in case["engines"]]
    return [engine for engine in COLOURS if engine in there]


if __name__ == "__main__":
    typer.run(command)
