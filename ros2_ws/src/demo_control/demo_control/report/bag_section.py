"""What a page shows of one recording."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.info import bag_info
from demo_control.bags.metadata import START_RECORD
from demo_control.bags.reader import Bag
from demo_control.bundle import BundleError
from demo_control.configuration import ConfigurationError
from demo_control.recorded_run import RecordedRun
from demo_control.report.bag_contents import BagContents, bag_name
from demo_control.report.bag_reading import read_contents
from demo_control.report.figures import Plot, words
from demo_control.report.plan_plots import cost_plots, limit_plots, model_plots, timing_plots
from demo_control.report.realised_costs import realised_costs
from demo_control.report.time_plots import command_plots, happened, marks, observation_plots
from demo_control.report.verdicts import Verdict, number, verdicts
from demo_control.tasks import Task, load_task

LONGEST_VIDEO_S = 60.0

_MOST_POINTS, _FEWEST_POINTS = 1500, 200
_BYTES_PER_POINT = 11
_MOST_IN_ROW = 40
_SHOWN_APART = {
    "bag", "blocks", "bundle_sha256", "changed", "closeness", "complete", "correction_value", "engine", "model_error",
    "seeds", "task", "task_metrics", "timing", "warnings",
}  # fmt: skip
"""What of an evaluation is no row of the last table: it stands elsewhere on the page."""

Tell = Callable[[str, float], None]
"""Told a stage and its finished share."""
Rows = list[tuple[str, str]]


@dataclass
class Section:
    """What the page shows of one recording.

    Attributes:
        name: Of the recording.
        anchor: For links within the page.
        robot: Name of the task, or ''.
        verdicts: Its summary; empty where it could not be read at all.
        notes: What is missing or odd, one line each: with one, the page says that it is of a partial recording.
        happened: The plot of what happened, or None.
        marks: What is marked in every plot over time: start, end, kind and name of each.
        span_s: From when to when plots over time are shown.
        plots: Other plots, by the heading above them.
        figures: Rows of name and value, by the heading above them.
        model_error: As in ``bag evaluate``'s JSON, empty where it is not known.
        provenance: Rows of name and value.
        settings: The layer's.
        topics: Name, type, messages and rate.
        video: Bytes of an mp4, or nothing.
        video_note: What drew it, or why there is none.
        overview: Values for the table of several recordings, by column.
    """

    name: str
    anchor: str
    robot: str = ""
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    happened: Plot | None = None
    marks: list[dict[str, float | str]] = field(default_factory=list)
    span_s: tuple[float, float] = (0.0, 1.0)
    plots: dict[str, list[Plot]] = field(default_factory=dict)
    figures: dict[str, Rows] = field(default_factory=dict)
    model_error: Mapping[str, Any] = field(default_factory=dict)
    provenance: Rows = field(default_factory=list)
    settings: Rows = field(default_factory=list)
    topics: list[tuple[str, str, str, str]] = field(default_factory=list)
    video: bytes = b""
    video_note: str = ""
    overview: dict[str, str] = field(default_factory=dict)


def make_section(path: Path, anchor: str, plots_bytes: int, *, video: bool, progress: Tell) -> Section:
    """Evaluate a recording and draw it.

    Args:
        path: Folder or file.
        anchor: For links within the page.
        plots_bytes: What its plots may take, roughly.
        video: Whether to draw the video.
        progress: Told stage and share.

    Raises:
        BagError: It cannot be read at all, or holds nothing.
    """
    progress("reading", 0.0)
    info = bag_info(path)
    bag = Bag.open(path)
    contents = read_contents(bag)
    if not info["messages"]:
        raise BagError(f"{path}: no message in it")
    task, task_trouble = _task(info)
    progress("answering again", 0.0)
    evaluation, trouble = _evaluation(path)
    progress("drawing", 0.0)
    section = Section(bag_name(path), anchor, robot=task.name if task else ", ".join(map(str, _list(info["robots"]))))
    section.notes = _notes(info, contents, evaluation, task_trouble)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers without a checksum may be any
        section.verdicts = verdicts(contents, task, evaluation, trouble, section.notes)
        _add_plots(section, contents, task, evaluation, plots_bytes)
    section.figures = _figures(contents, evaluation)
    section.provenance = _provenance(info, evaluation)
    section.settings = [(words(name), number(value)) for name, value in sorted(contents.settings.items())]
    section.topics = _topics(info)
    section.overview = _overview(info, section, evaluation)
    if video:
        section.video, section.video_note = _video(contents, task, progress)
    else:
        section.video_note = "no video was asked for"
    return section


def _task(info: Mapping[str, object]) -> tuple[Task | None, str]:
    robot = info["robot"]
    if robot is None:
        return None, ""
    try:
        return load_task(str(robot)), ""
    except ConfigurationError as error:
        return None, f"{error}: entries have numbers instead of names"


def _evaluation(path: Path) -> tuple[dict[str, Any] | None, str]:
    try:
        return evaluate_bag(Request(path)), ""
    except (BagError, BundleError, ConfigurationError) as error:
        return None, str(error)


def _notes(
    info: Mapping[str, object], contents: BagContents, evaluation: Mapping[str, Any] | None, task_trouble: str
) -> list[str]:
    """Everything that is missing or odd, each once."""
    lines = [*_list(info["damage"]), *_list(info["warnings"]), *contents.warnings]
    lines += [f"the recorder could not write {count} messages: {what}" for what, count in _map(info["missing"]).items()]
    lines += [f"{topic}: {count} messages are missing in the recording" for topic, count in _map(info["gaps"]).items()]
    lines += [*(evaluation or {}).get("warnings", []), *([task_trouble] if task_trouble else [])]
    return list(dict.fromkeys(map(str, lines)))


def _add_plots(
    section: Section, contents: BagContents, task: Task | None, evaluation: Mapping[str, Any] | None, plots_bytes: int
) -> None:
    lines = 2 * (len(contents.observations) and contents.observations.values.shape[1])
    lines += 3 * (len(contents.commands) and contents.commands.values.shape[1]) + 30
    points = int(np.clip(plots_bytes / lines / _BYTES_PER_POINT, _FEWEST_POINTS, _MOST_POINTS))
    section.happened, section.marks = happened(contents), marks(contents)
    section.span_s = contents.span_s
    realised = realised_costs(contents, task, contents.settings) if task is not None else None
    error = (evaluation or {}).get("model_error")
    section.model_error = error if isinstance(error, dict) else {}
    period_s = task.control_period_s if task is not None else None
    section.plots = {
        "Costs": cost_plots(contents, realised, points),
        "Commands": command_plots(contents, task, points),
        "Observations": observation_plots(contents, task, points),
        "Model error": model_plots(section.model_error),
        "Timing": timing_plots(contents, period_s, points),
        "Limits": limit_plots(_map((evaluation or {}).get("closeness"))),
    }


def _figures(contents: BagContents, evaluation: Mapping[str, Any] | None) -> dict[str, Rows]:
    """Rows by heading; what has plots or stands elsewhere on the page is left out."""
    answers = evaluation or {}
    tables = {
        "The run": {"as the driver told": dict(contents.result), **_map(answers.get("task_metrics"))},
        "What corrections were worth": _map(answers.get("correction_value")),
        "Timing": _map(answers.get("timing")),
        "Limits": _map(answers.get("closeness")),
        "Answered again": {name: value for name, value in answers.items() if name not in _SHOWN_APART},
    }
    tables["The run"].pop("told_by_driver", None)
    rows = {
        heading: [r for name, value in table.items() for r in _flat(name, value)] for heading, table in tables.items()
    }
    return {heading: found for heading, found in rows.items() if found}


def _flat(name: str, value: object) -> Rows:
    """Nested figures as rows; percentiles of one thing in one row, and what has plots not at all."""
    if isinstance(value, dict):
        if set(value) == {"p50", "p99", "max"}:
            text = " / ".join(number(value[share]) for share in ("p50", "p99", "max"))
            return [(f"{words(name)}: median / 99 % / largest", text)]
        return [
            (f"{words(name)}: {inner}", text) for key, item in value.items() for inner, text in _flat(str(key), item)
        ]
    if isinstance(value, list):
        if any(isinstance(entry, dict | list) for entry in value):
            return []
        more = ", …" if len(value) > _MOST_IN_ROW else ""
        return [(words(name), ", ".join(number(entry) for entry in value[:_MOST_IN_ROW]) + more)]
    return [(words(name), number(value))]


def _provenance(info: Mapping[str, object], evaluation: Mapping[str, Any] | None) -> Rows:
    """What ran, where, and from which sources."""
    rows = [
        ("recording", str(info["bag"])),
        ("bundle (SHA-256 of its contract)", ", ".join(_list(info["bundle_sha256"]))),
    ]
    if evaluation is not None:
        rows += [("seed", ", ".join(map(str, evaluation["seeds"]))), ("engine", "; ".join(evaluation["engine"]))]
    for name, text in _map(_map(info["recorder"]).get(START_RECORD, {})).items():
        rows.append((words(str(name)), _readable(str(text))))
    return [(name, value or "not known") for name, value in rows]


def _readable(text: str) -> str:
    """JSON objects as name = value; other texts as they are."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, dict):
        return text
    return ", ".join(f"{name} = {inner}" for name, inner in value.items() if inner != "")


def _topics(info: Mapping[str, object]) -> list[tuple[str, str, str, str]]:
    rows = []
    for topic in _list(info["topics"]):
        rate = "" if topic["rate_hz"] is None else f"{topic['rate_hz']:.1f}"
        rows.append((str(topic["name"]), str(topic["type"]), str(topic["messages"]), rate))
    return rows


def _overview(info: Mapping[str, object], section: Section, evaluation: Mapping[str, Any] | None) -> dict[str, str]:
    relative = section.model_error.get("relative") or {}
    age = ((evaluation or {}).get("timing") or {}).get("command_age_ms", {}).get("p99")
    return {
        "robot": section.robot or "not known",
        "seconds": number(float(str(info["duration_s"]))),
        **{verdict.question.rstrip("?"): verdict.answer for verdict in section.verdicts},
        "model error, one step": number(relative.get("one_step")),
        "to the horizon": number(relative.get("horizon")),
        "command age, 99 %, ms": number(age),
    }


def _video(contents: BagContents, task: Task | None, progress: Tell) -> tuple[bytes, str]:
    """An mp4 of the run, and a word about it."""
    if task is None or task.render_video is None:
        return b"", "the robot's package draws no pictures"
    run = contents.run("policy + DeMo Layer" if len(contents.plans) else "policy alone")
    if run is None or run.observations.shape[1] != task.observation_dim:
        return b"", "the recording holds no states to draw"
    note = ""
    if run.times_s[-1] > LONGEST_VIDEO_S:
        run, note = _cut(run), f"; the first {LONGEST_VIDEO_S:g} s"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.mp4"
        try:
            drawn_by = task.render_video(path, [run], lambda share: progress("video", share))
        except (RuntimeError, ValueError, OSError) as error:
            return b"", f"it could not be drawn: {error}"
        return path.read_bytes(), f"drawn from the recorded states by {drawn_by}{note}"


def _cut(run: RecordedRun) -> RecordedRun:
    rows = run.times_s <= LONGEST_VIDEO_S
    return RecordedRun(run.label, run.times_s[rows], run.observations[rows], run.motion, run.parameters)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
