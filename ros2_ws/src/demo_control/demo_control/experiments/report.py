"""The report on studies: a Markdown page with tables and figures, all records as CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from demo_control.experiments.figures import draw_records, draw_returns, draw_steps, other_kinds
from demo_control.experiments.spec import Environment
from demo_control.experiments.statistics import UNKNOWN, Estimate
from demo_control.experiments.study import Study
from demo_control.experiments.summary import MethodSummary, as_mapping, average_scores, estimate_as_mapping, summarise
from demo_control.files import write_text_atomically
from demo_control.learning.storage import save_csv

PAGE = "report.md"
RECORDS = "records.csv"


def write_report(studies: Sequence[Study], folder: Path) -> dict[str, object]:
    """Write page, figures and CSV.

    Args:
        studies: In the order in which they appear; of equal names the second one gets '-2', and so on.
        folder: Where to.

    Returns:
        The tables' figures, for JSON.
    """
    parts, content = [], []
    studies = _told_apart(studies)
    for study in studies:
        prefix = f"{study.experiment.name}_" if len(studies) > 1 else ""
        summaries = summarise(study)
        figures = list(_figures(study, summaries, folder, prefix))
        parts.append(page(study, summaries, figures))
        scores = {name: estimate_as_mapping(score) for name, score in average_scores(study).items()}
        content.append(
            {
                "name": study.experiment.name,
                "finished": len(study.results),
                "cells": study.num_cells,
                "methods": [as_mapping(summary) for summary in summaries],
                "average_scores": scores,
            }
        )
    write_text_atomically(folder / PAGE, "\n".join(parts))
    _save_records(studies, folder / RECORDS)
    return {"studies": content}


def _told_apart(studies: Sequence[Study]) -> list[Study]:
    """The same studies, no two of one name: figures have the name in theirs, and so do the rows of the CSV.

    One specification may have been run in two folders: before and after a change of the code, say.
    """
    found: dict[str, Study] = {}
    for study in studies:
        name, number = study.experiment.name, 2
        while name in found:
            name, number = f"{study.experiment.name}-{number}", number + 1
        found[name] = replace(study, experiment=replace(study.experiment, name=name))
    return list(found.values())


def page(study: Study, summaries: Sequence[MethodSummary], figures: Sequence[tuple[str, str]]) -> str:
    """A study as Markdown.

    Args:
        study: With its results.
        summaries: Of its methods.
        figures: (title, file) of each figure.
    """
    experiment = study.experiment
    parts = [f"# {experiment.name}\n"]
    parts += [f"{experiment.text}\n"] if experiment.text else []
    parts.append(_basis(study, summaries))
    texts = [[f"`{method.name}`", method.text] for method in experiment.methods]
    parts.append(_markdown([["method", ""], ["---"] * 2, *texts]))
    for environment in experiment.environments:
        mine = [summary for summary in summaries if summary.environment == environment.name]
        if mine:
            parts += [f"## {environment.name}\n", _table(environment, mine, experiment.reference)]
    scores = average_scores(study)
    if scores:
        scales = ", ".join(
            f"{place.name} {place.scale[0]:g} to {place.scale[1]:g}" for place in experiment.environments if place.scale
        )
        rows = [[f"`{name}`", _text(score, _digits)] for name, score in scores.items()]
        parts += [f"## All environments\n\nFinal returns as shares of a scale ({scales}), over all runs:\n",
                  _markdown([["method", "score"], ["---"] * 2, *rows])]  # fmt: skip
    parts += [f"![{title}]({file})\n" for title, file in figures]
    return "\n".join(parts)


def _basis(study: Study, summaries: Sequence[MethodSummary]) -> str:
    """What the figures are, and what they are of."""
    experiment = study.experiment
    row = experiment.in_a_row
    seen = "the first evaluation" if row == 1 else f"the last of the first {row} evaluations in a row"
    sentences = [
        f"{len(study.results)} of {study.num_cells} runs are finished.",
        "Figures are interquartile means over the seeds, with 95 % bootstrap intervals (Agarwal et al. 2021); "
        "intervals of few seeds are too narrow.",
        f"A threshold is reached at the step of {seen} with a mean return of at least that.",
        "Runs that never reach it count with the steps they had; a figure that depends on them is a bound (≥, ≤).",
        "The final return is that of the last evaluation.",
    ]
    if experiment.reference:
        sentences.append(f"Ratios are steps relative to those of `{experiment.reference}`, over the same seeds.")
    stopped = sum(summary.stopped for summary in summaries)
    if stopped:
        sentences.append(
            f"{stopped} runs stopped early, being good enough; in the curves they keep their last value from there on."
        )
    processors = dict.fromkeys(name for summary in summaries for name in summary.processors)
    if processors:
        sentences.append(f"Times are per run on {', '.join(processors)}, beside others.")
    if study.strangers:
        sentences.append(f"{study.strangers} results in the folder are of other settings and are left out.")
    return "\n".join(sentences) + "\n"


def _table(environment: Environment, summaries: Sequence[MethodSummary], reference: str) -> str:
    """One line per method."""
    heads = ["method", "seeds", "final return"]
    for threshold in environment.thresholds:
        heads += [f"steps to {threshold:g}", "reached"] + (["ratio"] if reference else [])
    lines = [[*heads, "time of a run, s"], ["---"] * (len(heads) + 1)]
    for summary in summaries:
        line = [f"`{summary.method}`", str(summary.seeds), _text(summary.final_return, _digits)]
        for row in summary.thresholds:
            line += [_text(row.steps, _thousands), f"{row.reached} of {summary.seeds}"]
            if reference:
                line.append("1" if summary.method == reference else _ratio(row.ratio))
        lines.append([*line, _text(summary.wall_s, _thousands)])
    return _markdown(lines)


def _ratio(found: Estimate | None) -> str:
    """A ratio; bold where 1 is outside its interval."""
    if found is None:
        return ""
    text = _text(found, lambda value: f"{value:.2f}")
    # A bound from below tells that it is above 1, one from above that it is below.
    certain = (found.low > 1.0 and found.marks[1] in {"", "≥ "}) or (found.high < 1.0 and found.marks[2] in {"", "≤ "})
    return f"**{text}**" if certain else text


def _text(found: Estimate, number: Callable[[float], str]) -> str:
    """'1.2 (1.1 to 1.4)', with the marks of bounds."""
    words = ["?" if mark == UNKNOWN else f"{mark}{number(value)}"
             for value, mark in zip((found.value, found.low, found.high), found.marks, strict=True)]  # fmt: skip
    if math.isnan(found.low) or set(words) == {"?"}:
        return words[0]
    return f"{words[0]} ({words[1]} to {words[2]})"


def _digits(value: float) -> str:
    """Three digits, all of them of large numbers."""
    return f"{value:.0f}" if abs(value) >= 100.0 else f"{value:.3g}"  # noqa: PLR2004


def _thousands(value: float) -> str:
    """12 345."""
    return f"{value:,.0f}".replace(",", "\u202f") if math.isfinite(value) else str(value)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    """A specification's texts may have several lines, and bars."""
    return text.replace("\n", " ").replace("|", "\\|")


def _figures(study: Study, summaries: Sequence[MethodSummary], folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
    """Draw what there is to draw; (title, file) of each figure."""
    if summaries:
        draw_returns(study, folder / f"{prefix}returns.png")
        yield "Return against steps", f"{prefix}returns.png"
    if any(summary.thresholds for summary in summaries):
        draw_steps(study, summaries, folder / f"{prefix}steps.png")
        yield "Steps to the thresholds", f"{prefix}steps.png"
    for kind in other_kinds(study):
        draw_records(study, kind, folder / f"{prefix}{kind}.png")
        yield f"Figures of kind '{kind}' against steps", f"{prefix}{kind}.png"


def _save_records(studies: Sequence[Study], path: Path) -> None:
    """All records, one per line."""
    names = list(
        dict.fromkeys(
            name for study in studies for result in study.results for record in result.records for name in record.values
        )
    )
    rows = [
        (
            *(study.experiment.name, result.cell.request.environment, result.cell.method, result.cell.request.seed),
            *(record.kind, record.step, f"{record.seconds:.1f}"),
            *(f"{record.values[name]:.6g}" if name in record.values else "" for name in names),
        )
        for study in studies
        for result in study.results
        for record in result.records
    ]
    save_csv(path, ("study", "environment", "method", "seed", "kind", "step", "seconds", *names), rows)
