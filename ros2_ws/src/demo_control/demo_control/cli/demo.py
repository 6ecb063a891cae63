"""``democtl demo``: the policy alone beside policy + layer, with table, plot and video; over real ROS 2 processes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo_control.bringup.description import load_recipe
from demo_control.bundle import default_bundle
from demo_control.cli.output import (
    EXIT_USAGE,
    check_destinations,
    error_console,
    fail,
    one_line_errors,
    warn,
    write_json,
)
from demo_control.configuration import ConfigurationError, Scalar, parse_assignments
from demo_control.files import check_folder
from demo_control.parallel_evaluation import both_kinds_known, make_scenario, split_settings
from demo_control.report.scenario_demonstration import ScenarioDemonstration, demonstrate_scenario, scenario_table
from demo_control.scenarios import ShowScenario
from demo_control.tasks import Task, load_task

if TYPE_CHECKING:
    from demo_control.bringup.result import RunResult

_FAILED = EXIT_USAGE - 1
Tell = Callable[[str, float], None]


def command(
    task: Annotated[str, typer.Argument(help="Name of the task, for example stoch2.")],
    duration: Annotated[float, typer.Option(min=1.0, help="Length of each run in seconds.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="Of start, noise and plans.")] = 0,
    simulator: Annotated[str, typer.Option(help="Simulator; the task's first by default.")] = "",
    bundle: Annotated[Path | None, typer.Option(help="Bundle directory; the shipped one by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for plot and video.")] = Path("out"),
    video: Annotated[bool, typer.Option(help="Draw the video.")] = True,
    live: Annotated[
        float, typer.Option(min=0.0, help="Seconds over ROS 2 where the runs themselves are not; 0 for none.")
    ] = 12.0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="name=value of what is shown, or of the layer; may be given again.", metavar="NAME=VALUE"
        ),
    ] = None,
    json_file: Annotated[str, typer.Option("--json", help="Write the result to FILE, '-' for standard output.")] = "",
) -> None:
    """Show what the DeMo Layer does for a task.

    A task that has a walk to show is shown in this process, faster than real time and the same on every machine; a
    short run over ROS 2 in real time follows. Other tasks are shown over ROS 2.
    """
    with one_line_errors(), both_kinds_known():
        check_folder(out)
        check_destinations(json_file)
        loaded = load_task(task)
        chosen = loaded.simulator_or_first(simulator)
        if chosen not in loaded.simulators:
            raise ConfigurationError(f"simulator = '{chosen}': must be one of {', '.join(loaded.simulators)}")
        common = _common_arguments(loaded, chosen, {"seed": seed, "bundle": str(bundle or "")})
        values, layer = split_settings(parse_assignments(settings or []))
        scenario = _shown(loaded, values, round(duration / loaded.control_period_s))
        if scenario is None and (values or layer):
            raise ConfigurationError(f"--set: task '{task}' is shown as it is")
        if scenario is None:
            report = _over_ros(loaded, {**common, "duration": duration}, out, video, json_file)
        else:
            show = functools.partial(
                demonstrate_scenario, loaded, scenario, bundle or default_bundle(task), out,
                simulator=chosen, seed=seed, layer=layer, video=video,
            )  # fmt: skip
            report = _in_process(show, json_file)
            if live > 0.0:
                report["live"] = _live(loaded, {**common, "duration": live, "use_layer": True}, json_file)
        if json_file:
            write_json(report, json_file)


def _common_arguments(task: Task, simulator: str, others: dict[str, object]) -> dict[str, object]:
    """Arguments of the task's bring-up, the simulator among them where it has a choice of them.

    Raises:
        ConfigurationError: A simulator other than the first is wanted, and it has no choice.
    """
    if not task.bringup:
        return others
    if any(entry.name == "simulator" for entry in load_recipe(task.bringup).arguments.entries()):
        return {**others, "simulator": simulator}
    if simulator != task.simulators[0]:
        raise ConfigurationError(f"simulator = '{simulator}': bring-up '{task.bringup}' has no choice of simulators")
    return others


def _shown(task: Task, values: Mapping[str, Scalar], steps: int) -> ShowScenario | None:
    """The task's scenario that is made for being looked at."""
    for name in task.scenarios:
        if isinstance(make_scenario(task, name), ShowScenario):
            scenario = make_scenario(task, name, values, steps)
            return scenario if isinstance(scenario, ShowScenario) else None
    return None


@contextmanager
def _bars() -> Iterator[Tell]:
    """A progress bar for each stage; yields what is told a stage and its finished share."""
    columns = (TextColumn("{task.description:<22}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=error_console()) as progress:
        bars = {}

        def tell(stage: str, share: float) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=1.0)
            progress.update(bars[stage], completed=min(share, 1.0))

        yield tell


def _in_process(show: Callable[..., ScenarioDemonstration], json_file: str) -> dict[str, object]:
    """Show a scenario; returns all figures."""
    with _bars() as tell:
        demonstration = show(progress=tell)
    _tell_of_no_video(demonstration.no_video)
    if json_file != "-":
        error_console().print(scenario_table(demonstration))
        _print_files(demonstration.files)
    return demonstration.summary()


def _tell_of_no_video(reason: str) -> None:
    if reason:
        warn(f"no video: {reason}")


def _print_files(files: Mapping[str, Path]) -> None:
    for kind, path in files.items():
        error_console().print(f"{kind}: {path}", soft_wrap=True, markup=False)


def _live(task: Task, arguments: dict[str, object], json_file: str) -> dict[str, object] | None:
    """Run the task's bring-up with the layer in real time; returns its figures, or None where there is no ROS 2."""
    if not task.bringup:
        return None
    try:
        from demo_control.bringup.run import run_bringup  # noqa: PLC0415 - only this needs ROS 2
    except ImportError as error:
        error_console().print(f"no run over ROS 2: Python cannot import '{error.name}'", style="yellow")
        return None
    from demo_control.cli.launch import summary_table  # noqa: PLC0415 - so does this

    recipe = load_recipe(task.bringup)
    chosen = recipe.arguments.from_mapping(arguments)
    with _bars() as tell, _failures():
        result: RunResult = run_bringup(
            recipe.make(chosen), progress=lambda elapsed_s: tell("live over ROS 2", elapsed_s / chosen.duration)
        )
    summary = result.summary()
    if json_file != "-":
        error_console().print(summary_table(summary))
    return summary


@contextmanager
def _failures() -> Iterator[None]:
    """Turn a run that did not come to its end into its text and exit code 1."""
    from demo_control.bringup.run import BringUpError  # noqa: PLC0415 - needs ROS 2

    try:
        yield
    except BringUpError as error:
        error_console().print(f"democtl: {error}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(_FAILED) from None


def _over_ros(task: Task, arguments: dict[str, object], out: Path, video: bool, json_file: str) -> dict[str, object]:
    """Show the task's bring-up without and with the layer; returns all figures."""
    try:
        from demo_control.report.demonstration import comparison_table, demonstrate  # noqa: PLC0415 - needs ROS 2
    except ImportError as error:
        fail(f"demo {task.name} needs ROS 2 and demo_msgs: Python cannot import '{error.name}'")
    with _failures(), _bars() as tell:
        demonstration = demonstrate(task, arguments, out, video=video, progress=tell)
    _tell_of_no_video(demonstration.no_video)
    if json_file != "-":
        error_console().print(comparison_table(demonstration))
        for kind, path in demonstration.files.items():
            note = f" (drawn by {demonstration.drawn_by})" if kind == "video" else ""
            error_console().print(f"{kind}: {path}{note}", soft_wrap=True, markup=False)
    return demonstration.summary()
