"""A scenario shown: the policy alone beside policy + layer, in this process, from the same start and seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from demo_control.bundle import load_bundle
from demo_control.configuration import Scalar
from demo_control.controllers import Controller, LayerController, make_controller
from demo_control.evaluation import run_episodes
from demo_control.layer import LayerSettings, PlanReport
from demo_control.scenarios import ShownRun, ShowScenario, make_trials
from demo_control.tasks import Array, Task
from demo_control.texts import first_line

LABELS = {"policy": "policy alone", "demo": "policy + DeMo Layer"}
Tell = Callable[[str, float], None]


class WatchedController:
    """Keeps what a controller of one plant says while it acts; a :class:`~demo_control.controllers.Controller`.

    Args:
        controller: What acts.
        period_s: Control period.
    """

    def __init__(self, controller: Controller, period_s: float) -> None:
        self._controller = controller
        self._period_s = period_s
        self._ticks = 0
        self._fallbacks: Counter[str] = Counter()
        self._fallback_times_s: dict[str, list[float]] = {}
        self.plan_times_s: list[float] = []
        self.reports: list[PlanReport] = []

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """See :class:`~demo_control.controllers.Controller`."""
        self._controller.reset(generators)

    def act(self, observations: Array) -> Array:
        """See :class:`~demo_control.controllers.Controller`."""
        actions = self._controller.act(observations)
        if isinstance(self._controller, LayerController):
            self._watch(self._controller)
        self._ticks += 1
        return actions

    def _watch(self, controller: LayerController) -> None:
        """Note a new plan, and an action that passed through."""
        time_s = self._ticks * self._period_s
        newest = controller.reports[0] if controller.reports else None
        last = self.reports[-1] if self.reports else None
        if newest is not None and newest is not last:
            self.reports.append(newest)
            self.plan_times_s.append(time_s)
        fallbacks = controller.counters[0].fallbacks
        for reason in fallbacks - self._fallbacks:
            self._fallback_times_s.setdefault(reason, []).append(time_s)
        self._fallbacks = Counter(fallbacks)

    @property
    def fallback_times_s(self) -> Mapping[str, Array]:
        """By reason, when the nominal action passed through."""
        return {reason: np.array(times) for reason, times in sorted(self._fallback_times_s.items())}


@dataclass(frozen=True)
class ScenarioDemonstration:
    """What a demonstration leaves behind.

    Attributes:
        task: What was shown.
        runs: Without and with the layer.
        files: What was written, by kind.
        scenario: The scenario.
        no_video: Why there is none, or ''.
    """

    task: Task
    runs: tuple[ShownRun, ...]
    files: Mapping[str, Path]
    scenario: ShowScenario
    no_video: str = ""

    def summary(self) -> dict[str, object]:
        """All figures, ready for JSON."""
        return {
            "task": self.task.name,
            **{kind: summary_of(run) for kind, run in zip(LABELS, self.runs, strict=True)},
            "settings": self.scenario.settings.as_mapping(),
            "files": {kind: str(path) for kind, path in self.files.items()},
        }


def summary_of(run: ShownRun) -> dict[str, object]:
    """A run's figures: the scenario's, and those of the planner."""
    accepted = sum(report.accepted for report in run.reports)
    return {
        **run.figures,
        "plans": len(run.reports),
        "plans_accepted": accepted,
        "plan_ms": _percentiles_ms([report.plan_time_s for report in run.reports]),
        "fallbacks": {reason: len(times) for reason, times in run.fallbacks.items()},
        "commands": len(run.trial.actions),
    }


def _percentiles_ms(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000.0
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def demonstrate_scenario(
    task: Task, scenario: ShowScenario, bundle: Path, folder: Path, *, simulator: str, seed: int,
    layer: Mapping[str, Scalar] | None = None, video: bool = True,
    progress: Tell = lambda _stage, _share: None,
) -> ScenarioDemonstration:  # fmt: skip
    """Run episode 0 of a scenario without and with the layer, and draw both.

    Args:
        task: The task.
        scenario: What is shown.
        bundle: Directory of the bundle.
        folder: Where the files go.
        simulator: One of the task's.
        seed: Of the episode and of the plans.
        layer: Settings of the layer that differ from the task's, by name.
        video: Whether to draw a video.
        progress: Told the stage and its finished share.

    Raises:
        ConfigurationError: A simulator that is unknown or missing.
        BundleError: A bundle that must not be used.
    """
    runs = []
    for kind, label in LABELS.items():
        settings = LayerSettings.for_task(task, layer)
        controller = make_controller(kind, task, load_bundle(bundle, task), settings, 1)
        runs.append(_run(task, scenario, controller, label, simulator, seed, progress))
    no_video = ""
    try:
        files = scenario.show(runs, folder, video=video, progress=progress)
    except RuntimeError as error:
        if not video:
            raise
        # What was walked, and its plot, are not to be lost with the video.
        files, no_video = scenario.show(runs, folder, video=False, progress=progress), first_line(error)
    return ScenarioDemonstration(task, tuple(runs), files, scenario, no_video)


def _run(
    task: Task, scenario: ShowScenario, controller: Controller, label: str, simulator: str, seed: int, progress: Tell
) -> ShownRun:
    """One controller's run."""
    watched = WatchedController(controller, task.control_period_s)
    plants = scenario.make_plants(simulator, seed, [0])
    try:
        episodes = run_episodes(
            task, plants, watched, seed, num_steps=scenario.num_steps,
            progress=lambda done, steps: progress(label, done / steps),
        )  # fmt: skip
        trial = make_trials(plants, episodes, 0, task.control_period_s)[0]
    finally:
        plants.close()
    return ShownRun(
        label=label,
        trial=trial,
        figures=scenario.judge(trial),
        plan_times_s=np.array(watched.plan_times_s),
        reports=tuple(watched.reports),
        fallbacks=watched.fallback_times_s,
    )


def scenario_table(demonstration: ScenarioDemonstration) -> Table:
    """The runs' figures side by side, for a terminal."""
    table = Table(title=f"{demonstration.task.name}: the same walk and the same pushes", title_style="bold")
    table.add_column("")
    for run in demonstration.runs:
        table.add_column(run.label, justify="right")
    for name, text in demonstration.scenario.words.items():
        table.add_row(text, *(_text(run.figures.get(name)) for run in demonstration.runs))
    summaries = [summary_of(run) for run in demonstration.runs]
    table.add_row("plans in use", *(_share(s["plans_accepted"], s["plans"], "plans") for s in summaries))
    table.add_row("plan time p50 / p99", *(_times(summary["plan_ms"]) for summary in summaries))
    table.add_row("policy passed through", *(_fallbacks(run) for run in demonstration.runs))
    return table


def _text(value: float | bool | None) -> str:
    """A figure as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}"


def _share(part: object, whole: object, of_what: str) -> str:
    return f"{part} of {whole} {of_what}" if whole else "–"


def _times(value: object) -> str:
    return f"{value['p50']:.1f} / {value['p99']:.1f} ms" if isinstance(value, dict) else "–"


def _fallbacks(run: ShownRun) -> str:
    """How often, of all commands, and why."""
    if not run.reports:
        return "always"
    told = ", ".join(f"{reason.replace('_', ' ')} {len(times)}" for reason, times in run.fallbacks.items())
    return f"{told or '0'} of {len(run.trial.actions)}"
