"""What the plots of a page share: Plotly figures whose text and background get their colours on the page.

Texts that come from a recording are escaped: Plotly takes its texts for a kind of HTML.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from demo_control.report.bag_contents import Series
from demo_control.report.envelopes import envelope, with_gaps
from demo_control.tasks import Array

BLUE, AMBER, GREEN, RED, GREY = "#2f7fc1", "#d49a1f", "#3a9a5c", "#d0433a", "#8a8f98"
"""Readable on white and on black; blue, amber and grey are told apart by colour-blind people too."""
MANY_COLOURS = (
    "#2f7fc1", "#d49a1f", "#3a9a5c", "#b0579c", "#6fb7d6", "#c26a2b", "#8fb339", "#7a6bc4", "#d77f8f", "#8a8f98",
    "#4fa79b", "#b59a5b",
)  # fmt: skip

_BINS = 60
_SHOWN_PERCENTILE = 99.8


@dataclass(frozen=True)
class Plot:
    """One plot of the page.

    Attributes:
        title: What it shows.
        figure: Plotly's; its height is in pixels.
        note: How to read it.
        timed: Whether its x axis is the run's time.
    """

    title: str
    figure: go.Figure
    note: str = ""
    timed: bool = True


def words(name: str) -> str:
    """A name of the software as people read it."""
    return name.replace("_", " ")


def safe(text: str) -> str:
    """A text for Plotly, which shows it as it is."""
    return html.escape(words(text))


def single(values: Array) -> npt.NDArray[np.float32]:
    """In half the bytes; what is too large for that is not shown."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def make_figure(y_title: str = "", height: int = 210, **layout: Any) -> go.Figure:  # noqa: ANN401 - of Plotly
    """A figure without data."""
    figure = go.Figure()
    figure.update_layout(height=height, showlegend=False, **layout)
    figure.update_layout(template=None)
    figure.update_yaxes(title={"text": y_title})
    return figure


def add_line(
    figure: go.Figure, times_s: Array, values: Array, points: int, name: str, colour: str,
    **line: Any,  # noqa: ANN401 - of Plotly
) -> None:  # fmt: skip
    """A line, thinned to its extremes where there are more samples than points."""
    if not np.isfinite(values).any():
        return
    x, y = envelope(*with_gaps(times_s, np.where(np.isfinite(values), values, np.nan)), points)
    opacity = line.pop("opacity", 1.0)
    figure.add_scatter(
        x=single(x), y=single(y), mode="lines", name=name, opacity=opacity,
        line={"color": colour, "width": 1.3, **line}, connectgaps=False,
    )  # fmt: skip


def add_entry(
    figure: go.Figure, series: Series, index: int, points: int, name: str, colour: str,
    **line: Any,  # noqa: ANN401 - of Plotly
) -> None:  # fmt: skip
    """One entry of a series, if it has it."""
    if len(series) and index < series.values.shape[1]:
        add_line(figure, series.times_s, series.values[:, index], points, name, colour, **line)


def histogram(values: Array, x_title: str, colour: str, marks: dict[str, float]) -> go.Figure:
    """Counts of values; what lies far out is in the last bar.

    Args:
        values: Shape=(length,).
        x_title: With the unit.
        colour: Of the bars.
        marks: Lines across, by their names.
    """
    figure = make_figure("count", 230, bargap=0.04)
    figure.update_xaxes(title={"text": x_title})
    values = values[np.isfinite(single(values))]
    if not len(values):
        return figure
    lowest = min(float(values.min()), 0.0)
    highest = float(np.percentile(values, _SHOWN_PERCENTILE))
    # Where stamps are of two clocks, ages are so far below zero that a small sum changes nothing.
    highest = max(highest + 0.05 * abs(highest), lowest + 1e-6 * max(abs(lowest), 1.0))
    highest = max([highest, *(mark * 1.05 for mark in marks.values() if mark < 3.0 * highest)])
    counts, edges = np.histogram(np.minimum(values, highest), bins=_BINS, range=(lowest, highest))
    figure.add_bar(
        x=single((edges[1:] + edges[:-1]) / 2.0), y=counts, marker={"color": colour}, name="",
        hovertemplate="%{x:.2f}: %{y}<extra></extra>",
    )  # fmt: skip
    tallest = float(counts.max())
    for place, (name, at) in enumerate(marks.items()):
        if lowest <= at <= highest:
            figure.add_scatter(
                x=[at, at], y=[0.0, tallest * (1.0 - 0.14 * (place % 3))], mode="lines+text", name=name,
                text=["", f" {name}"], textposition="middle left" if at > 0.75 * highest else "middle right",
                line={"color": RED if name == "limit" else GREY, "width": 1.5, "dash": "dash"}, hoverinfo="skip",
            )  # fmt: skip
    figure.update_yaxes(range=[0.0, 1.12 * tallest])
    return figure
