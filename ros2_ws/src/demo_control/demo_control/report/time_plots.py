"""Plots over the run's time: what was observed, what was commanded, and what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from demo_control.report.bag_contents import BagContents, PlanTable, Series, Span
from demo_control.report.figures import AMBER, BLUE, GREEN, GREY, RED, Plot, add_entry, make_figure, safe, single, words
from demo_control.tasks import Quantity, Task

OBSERVATION_COLOURS = {"observed": BLUE, "true": GREY}
COMMAND_COLOURS = {"nominal": AMBER, "commanded": BLUE, "applied": GREEN}
_CALM = {"no_gain", "plan_rejected", "policy"}
"""Reasons that say that nothing had to be done."""
_STATE_COLOURS = {"walking": GREEN, "damped": RED}
_THINNEST_S = 0.02
_MOST_MARKS, _MOST_BARS, _MOST_NAMES = 150, 2000, 12


def observation_plots(contents: BagContents, task: Task | None, points: int) -> list[Plot]:
    """Each entry: as observed, and as it truly was where a simulator told."""
    plots = []
    shown = contents.observations if len(contents.observations) else contents.truth
    for index, (name, label) in enumerate(_entries(task.observation if task else (), shown, "observation")):
        figure = make_figure(label)
        add_entry(figure, contents.truth, index, points, "true", GREY, width=2.6, opacity=0.8)
        add_entry(figure, contents.observations, index, points, "observed", BLUE)
        plots.append(Plot(name, figure))
    return plots


def command_plots(contents: BagContents, task: Task | None, points: int) -> list[Plot]:
    """Each entry of the action: the policy's, what was commanded, what was carried out."""
    plots = []
    shown = contents.commands if len(contents.commands) else contents.applied
    for index, (name, label) in enumerate(_entries(task.action if task else (), shown, "command")):
        figure = make_figure(label)
        add_entry(figure, contents.applied, index, points, "applied", GREEN, width=3.4, opacity=0.5)
        add_entry(figure, contents.nominal, index, points, "nominal", AMBER)
        add_entry(figure, contents.commands, index, points, "commanded", BLUE)
        plots.append(Plot(name, figure))
    return plots


def _entries(quantities: Sequence[Quantity], series: Series, kind: str) -> list[tuple[str, str]]:
    """Title and axis of each entry; only numbers where the robot is not known."""
    count = series.values.shape[1] if len(series) else 0
    if len(quantities) == count:
        return [(words(q.name), "" if q.unit == "1" else q.unit) for q in quantities]
    return [(f"{kind} {index}", "") for index in range(count)]


def happened(contents: BagContents) -> Plot:
    """States, pushes, commands that passed through, and plans."""
    rows = [
        _plan_marks("plan rejected", contents.plans, accepted=False),
        _plan_marks("plan accepted", contents.plans, accepted=True),
        [("passed through", spans, GREY if name in _CALM else AMBER, name)
         for name, spans in _by_name(contents.uncorrected).items()],
        [("layer", spans, GREEN if name == "activated" else AMBER, name)
         for name, spans in _by_name(contents.changes).items()],
        [("push", spans, RED, name) for name, spans in _by_name(contents.pushes).items()],
        [("robot", spans, _STATE_COLOURS.get(name, "#7a9cc0"), name)
         for name, spans in _by_name(contents.states).items()],
    ]  # fmt: skip
    shown = [row for row in rows if row]
    figure = make_figure(
        height=70 + 30 * max(len(shown), 1), barmode="overlay", uniformtext={"minsize": 10, "mode": "hide"}
    )
    for row, spans, colour, name in (entry for entries in shown for entry in entries):
        starts = np.array([span.start_s for span in spans])
        lengths = np.array([span.end_s - span.start_s for span in spans])
        figure.add_bar(
            base=single(starts), x=single(np.maximum(lengths, _THINNEST_S)), y=[row] * len(spans),
            orientation="h", marker={"color": colour, "line": {"width": 0}}, width=0.64, name=safe(name),
            hovertemplate=f"{row}: {safe(name)}<br>at %{{base:.2f}} s, for %{{customdata:.2f}} s<extra></extra>",
            customdata=single(lengths), insidetextanchor="start", textposition="inside",
            text=[safe(name) if row == "robot" else ""] * len(spans), textangle=0,
        )  # fmt: skip
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=[entries[0][0] for entries in shown])
    return Plot(
        "What happened", figure, "Colours: red push or fault, amber fallback, grey the policy alone was as good."
    )


def marks(contents: BagContents) -> list[dict[str, float | str]]:
    """What is marked in every plot over time: start, end and kind ('push', 'fallback', 'calm', 'change')."""
    calm = [span for span in contents.uncorrected if span.name in _CALM]
    fallbacks = [span for span in contents.uncorrected if span.name not in _CALM]
    changes = [Span(span.start_s, span.start_s, span.name) for span in (*contents.states, *contents.changes)]
    kinds = {"calm": calm, "fallback": fallbacks, "push": contents.pushes, "change": changes}
    return [
        {"from": span.start_s, "to": span.end_s, "kind": kind}
        for kind, spans in kinds.items()
        for span in _joined(spans, _MOST_MARKS)
    ]


def _joined(spans: Sequence[Span], most: int) -> list[Span]:
    """Spans in the order of their starts, with those together that lie close, so that there are not too many to draw.

    Args:
        spans: Of one kind.
        most: That may be left.
    """
    apart_s = 0.0
    while len(spans) > most:
        apart_s = 2.0 * apart_s + 0.01
        joined: list[Span] = []
        for span in sorted(spans, key=lambda span: span.start_s):
            if joined and span.start_s - joined[-1].end_s <= apart_s:
                joined[-1] = Span(joined[-1].start_s, max(span.end_s, joined[-1].end_s), span.name)
            else:
                joined.append(span)
        spans = joined
    return list(spans)


def _plan_marks(row: str, plans: PlanTable, *, accepted: bool) -> list[tuple[str, list[Span], str, str]]:
    """Plans of one kind, by the reason."""
    spans = [
        Span(float(time_s), float(time_s), reason or "accepted")
        for time_s, used, reason in zip(plans.times_s, plans.accepted, plans.reasons, strict=True)
        if bool(used) == accepted
    ]
    colours = {name: BLUE if accepted else GREY if name in _CALM else AMBER for name in {span.name for span in spans}}
    return [(row, chosen, colours[name], name) for name, chosen in _by_name(spans).items()]


def _by_name(spans: Sequence[Span]) -> Mapping[str, list[Span]]:
    """Not too many to draw of each name; of very many names the seldom ones together."""
    frequent = {name for name, _ in Counter(span.name for span in spans).most_common(_MOST_NAMES)}
    groups: dict[str, list[Span]] = {}
    for span in spans:
        groups.setdefault(span.name if span.name in frequent else "others", []).append(span)
    return {name: _joined(group, _MOST_BARS) for name, group in sorted(groups.items())}
