"""A table and a plot of what ``democtl bench learning --json FILE`` wrote, beside that file.

.venv/bin/python benchmarks/learning_figures.py docs/experiments/learning_speed.json
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import typer
from bench_support import write_figures
from learning_contenders import OURS, OURS_IN_BFLOAT16
from learning_report import FIGURES, TEXTS, Figure, Report

mpl.use("Agg")

from matplotlib import pyplot

_OURS, _OTHERS = "#00509e", "#b7b7b7"
_OURS_TOO = (OURS, OURS_IN_BFLOAT16, "one_process", "two_processes")


def command(
    file: Annotated[Path, typer.Argument(help="What the benchmark wrote.", exists=True, dir_okay=False)],
) -> None:
    """Write the table and the plot."""
    write_figures(file, table, plot)


def table(report: Report) -> Iterator[str]:
    """Lines of Markdown: one row per contender, then one per bar."""
    yield "| case | who | median |"
    yield "|---|---|---|"
    for figure in FIGURES.values():
        for who, value in report.get(figure.key, {}).items():
            yield f"| {figure.text} | {TEXTS[who]} | {_number(value)} |"
    yield ""
    yield "| bar | × faster | at least | |"
    yield "|---|---|---|---|"
    for bar in report["bars"]:
        yield f"| {bar['figure']} | {bar['value']:.2f} | {bar['bound']:g} | {'holds' if bar['holds'] else 'missed'} |"


def plot(report: Report, path: Path) -> None:
    """Bars of each case, the longer the faster, as multiples of the slowest."""
    measured = [figure for figure in FIGURES.values() if figure.key in report]
    figure, panels = pyplot.subplots(1, len(measured), figsize=(3.9 * len(measured), 3.1), layout="constrained")
    for axes, case in zip([panels] if len(measured) == 1 else panels, measured, strict=True):
        values = report[case.key]
        speeds = {who: _speed(case, value) for who, value in values.items()}
        slowest = min(speeds.values())
        for place, (who, speed) in enumerate(speeds.items()):
            colour = _OURS if who in _OURS_TOO else _OTHERS
            axes.barh(place, speed / slowest, color=colour)
            text = f" {speed / slowest:.2f} ×  ({_number(values[who])})"
            axes.text(speed / slowest, place, text, va="center", fontsize=8)
        axes.set_yticks(range(len(values)), [TEXTS[who] for who in values], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0.0, 1.55 * max(speeds.values()) / slowest)
        axes.set_xticks([])
        axes.set_xlabel("times as fast as the slowest (figure)", fontsize=8)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.set_title(case.text.replace(", ", ",\n", 1), fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _speed(figure: Figure, value: float) -> float:
    return value if figure.rate else 1.0 / value


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


app = typer.Typer(add_completion=False)
app.command()(command)

if __name__ == "__main__":
    app()
