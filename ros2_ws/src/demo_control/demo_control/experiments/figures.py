"""The report's figures: returns against steps, steps to thresholds, and whatever else runs tell of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from PIL import Image

from demo_control.experiments.results import EVALUATION, CellResult
from demo_control.experiments.statistics import curve
from demo_control.experiments.study import Study
from demo_control.experiments.summary import RETURN, MethodSummary, ThresholdSummary
from demo_control.files import write_atomically

_WIDTH_INCH = 10.0
_PANEL_HEIGHT_INCH = 3.2
_DOTS_PER_INCH = 110
_COLUMNS = 2
_PALETTE = 128
_LEGEND_COLUMNS = 4
_FLATTENING = 30.0
"""The largest figure over the median one from which on an axis is logarithmic."""

_MOST_CURVES = 7
"""Curves that can be told apart in a panel."""

# Okabe and Ito's colours, which people with any kind of colour vision tell apart; without yellow, too pale for lines.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class _Style:
    colour: str
    line: str
    marker: str


def draw_returns(study: Study, path: Path) -> None:
    """Draw the return of the evaluations against steps, a panel per environment."""
    places = [place for place in study.experiment.environments if any(_runs(study, place.name, EVALUATION, RETURN))]
    wanted = [(place, methods) for place in places for methods in _groups(study)]
    with _drawing(len(wanted), path) as panels:
        for axes, (place, methods) in zip(panels, wanted, strict=True):
            _curves(axes, study, place.name, EVALUATION, RETURN, methods)
            for threshold in place.thresholds:
                axes.axhline(threshold, color="0.35", linewidth=0.8, linestyle=(0, (6, 3)))
            axes.set_title(place.name, loc="left", fontweight="bold")
            axes.set_ylabel("mean return")


def draw_records(study: Study, kind: str, path: Path) -> None:
    """Draw the figures of a kind of record against steps, a panel per environment and figure that ever changes."""
    found: dict[tuple[str, str], set[float]] = {}
    for place in study.experiment.environments:
        for result in study.results:
            for record in result.records_of(kind) if result.cell.request.environment == place.name else ():
                for name, value in record.values.items():
                    found.setdefault((place.name, name), set()).add(value)
    names = [name for name, values in found.items() if len(values) > 1] or list(found)
    with _drawing(len(names), path) as panels:
        for axes, (environment, name) in zip(panels, names, strict=True):
            _curves(axes, study, environment, kind, name)
            _scale(axes)
            axes.set_title(f"{environment}", loc="left", fontweight="bold")
            axes.set_ylabel(name.replace("_", " "))


def other_kinds(study: Study) -> list[str]:
    """Kinds of records beside the evaluations."""
    kinds = dict.fromkeys(record.kind for result in study.results for record in result.records)
    return [kind for kind in kinds if kind != EVALUATION]


def draw_steps(study: Study, summaries: Sequence[MethodSummary], path: Path) -> None:
    """Draw the steps to each threshold: a point per run, hollow where it never got there, and the interval."""
    panels = [
        (environment.name, threshold)
        for environment in study.experiment.environments
        for threshold in environment.thresholds
        if any(summary.environment == environment.name for summary in summaries)
    ]
    styles = _styles(study)
    lines = max(len(study.experiment.methods), 3)
    with _drawing(len(panels), path, height=0.9 + 0.3 * lines, legend=False) as axes_of:
        for axes, (environment, threshold) in zip(axes_of, panels, strict=True):
            mine = [
                (summary.method, row)
                for summary in summaries
                if summary.environment == environment
                for row in summary.thresholds
                if row.threshold == threshold
            ]
            for place, (method, row) in enumerate(mine):
                _strip(axes, place, row, styles[method])
            axes.set_yticks(range(len(mine)), [method for method, _ in mine])
            axes.set_ylim(len(mine) - 0.4, -0.6)
            latest = max(run.steps for _, row in mine for run in row.runs.values())
            axes.set_xlim(0.0, 1.04 * latest)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.set_title(f"{environment}\nsteps to {threshold:g}", loc="left", fontweight="bold")
            axes.set_xlabel("steps (hollow: not reached)")
            axes.grid(alpha=0.25, linewidth=0.6, axis="x")


def _strip(axes: Axes, place: int, row: ThresholdSummary, style: _Style) -> None:
    """The runs of a method, and above them their interquartile mean with its interval."""
    # A little below each other, so that runs with the same number of steps are all seen.
    heights = place + np.linspace(0.02, 0.32, max(len(row.runs), 2))
    for run, height in zip(row.runs.values(), heights, strict=False):
        axes.plot(
            [run.steps], [height], marker=style.marker, markersize=3.5, alpha=0.75,
            markerfacecolor=style.colour if run.reached else "none", markeredgecolor=style.colour,
        )  # fmt: skip
    found = row.steps
    if np.isfinite(found.low):
        axes.hlines(place - 0.18, found.low, found.high, color=style.colour, linewidth=2.0)
    axes.plot([found.value], [place - 0.18], marker="|", markersize=11, markeredgewidth=2.4, color=style.colour)
    if any(found.marks):  # a bound: it may lie further to the right
        axes.plot([found.high if np.isfinite(found.high) else found.value], [place - 0.18], marker=">", markersize=6,
                  color=style.colour)  # fmt: skip


def _groups(study: Study) -> list[list[str]]:
    """Methods that share a panel: all, or the reference with a few others each time."""
    names = [method.name for method in study.experiment.methods]
    if len(names) <= _MOST_CURVES + 1:
        return [names]
    first = [name for name in names if name == study.experiment.reference]
    others = [name for name in names if name not in first]
    each = _MOST_CURVES - len(first)
    return [[*first, *others[start : start + each]] for start in range(0, len(others), each)]


def _curves(
    axes: Axes, study: Study, environment: str, kind: str, name: str, methods: Sequence[str] | None = None
) -> None:
    """A line per method (of those named, or all), with its band."""
    styles = _styles(study)
    for method in study.experiment.methods:
        if methods is not None and method.name not in methods:
            continue
        runs = [run for run in _runs(study, environment, kind, name, method.name) if run[0]]
        if not runs:
            continue
        style = styles[method.name]
        found = curve(runs)
        axes.plot(found.steps, found.value, color=style.colour, linestyle=style.line, linewidth=1.5, label=method.name)
        axes.fill_between(found.steps, found.low, found.high, color=style.colour, alpha=0.16, linewidth=0.0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("environment steps")
    axes.grid(alpha=0.25, linewidth=0.6)


def _scale(axes: Axes) -> None:
    """A logarithmic axis where one method's figures would flatten all others."""
    values = np.abs(np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.zeros(0)]))
    values = values[np.isfinite(values) & (values > 0.0)]
    if len(values) and values.max() > _FLATTENING * np.median(values):
        axes.set_yscale("symlog", linthresh=float(np.median(values)))


def _runs(
    study: Study, environment: str, kind: str, name: str, method: str | None = None
) -> Iterator[tuple[list[int], list[float]]]:
    """Steps and values of each run that has some."""
    for result in study.results:
        if result.cell.request.environment == environment and method in {None, result.cell.method}:
            found = _shown(result, kind, name)
            if found[0]:
                yield found


def _shown(result: CellResult, kind: str, name: str) -> tuple[list[int], list[float]]:
    rows = zip(*result.column(kind, name), strict=True)
    # A return that is no number must leave a gap: to hold the last good one would hide that the run diverged.
    shown = [(step, value) for step, value in rows if kind == EVALUATION or np.isfinite(value)]
    return [step for step, _ in shown], [value for _, value in shown]


def _styles(study: Study) -> dict[str, _Style]:
    """A style for each method: its variants share a colour as long as there are enough methods and lines for it."""
    names = [method.name for method in study.experiment.methods]
    families = list(dict.fromkeys(name.split(" ")[0] for name in names))
    sizes = [sum(name.split(" ")[0] == family for name in names) for family in families]
    shared = len(families) > 1 and len(families) <= len(_COLOURS) and max(sizes) <= len(_LINES)
    styles: dict[str, _Style] = {}
    for place, name in enumerate(names):
        family = families.index(name.split(" ")[0])
        among = [other for other in names if other.split(" ")[0] == families[family]].index(name)
        colour, line = (family, among) if shared else (place % len(_COLOURS), place // len(_COLOURS) % len(_LINES))
        styles[name] = _Style(_COLOURS[colour], _LINES[line], _MARKERS[colour])
    return styles


@contextmanager
def _drawing(count: int, path: Path, height: float = _PANEL_HEIGHT_INCH, legend: bool = True) -> Iterator[list[Axes]]:
    """Panels of one figure, which is written in the end."""
    rows = -(-count // _COLUMNS)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        size = _WIDTH_INCH, height * rows + (0.5 if legend else 0.1)
        drawing = Figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
        canvas = FigureCanvasAgg(drawing)
        panels: list[Axes] = list(drawing.subplots(rows, min(count, _COLUMNS), squeeze=False).flat)
        for axes in panels[count:]:
            axes.set_axis_off()
        yield panels[:count]
        if legend:
            _add_legend(drawing, panels[:count])
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    # A palette: a third of the size of full colour.
    picture = Image.fromarray(pixels).convert("RGB").quantize(_PALETTE)
    write_atomically(path, lambda beside: picture.save(beside, optimize=True))


def _add_legend(drawing: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        artists, names = axes.get_legend_handles_labels()
        handles.update({name: artist for name, artist in zip(names, artists, strict=True) if name not in handles})
    drawing.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=_LEGEND_COLUMNS, frameon=False
    )
