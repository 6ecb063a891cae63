"""Answers a recording again and says how that compares with what was commanded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo_control.bags.blocks import Blocks
from demo_control.bags.bundles import find_bundle
from demo_control.bags.closeness import closeness
from demo_control.bags.comparison import compared
from demo_control.bags.correction_value import correction_value
from demo_control.bags.errors import BagError
from demo_control.bags.layer_log import LayerLog, LayerRun, State, read_layer_log
from demo_control.bags.model_error import model_error
from demo_control.bags.reader import Bag
from demo_control.bags.recorded import RecordedStretches
from demo_control.bags.replay import Answers, Changes, PlanWatcher, answer_again
from demo_control.bags.task_metrics import task_costs, verdict
from demo_control.bags.timing import recorded_time, timing
from demo_control.bundle import Bundle, default_bundle, load_bundle
from demo_control.configuration import Scalar
from demo_control.layer import LayerSettings
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Task, load_task
from demo_control.texts import finite_only


@dataclass(frozen=True)
class Request:
    """What to answer again.

    Attributes:
        path: The bag.
        bundle: Directory of a bundle in the place of the recorded ones; None for these.
        settings: Of the layer, by name, in the place of the recorded ones.
        namespace: Of the robot's topics; None for the only one there is.
    """

    path: Path
    bundle: Path | None = None
    settings: Mapping[str, Scalar] | None = None
    namespace: str | None = None


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
    log = read_layer_log(bag, request.namespace)
    task = recorded_task(log)
    settings = dict(request.settings or {})
    LayerSettings.from_mapping(settings)
    read_s = time.perf_counter() - began_s
    finder = BundleFinder(task, log, request.bundle)
    changes = _changes(request, settings, finder, log)
    answered = [(run, answer_again(run, log, task, finder, changes)) for run in log.runs]
    with np.errstate(over="ignore", invalid="ignore"):  # numbers without a checksum may be any
        comparison = compared(answered)
    wall_s, processor_s = time.perf_counter() - began_s, time.process_time() - began_processor_s
    recorded_s, clock_warnings = recorded_time(task, log)
    changed = _changed(log, settings, changes)
    with np.errstate(over="ignore", invalid="ignore"):
        judgement, judgement_warnings = _judged(task, log, answered, finder, changes)
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
        "judging_s": time.perf_counter() - began_s - wall_s,
        # Sums of what no checksum vouches for may be anything.
        **finite_only(judgement),
        "warnings": warnings + clock_warnings + judgement_warnings,
    }


def watch_plans(bag: Bag, watch: PlanWatcher) -> None:
    """Make the plans of a recording again, and tell each.

    Raises:
        BagError: A recording that cannot be answered.
        BundleError: The bundle does not fit the robot.
        ConfigurationError: A setting that cannot be.
    """
    log = read_layer_log(bag)
    task = recorded_task(log)
    finder = BundleFinder(task, log, None)
    for run in log.runs:
        answer_again(run, log, task, finder, watch=watch)


class BundleFinder:
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
        if sha256 not in self._found:
            _, self._found[sha256] = find_bundle(sha256, self._places, self._task)
        return self._found[sha256]


def _changes(request: Request, settings: Mapping[str, Scalar], finder: BundleFinder, log: LayerLog) -> Changes:
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


def recorded_task(log: LayerLog) -> Task:
    """The robot that was recorded.

    Raises:
        BagError: Commands that are not the robot's.
        ConfigurationError: It is not installed here.
    """
    name = log.runs[0].states[0].task
    task = load_task(name)
    width = log.runs[0].commands.table.values.rows.width
    if width != task.action_dim:
        raise BagError(f"/action: a command of {width} values; task '{name}' has {task.action_dim}")
    return task


def _states(log: LayerLog) -> list[State]:
    return [state for run in log.runs for state in run.states]


def _missing(bag: Bag) -> list[str]:
    return [f"the recorder could not write {count} messages: {what}" for what, count in bag.missing().items()]


def _judged(
    task: Task, log: LayerLog, answered: list[tuple[LayerRun, Answers]], finder: BundleFinder, changes: Changes
) -> tuple[dict[str, object], list[str]]:
    """What the recording says of robot, model and corrections, and what it cannot say.

    The model is that of the bundle that was asked for, or the recorded one.
    """
    last = log.runs[-1].states[-1]
    stamps = log.observations.stamps_ns.numbers() if len(log.observations) else log.runs[0].commands.stamps_ns
    blocks = Blocks(int(stamps.min()), int(stamps.max()))
    warnings: list[str] = []
    if task.planning is not None and changes != Changes():
        # What was decided is in no message; it comes out where the recorded settings and bundle answer again.
        try:
            answered = [(run, answer_again(run, log, task, finder)) for run in log.runs]
        except BagError:
            answered = []
            warnings.append("the recorded bundle is not here: what was decided is not known, nor the model's error")
    settings = LayerSettings.from_mapping(last.settings, source="the recording's layer_state")
    stretches = RecordedStretches(task, log, answered)
    bundle = changes.bundle or _newest(log, finder)
    if len({state.bundle_sha256 for state in _states(log)}) > 1 and changes.bundle is None:
        warnings.append(f"several bundles were in use: the model's error is that of {bundle.sha256[:12]}… throughout")
    error = model_error(task, bundle, stretches, settings.horizon)
    if len(log.applied) and log.carried_out(task.action_dim) is None:
        warnings.append("/applied_action: not of as many values as the robot's action; the commands count instead")
    if not error.count:
        warnings.append("no stretch of observations and commands is whole: the model's error is not known")
    dimensions = max(len(error.dimensions), 1)
    blocks.add(
        "model_error_horizon", error.starts_ns, error.squared_errors / dimensions, error.squared_changes / dimensions
    )
    costs = task_costs(task, stretches, last.cost_weights, settings.horizon, blocks)
    return {
        "model_error": error.to_json(),
        "task_metrics": {**verdict(task, log), **costs},
        "correction_value": _value(task, bundle, log, stretches, blocks),
        "closeness": closeness(task, log, blocks),
        "timing": timing(task, log, blocks),
        "blocks": blocks.to_json(),
    }, warnings


def _newest(log: LayerLog, finder: BundleFinder) -> Bundle:
    """The last bundle in use of those that are here.

    Raises:
        BagError: None is.
    """
    digests = dict.fromkeys(state.bundle_sha256 for state in reversed(_states(log)))
    for digest in list(digests)[:-1]:
        with suppress(BagError):
            return finder(digest)
    return finder(list(digests)[-1])


def _value(
    task: Task, bundle: Bundle, log: LayerLog, stretches: RecordedStretches, blocks: Blocks
) -> dict[str, object] | None:
    """See :func:`correction_value`; None where plans end in a value function, which no observation shows."""
    return None if bundle.value is not None else correction_value(task, log.runs, stretches, blocks)
