"""The study's figures: cost and success against the number of samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from PIL import Image

from demo_control.files import write_atomically
from samples.problems import PROBLEMS
from samples.results import Row
from samples.variants import VARIANTS, Style

_ROW_HEIGHT_INCH = 3.0
_WIDTH_INCH = 10.0
_DOTS_PER_INCH = 110
_COLOURS = 128
_APART_OCTAVES = 0.5
"""Points with the same M stand side by side within this part of the way to the next one, so that all are seen."""


def draw(rows: Sequence[Row], figure: str, path: Path) -> None:
    """Draw one figure: a line of panels per problem, a line in them per way of planning, with 95 % intervals.

    Args:
        rows: The cells.
        figure: Which ways of planning: one of :data:`samples.variants.FIGURES`.
        path: The PNG file.
    """
    shown = [row for row in rows if figure in VARIANTS[row.variant].figures]
    problems = list(dict.fromkeys(row.problem for row in shown))
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        size = _WIDTH_INCH, _ROW_HEIGHT_INCH * len(problems) + 0.9
        drawing = Figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
        canvas = FigureCanvasAgg(drawing)
        panels = drawing.subplots(len(problems), 2, squeeze=False)
        for (left, right), name in zip(panels, problems, strict=True):
            mine = [row for row in shown if row.problem == name]
            _costs(left, mine, PROBLEMS[name].title)
            _successes(right, mine)
        _legend(drawing, panels[:, 0])
        canvas.draw()  # type: ignore[no-untyped-call]
    # A palette: a third of the size of full colour.
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Image.fromarray(pixels).convert("RGB").quantize(_COLOURS)
    write_atomically(path, lambda beside: picture.save(beside, optimize=True))


def _legend(drawing: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, in the order of the variants."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        artists, names = axes.get_legend_handles_labels()
        handles.update(zip(names, artists, strict=True))
    shown = [name for name in VARIANTS if name in handles]
    labels = [name.replace("_", " ") for name in shown]
    drawing.legend([handles[name] for name in shown], labels, loc="outside upper center", ncols=5, frameon=False)


def _costs(axes: Axes, rows: Sequence[Row], title: str) -> None:
    """Mean cost and its interval."""
    for variant, mine, shift in _by_variant(rows):
        _line(axes, variant, mine, shift, [(row.cost_mean, row.cost_low, row.cost_high) for row in mine])
    # The policy alone may be far above everything that is of interest.
    planned = [row.cost_high for row in rows if row.budget]
    if planned:
        lowest = min(row.cost_low for row in rows if row.budget)
        axes.set_ylim(lowest - 0.08 * (max(planned) - lowest), max(planned) * 1.02)
    axes.set_ylabel("cost")
    axes.set_title(title, loc="left", fontweight="bold")
    _sample_axis(axes, rows)


def _successes(axes: Axes, rows: Sequence[Row]) -> None:
    """Success rate and its interval."""
    for variant, mine, shift in _by_variant(rows):
        _line(axes, variant, mine, shift, [(row.success_rate, row.success_low, row.success_high) for row in mine])
    axes.set_ylim(-0.04, 1.04)
    axes.set_ylabel("success rate")
    _sample_axis(axes, rows)


def _by_variant(rows: Sequence[Row]) -> list[tuple[str, list[Row], float]]:
    """Each way of planning, its rows by rising M, and how many octaves its points are moved aside."""
    names = list(dict.fromkeys(row.variant for row in rows))
    middle = (len(names) - 1) / 2.0
    return [
        (
            name,
            sorted((row for row in rows if row.variant == name), key=lambda row: row.budget),
            _APART_OCTAVES * (place - middle) / max(len(names), 1),
        )
        for place, name in enumerate(names)
    ]


def _line(
    axes: Axes, name: str, rows: Sequence[Row], shift: float, figures: Sequence[tuple[float, float, float]]
) -> None:
    """One way of planning: its line and its intervals; level where no plan is made."""
    style: Style = VARIANTS[name].style
    middle, low, high = np.array(figures).T
    if rows[0].budget == 0:
        axes.axhline(middle[0], color=style.colour, linestyle=style.line, linewidth=1.2, label=name)
        return
    places = np.array([row.budget for row in rows]) * 2.0**shift
    axes.vlines(places, low, high, color=style.colour, alpha=0.45, linewidth=1.0)
    axes.plot(
        places, middle, color=style.colour, linestyle=style.line, marker=style.marker, markersize=4.5,
        linewidth=1.4, label=name,
    )  # fmt: skip


def _sample_axis(axes: Axes, rows: Sequence[Row]) -> None:
    """M, by powers of two."""
    budgets = sorted({row.budget for row in rows if row.budget})
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(budgets))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(budget) for budget in budgets])
    axes.set_xlabel("samples per plan, M")
    axes.grid(alpha=0.25, linewidth=0.6)
