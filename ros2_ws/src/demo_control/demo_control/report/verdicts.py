"""What a recording comes to, in plain words: the top of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from demo_control.report.bag_contents import BagContents
from demo_control.report.figures import words
from demo_control.tasks import Task

GOOD, WATCH, BAD, UNKNOWN = "good", "watch", "bad", "unknown"
_UNANSWERED_SHARE = 0.001
_OVERRUN_SHARE = 0.01
_MOST_FIGURES = 5
_MOSTLY = 0.5
_MILLISECONDS = 1e3
_UNITS = (("_m_s", "m/s"), ("_rad_s", "rad/s"), ("_ms", "ms"), ("_rad", "rad"), ("_s", "s"), ("_m", "m"), ("_n", "N"))


@dataclass(frozen=True)
class Verdict:
    """One answer.

    Attributes:
        question: What one wants to know first.
        level: One of 'good', 'watch', 'bad', 'unknown'.
        answer: In a few words.
        detail: The figures behind it.
    """

    question: str
    level: str
    answer: str
    detail: str = ""


def verdicts(
    contents: BagContents, task: Task | None, evaluation: Mapping[str, Any] | None, trouble: str, damage: list[str]
) -> list[Verdict]:
    """All of them.

    Args:
        contents: Of the recording.
        task: The robot's, None if it is not installed.
        evaluation: Of ``evaluate_bag``, None where it refused.
        trouble: Why it refused.
        damage: What is missing or damaged, one line each.
    """
    return [
        _success(contents, task),
        _again(evaluation, trouble),
        _help(contents, evaluation),
        _timing(contents, task, evaluation),
        _missing(damage),
    ]


def _success(contents: BagContents, task: Task | None) -> Verdict:
    """The driver's own verdict. Without it nobody knows whether the robot had failed, whatever its states say."""
    question, result = "Did it succeed?", dict(contents.result)
    if not isinstance(result.get("success"), bool):
        figures = _figures(_judged(contents, task) if task is not None else {})
        so_far = f"; so far: {figures}" if figures else ""
        return Verdict(question, UNKNOWN, "Not known", f"the recording has no verdict of the driver{so_far}")
    good = result.pop("success")
    pushes = f"; pushed {len(contents.pushes)} ×" if contents.pushes else ""
    detail = f"{_figures(result)}{pushes} (as the driver told at the end)"
    return Verdict(question, GOOD if good else BAD, "Yes" if good else "No", detail)


def _figures(result: Mapping[str, Any]) -> str:
    shown = [(str(name), value) for name, value in result.items() if name != "success"]
    return ", ".join(measured(name, value) for name, value in shown[:_MOST_FIGURES])


def _judged(contents: BagContents, task: Task) -> dict[str, Any]:
    """The task's figures of what was recorded; its ``success`` counts for nothing here."""
    run = contents.run("")
    if run is None or run.observations.shape[1] != task.observation_dim or not len(contents.truth):
        return {}
    score = task.make_score()
    for time_s, observation in zip(run.times_s, run.observations, strict=True):
        score.update(float(time_s - run.times_s[0]), observation, failed=False)
    return dict(score.result())


def _again(evaluation: Mapping[str, Any] | None, trouble: str) -> Verdict:
    question = "Does the same come out again?"
    if evaluation is None:
        return Verdict(question, UNKNOWN, "Not answered again", trouble)
    count, same = evaluation["actions"], evaluation["identical_actions"]
    plans = f"{evaluation['identical_plans']} of {evaluation['plans']} plans"
    if evaluation["bit_exact"]:
        return Verdict(question, GOOD, "Yes, bit for bit", f"all {count} commands, and {plans}")
    first = evaluation.get("first_difference") or {}
    since = f"; the first other one answers observation {first['sequence']}" if "sequence" in first else ""
    return Verdict(
        question, BAD if same < count else WATCH, "Not exactly", f"{same} of {count} commands, {plans}{since}"
    )


def _help(contents: BagContents, evaluation: Mapping[str, Any] | None) -> Verdict:
    """Whether corrections were worth it: estimated where the evaluation can, else what the model promised."""
    question, plans = "Did the layer help?", contents.plans
    if not len(plans):
        return Verdict(question, UNKNOWN, "It did not plan", "There is no plan in the recording.")
    used = f"{int(plans.accepted.sum())} of {len(plans)} plans were used"
    value = (evaluation or {}).get("correction_value") or {}
    realised, predicted, share = (value.get(k) for k in ("realised_gain_mean", "predicted_gain_mean", "gain_came_true"))
    if realised is None or predicted is None or share is None:
        return Verdict(question, UNKNOWN, "It cannot be told from this run", used)
    detail = (
        f"{used}; {value['followed']} of them can be judged: each promised {predicted:.3g} less cost over its horizon, "
        f"{realised:.3g} came of it, in {share:.0%} more than nothing. What the policy alone would have cost is the "
        "model's estimate"
    )
    if realised > 0.0 and share > _MOSTLY:
        return Verdict(question, GOOD, "Yes, as far as one run can tell", detail)
    answer = "Mixed" if realised > 0.0 else "No, as far as one run can tell"
    return Verdict(question, WATCH if realised > 0.0 else BAD, answer, detail)


def _timing(contents: BagContents, task: Task | None, evaluation: Mapping[str, Any] | None) -> Verdict:
    question, ages = "Did the timing hold?", contents.command_ages_s * _MILLISECONDS
    if task is None or not len(ages):
        return Verdict(question, UNKNOWN, "Not known", "There are no commands to judge." if task else "")
    timing = (evaluation or {}).get("timing") or {}
    unanswered, overruns = timing.get("observations_not_answered", 0), timing.get("overruns", 0)
    period, p99 = task.control_period_s * _MILLISECONDS, float(np.percentile(ages, 99.0))
    old = int((ages > period).sum())
    detail = f"commands were {np.median(ages):.1f} ms old (99 %: {p99:.1f}), {old} of {len(ages)} older than the period"
    detail += f" of {period:g} ms"
    if timing:
        detail += f"; {overruns} of {len(contents.plans)} plans overran; {unanswered} observations were not answered"
    if p99 > period:
        return Verdict(question, BAD, "No: commands came late", detail)
    if unanswered > _UNANSWERED_SHARE * len(ages) or overruns > _OVERRUN_SHARE * len(contents.plans):
        return Verdict(question, WATCH, "Mostly", detail)
    return Verdict(question, GOOD, "Yes", detail)


def _missing(damage: list[str]) -> Verdict:
    question = "Is anything missing?"
    if not damage:
        return Verdict(question, GOOD, "No", "every message that was heard is here and whole")
    more = f" (and {len(damage) - 3} more, below)" if len(damage) > 3 else ""  # noqa: PLR2004 - what fits
    return Verdict(question, BAD, "Yes: this page is of a partial recording", "; ".join(damage[:3]) + more)


def measured(name: str, value: object) -> str:
    """A figure with its name, whose unit is at the name's end."""
    kind = next((kind for kind in ("_mean", "_rms", "_max") if name.endswith(kind)), "")
    stem = name.removesuffix(kind)
    for ending, unit in _UNITS:
        if stem.endswith(ending):
            return f"{words(stem.removesuffix(ending) + kind)} {number(value)} {unit}"
    return f"{words(name)} {number(value)}"


def number(value: object) -> str:
    """A figure as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if np.isfinite(value) else "–"
    return "–" if value is None else str(value)
