"""The demonstration of a task over ROS: the policy alone beside policy + layer, as table, plot and video."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from demo_control.bringup.description import load_recipe
from demo_control.bringup.result import RunResult
from demo_control.bringup.run import run_bringup
from demo_control.configuration import ConfigurationError
from demo_control.report.run_plot import PlottedRun, write_run_plot
from demo_control.tasks import RecordedRun, Task
from demo_control.texts import first_line

LABELS = {False: "policy alone", True: "policy + DeMo Layer"}


@dataclass(frozen=True)
class Demonstration:
    """What a demonstration leaves behind.

    Attributes:
        task: What was shown.
        results: Without and with the layer.
        files: What was written, by kind: 'plot', 'video'.
        drawn_by: What drew the video, or '' if there is none.
        no_video: Why there is none although it was asked for, or ''.
    """

    task: Task
    results: tuple[RunResult, RunResult]
    files: Mapping[str, Path]
    drawn_by: str
    no_video: str = ""

    def summary(self) -> dict[str, object]:
        """All figures, ready for JSON."""
        return {
            "task": self.task.name,
            "policy": self.results[0].summary(),
            "demo": self.results[1].summary(),
            "files": {kind: str(path) for kind, path in self.files.items()},
            "drawn_by": self.drawn_by,
        }


def demonstrate(
    task: Task,
    arguments: Mapping[str, object],
    folder: Path,
    *,
    video: bool = True,
    progress: Callable[[str, float], None] = lambda _stage, _share: None,
) -> Demonstration:
    """Run the task's bring-up without and with the layer, from the same start, and draw both.

    Args:
        task: Must name its bring-up.
        arguments: Of the bring-up, by name; ``use_layer`` is set here.
        folder: Where plot and video go.
        video: Whether to draw the video.
        progress: Told the stage and its finished share.

    Raises:
        ConfigurationError: A task without bring-up, or wrong arguments.
        BringUpError: A run did not come to its end.
    """
    if not task.bringup:
        raise ConfigurationError(f"task '{task.name}' has no bring-up to demonstrate")
    recipe = load_recipe(task.bringup)
    results = []
    for use_layer, label in LABELS.items():
        chosen = recipe.arguments.from_mapping({**arguments, "use_layer": use_layer})

        def tell(elapsed_s: float, label: str = label, duration_s: float = chosen.duration) -> None:
            progress(label, elapsed_s / duration_s)

        results.append(run_bringup(recipe.make(chosen), progress=tell))
    files = {"plot": folder / f"{task.name}.png"}
    progress("plot", 0.0)
    write_run_plot(files["plot"], task, [_plotted(result) for result in results], _title(task, results))
    progress("plot", 1.0)
    drawn_by = no_video = ""
    if video and task.render_video is not None:
        path, recorded = folder / f"{task.name}.mp4", [_recorded(result) for result in results]
        try:
            drawn_by = task.render_video(path, recorded, lambda share: progress("video", share))
            files["video"] = path
        except (RuntimeError, ValueError) as error:
            no_video = first_line(error)
    return Demonstration(task, (results[0], results[1]), files, drawn_by, no_video)


def _label(result: RunResult) -> str:
    return LABELS[result.bringup.arguments.use_layer]


def _plotted(result: RunResult) -> PlottedRun:
    return PlottedRun(_label(result), result.recording, result.rewards())


def _recorded(result: RunResult) -> RecordedRun:
    truth = result.recording.true_observations
    return RecordedRun(_label(result), truth.times_s, truth.values)


def _title(task: Task, results: Sequence[RunResult]) -> str:
    arguments = dataclasses.asdict(results[0].bringup.arguments)
    simulator = f"{arguments['simulator']}, " if "simulator" in arguments else ""
    return f"{task.name}: seed {arguments['seed']}, {simulator}{arguments['duration']:g} s"


def comparison_table(demonstration: Demonstration) -> Table:
    """The two runs' figures side by side, for a terminal."""
    table = Table(title=f"{demonstration.task.name} over ROS 2", title_style="bold")
    table.add_column("")
    summaries = [result.summary() for result in demonstration.results]
    for result in demonstration.results:
        table.add_column(_label(result), justify="right")
    # A score may leave out what means nothing for a run, and need not know its figures before it has seen one.
    scores = dict.fromkeys(name for result in demonstration.results for name in result.score())
    for name in [*scores, "return", "cost"]:
        table.add_row(_words(name), *(_text(summary.get(name)) for summary in summaries))
    for name, text in (("plan_ms", "plan time p50 / p99"), ("command_age_ms", "command age p50 / p99")):
        table.add_row(text, *(_percentiles(summary[name]) for summary in summaries))
    table.add_row("overruns", *(f"{summary['overruns']} of {summary['plans']} plans" for summary in summaries))
    table.add_row("fallbacks", *(_fallbacks(summary) for summary in summaries))
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: object) -> str:
    """A figure as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _percentiles(value: object) -> str:
    """'2.1 / 3.4 ms', or a dash where there is no data."""
    if not isinstance(value, dict) or value["p50"] is None:
        return "–"
    return f"{value['p50']:.2f} / {value['p99']:.2f} ms"


def _fallbacks(summary: Mapping[str, object]) -> str:
    """Reasons with their counts, of all commands."""
    reasons = summary["fallbacks"]
    if not isinstance(reasons, dict) or not reasons:
        return f"0 of {summary['commands']} commands"
    told = ", ".join(f"{_words(reason)} {count}" for reason, count in reasons.items())
    return f"{told} of {summary['commands']}"
