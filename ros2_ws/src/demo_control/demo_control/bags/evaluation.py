"""Answers a recording again and says how that compares with what was commanded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from demo_control.bags.errors import BagError
from demo_control.bags.layer_log import Command, LayerLog, LayerRun, PlanMade, State, read_layer_log
from demo_control.bags.reader import Bag
from demo_control.bags.replay import Answers, Changes, answer_again
from demo_control.bundle import Bundle, BundleError, default_bundle, load_bundle
from demo_control.configuration import Scalar
from demo_control.layer import Correction, LayerSettings
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Array, Task, load_task

_SECOND_NS = 1e9
_MILLISECOND_NS = 1e6


@dataclass(frozen=True)
class Request:
    """What to answer again.

    Attributes:
        path: The bag.
        bundle: Directory of a bundle in the place of the recorded ones; None for these.
        settings: Of the layer, by name, in the place of the recorded ones.
    """

    path: Path
    bundle: Path | None = None
    settings: Mapping[str, Scalar] | None = None


def evaluate_bag(request: Request) -> dict[str, object]:
    """Answer a recording again; all figures ready for JSON.

    With the recorded bundle and settings the recorded commands come out, bit for bit, on the same kind of processor
    (``engine`` says which kernel ran). With others it is said what would have been commanded where the robot was: the
    robot itself goes where the recorded commands took it.

    Raises:
        BagError: A recording that cannot be answered.
        BundleError: The bundle does not fit the robot.
        ConfigurationError: A setting that is unknown or cannot be.
    """
    began_s, began_processor_s = time.perf_counter(), time.process_time()
    bag = Bag.open(request.path)
    log = read_layer_log(bag)
    task = _task(log)
    settings = dict(request.settings or {})
    LayerSettings.from_mapping(settings)
    read_s = time.perf_counter() - began_s
    finder = _BundleFinder(task, log, request.bundle)
    changes = _changes(request, settings, finder, log)
    answered = [(run, answer_again(run, log, task, finder, changes)) for run in log.runs]
    wall_s, processor_s = time.perf_counter() - began_s, time.process_time() - began_processor_s
    recorded_s = sum(_seconds(run.commands) for run in log.runs)
    changed = _changed(log, settings, changes)
    comparison = _comparison(answered)
    warnings = [*bag.damage(), *_missing(bag), *log.warnings, *(w for _, answers in answered for w in answers.warnings)]
    if not all(run.from_start for run in log.runs):
        warnings.append("the recording begins after the layer's activation: what it had planned before is not known")
    same = not (changed["bundle"] or changed["settings"] or changes.policy)
    bit_exact = same and comparison["identical_actions"] == comparison["actions"]
    return {
        "bag": str(request.path),
        "task": task.name,
        "bundle_sha256": list(dict.fromkeys(state.bundle_sha256 for state in _states(log))),
        "engine": list(dict.fromkeys(state.engine for state in _states(log))),
        "seeds": list(dict.fromkeys(state.seed for state in _states(log))),
        "changed": changed,
        "activations": len(log.runs),
        **comparison,
        "bit_exact": bit_exact,
        "complete": not warnings,
        "recorded_s": recorded_s,
        "wall_s": wall_s,
        "read_s": read_s,
        "planning_s": sum(answers.planning_s for _, answers in answered),
        "processor_s": processor_s,
        "real_time_factor": recorded_s / wall_s,
        "timing": _timing(log, task),
        "warnings": warnings,
    }


class _BundleFinder:
    """Finds bundles by their hash: the given one, the shipped one, or where the robot had them.

    Args:
        task: The robot's.
        log: Its states name directories.
        given: A directory to look at first, or None.
    """

    def __init__(self, task: Task, log: LayerLog, given: Path | None) -> None:
        self._task = task
        recorded = dict.fromkeys(state.bundle_directory for state in _states(log) if state.bundle_directory)
        self._places = [*([given] if given else []), default_bundle(task.name), *map(Path, recorded)]
        self._found: dict[str, Bundle] = {}

    def __call__(self, sha256: str) -> Bundle:
        """See :data:`~demo_control.bags.replay.FindBundle`."""
        for place in self._places if sha256 not in self._found else ():
            try:
                bundle = load_bundle(place, self._task)
            except BundleError:
                continue
            self._found[bundle.sha256] = bundle
        if sha256 not in self._found:
            raise BagError(f"bundle {sha256[:12]}… that was recorded is not here; --bundle names the directory of one")
        return self._found[sha256]


def _changes(request: Request, settings: Mapping[str, Scalar], finder: _BundleFinder, log: LayerLog) -> Changes:
    """What is to be different from the recording."""
    if request.bundle is None:
        return Changes(settings)
    bundle = load_bundle(request.bundle, load_task(log.runs[0].states[0].task))
    recorded = {state.bundle_sha256 for state in _states(log)}
    if recorded == {bundle.sha256}:
        return Changes(settings)
    policy: OnnxPolicy | None = OnnxPolicy(bundle.policy)
    try:
        known = [finder(sha256).contract.files["policy.onnx"] for sha256 in recorded]
    except BagError:
        known = []
    if known and all(digest == bundle.contract.files["policy.onnx"] for digest in known):
        policy = None
    return Changes(settings, bundle, policy)


def _changed(log: LayerLog, settings: Mapping[str, Scalar], changes: Changes) -> dict[str, object]:
    """What differs from the recording, for the report."""
    states = _states(log)
    return {
        "bundle": changes.bundle is not None and any(changes.bundle.sha256 != s.bundle_sha256 for s in states),
        "settings": {
            name: value for name, value in settings.items() if any(s.settings.get(name) != value for s in states)
        },
        "nominal_actions": "recorded" if changes.policy is None else "of the bundle's policy",
    }


def _task(log: LayerLog) -> Task:
    """The robot that was recorded.

    Raises:
        BagError: Commands that are not the robot's.
        ConfigurationError: It is not installed here.
    """
    name = log.runs[0].states[0].task
    task = load_task(name)
    wrong = next((c for run in log.runs for c in run.commands if c.values.shape != (task.action_dim,)), None)
    if wrong is not None:
        raise BagError(f"/action: a command of {len(wrong.values)} values; task '{name}' has {task.action_dim}")
    return task


def _states(log: LayerLog) -> list[State]:
    return [state for run in log.runs for state in run.states]


def _missing(bag: Bag) -> list[str]:
    return [f"the recorder could not write {count} messages: {what}" for what, count in bag.missing().items()]


def _seconds(commands: Sequence[Command]) -> float:
    times = [command.log_time_ns for command in commands]
    return (max(times) - min(times)) / _SECOND_NS if times else 0.0


def _comparison(answered: Sequence[tuple[LayerRun, Answers]]) -> dict[str, object]:
    """The recorded commands beside those of now."""
    pairs = [
        (command, correction)
        for run, answers in answered
        for command, correction in zip(run.commands, answers.corrections, strict=True)
    ]
    both = [(c, k.values) for c, k in pairs if k is not None and k.values is not None]
    identical = [command.values.tobytes() == values.tobytes() for command, values in both]
    first = next((c for (c, _), same in zip(both, identical, strict=True) if not same), None)
    differences = np.array([values - command.values for command, values in both])
    plans = [
        (plan, answers.reports[number])
        for run, answers in answered
        for number, plan in run.plans.items()
        if number in answers.reports
    ]
    same_plans = sum(
        plan.figures["plan_cost"] == report.plan_cost and plan.figures["nominal_cost"] == report.nominal_cost
        for plan, report in plans
    )
    reports = [report for _, answers in answered for report in answers.reports.values()]
    return {
        "actions": len(pairs),
        "answered_actions": len(both),
        "identical_actions": sum(identical),
        "first_difference": None if first is None else {"sequence": first.key.sequence, "stamp_ns": first.key.stamp_ns},
        "plans": sum(len(run.plans) for run, _ in answered),
        "answered_plans": len(reports),
        "identical_plans": same_plans,
        "metrics": {
            "difference_rms": _list(np.sqrt(np.square(differences).mean(axis=0))) if both else [],
            "difference_max": _list(np.abs(differences).max(axis=0)) if both else [],
            "sources_recorded": _counts(command.source for command, _ in pairs),
            "sources": _counts(_source(correction) for _, correction in pairs),
            "plans_accepted": sum(report.accepted for report in reports),
            "plan_cost_mean": _mean([report.plan_cost for report in reports]),
            "predicted_gain_mean": _mean([report.predicted_gain for report in reports]),
            "plan_cost_mean_recorded": _mean([p.figures["plan_cost"] for run, _ in answered for p in _told(run)]),
            "predicted_gain_mean_recorded": _mean(
                [p.figures["predicted_gain"] for run, _ in answered for p in _told(run)]
            ),
        },
    }


def _told(run: LayerRun) -> list[PlanMade]:
    return list(run.plans.values())


def _source(correction: Correction | None) -> str:
    if correction is None:
        return "not answered"
    return ":".join(part for part in (correction.source, correction.reason) if part)


def _timing(log: LayerLog, task: Task) -> dict[str, object]:
    """When things happened on the robot, in milliseconds of its clock."""
    commands = [command for run in log.runs for command in run.commands]
    plans = [plan for run in log.runs for plan in run.plans.values()]
    periods = np.concatenate([np.diff([c.stamp_ns for c in run.commands]) for run in log.runs]) / _MILLISECOND_NS
    sequences = [command.key.sequence for command in commands]
    unanswered = sum(max(after - before - 1, 0) for before, after in pairwise(sequences))
    return {
        "control_period_ms": task.control_period_s * 1e3,
        "command_period_ms": _spread(periods),
        "command_age_ms": _spread(np.array([c.stamp_ns - c.key.stamp_ns for c in commands]) / _MILLISECOND_NS),
        "plan_ms": _spread(np.array([plan.figures["plan_time_s"] for plan in plans]) * 1e3),
        "plan_age_ms": _spread(np.array([plan.figures["plan_age_s"] for plan in plans]) * 1e3),
        "observations_not_answered": unanswered,
        "overruns": int(max((plan.figures["overruns"] for plan in plans), default=0)),
    }


def _spread(values: Array) -> dict[str, float | None]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "max": float(values.max())}


def _mean(values: Sequence[float]) -> float | None:
    """Mean of the finite ones."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def _list(values: Array) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
