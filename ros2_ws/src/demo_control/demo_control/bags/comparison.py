"""The recorded commands and plans beside those of now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from demo_control.bags.layer_runs import LayerRun
from demo_control.bags.layer_tables import FIGURES
from demo_control.bags.replay import PLAN_FIGURES, Answers
from demo_control.tasks import Array

_PIECE = 4096


def compared(answered: Sequence[tuple[LayerRun, Answers]]) -> dict[str, object]:
    """Counts of what is the same to the bit, and how far the rest differs; ready for JSON.

    Args:
        answered: Each run, with what the layer answers now.
    """
    squares: Array = np.zeros(1)
    largest: Array = np.zeros(1)
    both, identical = 0, 0
    first: dict[str, int] | None = None
    for run, place, recorded, values in _pieces(answered):
        known = ~np.isnan(values).all(axis=1)
        # The same number may have two patterns of bits; a robot is sent the bits.
        same = (recorded.view(np.int64) == values.view(np.int64)).all(axis=1)
        both += int(known.sum())
        identical += int((same & known).sum())
        different = np.flatnonzero(known & ~same)
        if first is None and len(different):
            key = run.commands[place + int(different[0])].key
            first = {"sequence": key.sequence, "stamp_ns": key.stamp_ns}
        differences = (values - recorded)[known]
        squares = squares + np.square(differences).sum(axis=0)
        largest = np.maximum(largest, np.abs(differences).max(axis=0, initial=0.0))
    recorded_plans = np.concatenate([np.zeros((0, len(FIGURES))), *(run.plans.figures() for run, _ in answered)])
    plans = np.concatenate([np.zeros((0, len(PLAN_FIGURES))), *(answers.figures() for _, answers in answered)])
    return {
        "actions": sum(len(run.commands) for run, _ in answered),
        "answered_actions": both,
        "identical_actions": identical,
        "first_difference": first,
        "plans": len(recorded_plans),
        "answered_plans": len(plans),
        "identical_plans": sum(_identical_plans(run, answers) for run, answers in answered),
        "metrics": {
            "difference_rms": _list(np.sqrt(squares / both)) if both else [],
            "difference_max": _list(largest) if both else [],
            "sources_recorded": _counts([run for run, _ in answered]),
            "sources": _answer_counts([answers for _, answers in answered]),
            "plans_accepted": int(plans[:, PLAN_FIGURES.index("accepted")].sum()),
            "plan_cost_mean": _mean(plans[:, PLAN_FIGURES.index("plan_cost")]),
            "predicted_gain_mean": _mean(plans[:, PLAN_FIGURES.index("predicted_gain")]),
            "plan_cost_mean_recorded": _mean(recorded_plans[:, FIGURES.index("plan_cost")]),
            "predicted_gain_mean_recorded": _mean(recorded_plans[:, FIGURES.index("predicted_gain")]),
        },
    }


def _pieces(answered: Sequence[tuple[LayerRun, Answers]]) -> Iterator[tuple[LayerRun, int, Array, Array]]:
    """Recorded commands and answers, some at a time: the run, the first one's place in it, and both."""
    for run, answers in answered:
        for start in range(0, len(run.commands), _PIECE):
            places = run.commands.places[start : start + _PIECE]
            recorded = run.commands.table.values.rows.take(places)
            yield run, start, recorded, answers.values.read(start, start + len(places))


def _identical_plans(run: LayerRun, answers: Answers) -> int:
    """How many plans were promised the same, to the bit."""
    numbers = answers.plan_numbers.numbers().tolist()
    known = [row for row, number in enumerate(numbers) if number in run.plans]
    places = np.array([run.plans.places[numbers[row]] for row in known], np.int64)
    if not len(places):
        return 0
    told, now = run.plans.table.figures.take(places), answers.figures()[known]
    names = ("nominal_cost", "plan_cost")
    same = [told[:, FIGURES.index(name)] == now[:, PLAN_FIGURES.index(name)] for name in names]
    return int(np.logical_and(*same).sum())


def _counts(runs: Sequence[LayerRun]) -> dict[str, int]:
    """Who made the recorded commands."""
    counts: Counter[str] = Counter()
    for run in runs:
        sources = run.commands.table.sources
        each = np.bincount(sources.codes()[run.commands.places], minlength=len(sources.texts))
        counts.update(dict(zip(sources.texts, each.tolist(), strict=True)))
    return {name: count for name, count in sorted(counts.items()) if count}


def _answer_counts(answers: Sequence[Answers]) -> dict[str, int]:
    """Who makes them now."""
    counts: Counter[str] = Counter()
    for each in answers:
        counts.update(each.sources.texts[code] for code in each.sources.codes().tolist())
    return dict(sorted(counts.items()))


def _mean(values: Array) -> float | None:
    """Mean of the finite ones."""
    finite = values[np.isfinite(values)]
    return float(np.mean(finite)) if len(finite) else None


def _list(values: Array) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
