"""``democtl evaluate``: closed-loop episodes in a simulator, without ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.table import Column, Table

from demo_control.bundle import default_bundle
from demo_control.cli.output import check_destinations, episode_progress, error_console, one_line_errors, write_json
from demo_control.configuration import parse_assignments
from demo_control.mpc import PRESETS, preset
from demo_control.parallel_evaluation import (
    EvaluationRequest,
    both_kinds_known,
    evaluate,
    make_scenario,
    split_settings,
)
from demo_control.tasks import load_task

EPISODES = 20
"""Number of episodes unless told otherwise."""


def command(
    task: Annotated[str, typer.Argument(help="Name of the task, for example cartpole.")],
    controller: Annotated[
        str, typer.Option(help="policy (alone), demo (policy + DeMo layer) or, in a scenario, constant.")
    ] = "demo",
    scenario: Annotated[str, typer.Option(help="What is tried, where the task offers several; see below.")] = "",
    episodes: Annotated[int | None, typer.Option(help="Number of episodes; 20, or the scenario's own.")] = None,
    steps: Annotated[int | None, typer.Option(help="Control periods of a scenario's episodes.")] = None,
    seed: Annotated[int, typer.Option(help="Of starts, noise, disturbances and plans.")] = 0,
    simulator: Annotated[str, typer.Option(help="Simulator; the task's first by default.")] = "",
    bundle: Annotated[Path | None, typer.Option(help="Bundle directory; the shipped one by default.")] = None,
    method: Annotated[str, typer.Option("--preset", help=f"Settings of the layer by name: {', '.join(PRESETS)}.")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value of plant, scenario or layer; may be given again.", metavar="NAME=VALUE"),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; as many as cores by default.")] = None,
    json_file: Annotated[str, typer.Option("--json", help="Write the result to FILE, '-' for standard output.")] = "",
) -> None:
    """Judge a controller over many episodes.

    Plant settings of the cart-pole: pole_mass, pole_length, cart_mass (factors), delay_ticks, observation_noise,
    push_n, push_s. Scenarios of stoch2: walk, track, push, slope, robust; --set scenario settings such as push_n,
    slope_deg, imu_noise_rad, latency_ms, ideal_sensing. Layer settings: see the parameters of demo_layer_node.
    """
    with one_line_errors(), both_kinds_known():
        check_destinations(json_file)
        plant, layer = split_settings(parse_assignments(settings or []))
        loaded = load_task(task)
        chosen = make_scenario(loaded, scenario, plant, steps)
        count = episodes if episodes is not None else EPISODES if chosen is None else chosen.num_episodes
        request = EvaluationRequest(
            task=task,
            bundle=bundle or default_bundle(task),
            controller=controller,
            simulator=loaded.simulator_or_first(simulator),
            episodes=count,
            seed=seed,
            plant=plant,
            layer={**(preset(method) if method else {}), **layer},
            scenario=scenario,
            steps=steps,
        )
        title = " · ".join(part for part in (task, scenario, controller, request.simulator) if part)
        with episode_progress(title, count) as progress:
            report = evaluate(request, lambda done: progress.advance(progress.task_ids[0], done), jobs)
        if json_file != "-":
            _print(report, () if chosen is None else chosen.cell_figures)
        if json_file:
            write_json(report, json_file)


def _print(report: dict[str, object], compared: tuple[str, ...]) -> None:
    """The report as a table, and one of the scenario's cells with the figures that are compared between them."""
    console = error_console()
    title = " · ".join(str(report[name]) for name in ("task", "scenario", "controller", "simulator") if name in report)
    table = Table(show_header=False, title=title)
    rows = {
        "success": f"{report['successes']} of {report['episodes']}",
        "95 % interval": " to ".join(f"{share:.1%}" for share in cast("list[float]", report["success_interval"])),
        "return": f"{report['return_mean']:.1f} ± {report['return_std']:.1f}",
    }
    for name in _figure_names(report):
        rows[_words(name)] = _with_interval(report, name)
    plan_ms = cast("dict[str, float] | None", report.get("plan_ms"))
    if plan_ms is not None:
        rows["plan time p50 / p99"] = f"{plan_ms['p50']:.1f} / {plan_ms['p99']:.1f} ms"
    planning = cast("dict[str, list[float]]", report.get("planning", {}))
    if planning:
        plans = max(sum(planning["plans"]), 1)
        rows["path length per plan"] = f"{sum(planning['path_length']) / plans:.3f}"
        if None not in planning["regret"]:
            rows["regret per plan"] = f"{sum(planning['regret']) / plans:.3f}"
    for name, text in rows.items():
        table.add_row(name, text)
    console.print(table)
    cells = cast("list[dict[str, object]]", report.get("cells", []))
    if cells:
        console.print(_cell_table(cells, compared))


def _cell_table(cells: list[dict[str, object]], names: tuple[str, ...]) -> Table:
    """One row for each of the scenario's cells."""
    table = Table(Column(no_wrap=True), Column("success", no_wrap=True), *(_words(name) for name in names))
    for cell in cells:
        figures = (f"{cell[name]:.3f}" if name in cell else "–" for name in names)
        table.add_row(str(cell["cell"]), f"{cell['successes']} of {cell['episodes']}", *figures)
    return table


def _figure_names(report: dict[str, object]) -> list[str]:
    """Names of the figures beside success and return."""
    names = (name for name, value in report.items() if value is not None and name != "return_mean")
    return [name for name in names if name.endswith(("_mean", "_rms"))]


def _words(name: str) -> str:
    return name.removesuffix("_mean").replace("_", " ")


def _with_interval(report: dict[str, object], name: str) -> str:
    """'0.123 (0.110 to 0.140)'."""
    interval = report.get(f"{name.removesuffix('_mean')}_interval")
    text = f"{report[name]:.3f}"
    return text if interval is None else f"{text} ({interval[0]:.3f} to {interval[1]:.3f})"  # type: ignore[index]
