"""Plots of the planner: costs, gains, times, and how far its model is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from demo_control.report.bag_contents import BagContents
from demo_control.report.envelopes import envelope
from demo_control.report.figures import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    MANY_COLOURS,
    Plot,
    add_line,
    histogram,
    make_figure,
    safe,
    single,
)  # fmt: skip
from demo_control.report.realised_costs import RealisedCosts
from demo_control.tasks import Array

_MILLISECONDS = 1e3
_SMALLEST_COST = 1e-3
_GAUSSIAN_COVERAGE = 0.954


def cost_plots(contents: BagContents, realised: RealisedCosts | None, points: int) -> list[Plot]:
    """Predicted and realised costs, in all and by term."""
    plans = contents.plans
    plots = []
    if len(plans):
        figure = make_figure("predicted cost", 260)
        for name, colour, label in (
            ("nominal_cost", AMBER, "following the policy"), ("plan_cost", BLUE, "following the plan"),
        ):  # fmt: skip
            add_line(figure, plans.times_s, _for_logarithm(plans.figures[name]), points, label, colour)
        figure.update_yaxes(type="log")
        plots.append(Plot("What the plans expected", _with_legend(figure), "Over the horizon; logarithmic."))
        figure = make_figure("share followed", 260)
        add_line(figure, plans.times_s, plans.figures["followed_share"], points, "share of the plan followed", GREEN)
        figure.update_yaxes(range=[-0.05, 1.05])
        plots.append(Plot("How far plans were followed", figure, "0: the policy alone; 1: the whole plan."))
    if realised is not None and len(realised.predicted):
        plots += [_predicted_and_realised(realised, points), _scatter(realised)]
    if len(plans) and plans.terms:
        stack = _stacked(plans.times_s, plans.plan_costs, plans.terms, points)
        plots.append(Plot("Predicted cost by term", stack, "Of each plan, over the horizon, weighted."))
    if realised is not None and realised.terms:
        stack = _stacked(realised.times_s, realised.costs, realised.terms, points)
        note = "Of the observed states, weighted; without the prices of corrections. One period."
        plots.append(Plot("Realised cost by term", stack, note))
    return plots


def _for_logarithm(costs: Array) -> Array:
    return np.where(np.isfinite(costs), np.maximum(costs, _SMALLEST_COST), np.nan)


def _with_legend(figure: go.Figure) -> go.Figure:
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0.0})
    return figure


def _predicted_and_realised(realised: RealisedCosts, points: int) -> Plot:
    figure = make_figure("cost over the horizon", 260)
    for values, colour, label in ((realised.realised, GREY, "realised"), (realised.predicted, BLUE, "predicted")):
        add_line(figure, realised.plan_times_s, _for_logarithm(values), points, label, colour)
    figure.update_yaxes(type="log")
    note = "The same terms of the plan and of what then happened, other plans having followed; logarithmic."
    return Plot("Predicted and realised cost", _with_legend(figure), note)


def _scatter(realised: RealisedCosts) -> Plot:
    """Each plan as a point; only so many that they can be told apart."""
    figure = make_figure("realised", 260)
    pairs = np.stack([_for_logarithm(realised.predicted), _for_logarithm(realised.realised)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    chosen = np.linspace(0, max(pairs.shape[1] - 1, 0), min(pairs.shape[1], 1500)).astype(int)
    if pairs.size:
        figure.add_scatter(
            x=single(pairs[0, chosen]), y=single(pairs[1, chosen]), mode="markers", name="plans",
            marker={"color": BLUE, "size": 4, "opacity": 0.5},
            hovertemplate="predicted %{x:.3g}<br>realised %{y:.3g}<extra></extra>",
        )  # fmt: skip
        ends = [float(pairs.min()), float(pairs.max())]
        figure.add_scatter(x=ends, y=ends, mode="lines", name="equal", line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_xaxes(type="log", title={"text": "predicted"})
    figure.update_yaxes(type="log")
    return Plot(
        "Does the prediction tell the cost?", figure, "One point per plan; on the line it was right.", timed=False
    )


def _stacked(times_s: Array, costs: Array, terms: Sequence[str], points: int) -> go.Figure:
    """Terms above each other; at one set of times, those where the sum is extreme."""
    total = costs.sum(axis=1)
    kept_s, _ = envelope(times_s, np.where(np.isfinite(total), total, np.nan), max(points // 2, 100))
    rows = np.unique(np.searchsorted(times_s, kept_s))
    figure = make_figure("cost", 290)
    for place, name in enumerate(terms):
        values = costs[rows, place]
        figure.add_scatter(
            x=single(times_s[rows]), y=single(np.where(np.isfinite(values), values, 0.0)),
            mode="lines", stackgroup="terms", name=safe(name),
            line={"width": 0.5, "color": MANY_COLOURS[place % len(MANY_COLOURS)]},
        )  # fmt: skip
    return _with_legend(figure)


def timing_plots(contents: BagContents, period_s: float | None, points: int) -> list[Plot]:
    """How long plans took, how old plans and commands were, and how regular the commands."""
    plans, plots = contents.plans, []
    limit = {} if period_s is None else {"period": period_s * _MILLISECONDS}
    if len(plans):
        for name, title, note in (
            ("plan_time_s", "Plan time", "Wall time of planning alone."),
            ("plan_age_s", "Age of a plan when it was ready", "From its observation's stamp."),
        ):
            values = plans.figures[name] * _MILLISECONDS
            plots.append(Plot(title, histogram(values, "ms", BLUE, _percentiles(values)), note, timed=False))
    ages = contents.command_ages_s * _MILLISECONDS
    if len(ages):
        figure = histogram(ages, "ms", GREEN, {**_percentiles(ages), **limit})
        plots.append(Plot("Age of a command", figure, "From its observation's stamp to its own.", timed=False))
        periods = np.diff(contents.commands.times_s) * _MILLISECONDS
        figure = histogram(periods, "ms", GREEN, {**_percentiles(periods), **limit})
        plots.append(Plot("From command to command", figure, "What lies far out is in the last bar.", timed=False))
    if len(plans):
        figure = make_figure("ms")
        add_line(figure, plans.times_s, plans.figures["plan_time_s"] * _MILLISECONDS, points, "plan time", BLUE)
        plots.append(Plot("Plan time over the run", figure))
    if len(ages):
        figure = make_figure("ms")
        add_line(figure, contents.commands.times_s, ages, points, "age of the command", GREEN)
        plots.append(Plot("Age of commands over the run", figure))
    return plots


def _percentiles(values: Array) -> dict[str, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {}
    return {"median": float(np.percentile(values, 50.0)), "99 %": float(np.percentile(values, 99.0))}


def model_plots(error: Mapping[str, Any]) -> list[Plot]:
    """How far the model was off, by dimension and by step; from ``model_error`` of an evaluation."""
    dimensions = [entry for entry in error.get("dimensions") or [] if isinstance(entry, dict)]
    if not dimensions:
        return []
    names = [safe(str(entry["name"])) for entry in dimensions]
    steps = error.get("horizon_steps")
    plots = [
        Plot(
            "Error by dimension",
            _bars(names, {"one step": _column(dimensions, "one_step", "relative"),
                          f"{steps} steps": _column(dimensions, "horizon", "relative")}, 1.0),
            "As a share of the error of predicting no change: 1 is worth nothing.", timed=False,
        ),
        Plot(
            "Does the ensemble know its error?",
            _bars(names, {"one step": _column(dimensions, "one_step", "coverage"),
                          f"{steps} steps": _column(dimensions, "horizon", "coverage")}, _GAUSSIAN_COVERAGE),
            "Share of errors within two predicted deviations; dashed: of a Gaussian, 95.4 %.", timed=False,
        ),
    ]  # fmt: skip
    by_step = [np.nan if value is None else float(value) for value in error.get("by_step") or []]
    if by_step:
        figure = make_figure("relative error", 260)
        figure.add_scatter(
            x=list(range(1, len(by_step) + 1)), y=by_step, mode="lines+markers", name="all dimensions",
            line={"color": BLUE}, marker={"size": 5},
        )  # fmt: skip
        figure.add_hline(y=1.0, line={"color": GREY, "dash": "dash", "width": 1})
        figure.update_xaxes(title={"text": f"steps of {float(error.get('step_s') or 0.0) * _MILLISECONDS:g} ms"})
        figure.update_yaxes(rangemode="tozero")
        plots.append(Plot("Error by step", figure, "All dimensions, in their ranges; dashed: no change.", timed=False))
    return plots


def _column(dimensions: Sequence[Mapping[str, Any]], steps: str, figure: str) -> list[float | None]:
    return [(entry.get(steps) or {}).get(figure) for entry in dimensions]


def _bars(names: list[str], columns: Mapping[str, list[float | None]], mark: float) -> go.Figure:
    """Bars side by side, lying, so that long names can be read."""
    figure = make_figure(height=90 + 26 * len(names), barmode="group", bargap=0.25)
    for (label, values), colour in zip(columns.items(), (BLUE, AMBER), strict=False):
        figure.add_bar(y=names, x=values, orientation="h", name=label, marker={"color": colour})
    figure.add_vline(x=mark, line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category")
    return _with_legend(figure)


def limit_plots(closeness: Mapping[str, Any]) -> list[Plot]:
    """How near commands came to their limits; from ``closeness`` of an evaluation."""
    actions = [entry for entry in closeness.get("actions") or [] if isinstance(entry, dict)]
    if not actions:
        return []
    names = [safe(str(entry["name"])) for entry in actions]
    plots = []
    for key, title, note in (
        ("share_of_limit", "How near commands came to their limits", "1 is the limit."),
        ("change_share_of_range", "From one command to the next", "As a share of the whole range."),
    ):
        columns = {label: _column(actions, key, share) for label, share in (("99 %", "p99"), ("largest", "max"))}
        plots.append(Plot(title, _bars(names, columns, 1.0), note, timed=False))
    return plots
