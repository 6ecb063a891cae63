"""The study's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from demo_control.statistics import ratio_interval
from samples.problems import PROBLEMS
from samples.results import Row
from samples.variants import VARIANTS

REFERENCE = "white"
"""The way of planning that others are compared with."""
GOOD_RATE = 0.9
"""Success rate that counts as reliable in the summary."""
AS_GOOD = 1.02
"""Costs up to this factor count as equal there."""


def report(rows: Sequence[Row]) -> str:
    """Samples needed, and for each problem tables of cost, success, and cost relative to :data:`REFERENCE`."""
    parts = [
        "# Sample efficiency: all cells\n",
        "Means over the seeds with 95 % intervals: of costs by bootstrap, of success rates by Wilson. "
        "M is the number of samples that a plan may roll out in all its mirror steps; one that is rolled out on every "
        "member of a model counts once for each.\n",
        "| way of planning | |\n| --- | --- |",
        *(f"| `{name}` | {VARIANTS[name].text} |" for name in dict.fromkeys(row.variant for row in rows)),
        "",
    ]
    parts += _summary(rows)
    for name in dict.fromkeys(row.problem for row in rows):
        mine = [row for row in rows if row.problem == name]
        problem = PROBLEMS[name]
        parts += [
            f"## {problem.title}\n",
            f"{mine[0].seeds} seeds. Cost: {problem.cost}. Success: {problem.success}.\n",
            f"Cost:\n\n{_table(mine, _cost)}",
            f"Success:\n\n{_table(mine, _success)}",
        ]
        references = {row.budget: row for row in mine if row.variant == REFERENCE}
        if references:
            planned = [row for row in mine if row.budget in references]
            parts.append(f"Cost relative to `{REFERENCE}` with the same M, seed by seed (bold where 1 is left out):\n")
            parts.append(_table(planned, partial(_ratio, references=references)))
    return "\n".join(parts)


def _summary(rows: Sequence[Row]) -> list[str]:
    """How many samples each way of planning needs for the cost that the reference has at the most, and for success."""
    largest = max((row.budget for row in rows), default=0)
    goals = {row.problem: AS_GOOD * row.cost_mean for row in rows if (row.variant, row.budget) == (REFERENCE, largest)}
    parts = ["## Samples needed\n"]
    if goals:
        text = f"Smallest M from which on the cost is at most {AS_GOOD:g} × that of `{REFERENCE}` at M = {largest}:"
        cheap = [row for row in rows if row.problem in goals]
        parts.append(f"{text}\n\n{_needed(cheap, lambda row: row.cost_mean <= goals[row.problem])}")
    text = f"Smallest M from which on at least {GOOD_RATE:.0%} of the episodes succeed:"
    parts.append(f"{text}\n\n{_needed(rows, lambda row: row.success_rate >= GOOD_RATE)}")
    return parts


def _needed(rows: Sequence[Row], good: Callable[[Row], bool]) -> str:
    """One line per way of planning, one column per problem: the smallest M from which on all are good."""
    problems = list(dict.fromkeys(row.problem for row in rows))
    lines = [["", *(PROBLEMS[name].title for name in problems)], ["---"] * (len(problems) + 1)]
    for variant in dict.fromkeys(row.variant for row in rows if row.budget):
        lines.append([f"`{variant}`"])
        for problem in problems:
            mine = [row for row in rows if (row.problem, row.variant) == (problem, variant)]
            lines[-1].append(_from_which_on(sorted(mine, key=lambda row: -row.budget), good))
    return _markdown(lines)


def _from_which_on(falling: Sequence[Row], good: Callable[[Row], bool]) -> str:
    """The smallest M of the first good rows; '–' if even the largest M is not good, '' without any row."""
    best = "–" if falling else ""
    for row in falling:
        if not good(row):
            break
        best = str(row.budget)
    return best


def _table(rows: Sequence[Row], text: Callable[[Row], str]) -> str:
    """One line per way of planning, one column per M."""
    budgets = sorted({row.budget for row in rows})
    head = ["", *("–" if budget == 0 else f"M = {budget}" for budget in budgets)]
    lines = [head, ["---"] * len(head)]
    for variant in dict.fromkeys(row.variant for row in rows):
        mine = {row.budget: text(row) for row in rows if row.variant == variant}
        lines.append([f"`{variant}`", *(mine.get(budget, "") for budget in budgets)])
    return _markdown(lines)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cost(row: Row) -> str:
    return f"{row.cost_mean:.3g} ({row.cost_low:.3g} to {row.cost_high:.3g})"


def _success(row: Row) -> str:
    return f"{row.successes} of {row.seeds} ({100 * row.success_low:.0f} to {100 * row.success_high:.0f} %)"


def relative_cost(row: Row, reference: Row) -> tuple[float, float, float]:
    """Ratio of the mean costs of the same seeds, and its 95 % interval."""
    low, high = ratio_interval(row.costs, reference.costs)
    return float(row.costs.mean() / reference.costs.mean()), low, high


def _ratio(row: Row, references: Mapping[int, Row]) -> str:
    reference = references[row.budget]
    if reference is row:
        return "1"
    ratio, low, high = relative_cost(row, reference)
    text = f"{ratio:.2f} ({low:.2f} to {high:.2f})"
    return f"**{text}**" if high < 1.0 or low > 1.0 else text
