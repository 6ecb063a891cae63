"""``democtl evaluate``: closed-loop episodes in a simulator, without ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.table import Table

from demo_control.bundle import default_bundle
from demo_control.cli.output import episode_progress, error_console, one_line_errors, write_json
from demo_control.configuration import parse_assignments
from demo_control.mpc import PRESETS, preset
from demo_control.parallel_evaluation import EvaluationRequest, evaluate, split_settings
from demo_control.tasks import load_task


def command(
    task: Annotated[str, typer.Argument(help="Name of the task, for example cartpole.")],
    controller: Annotated[str, typer.Option(help="policy (alone) or demo (policy + DeMo layer).")] = "demo",
    episodes: Annotated[int, typer.Option(help="Number of episodes.")] = 20,
    seed: Annotated[int, typer.Option(help="Of starts, noise, disturbances and plans.")] = 0,
    simulator: Annotated[str, typer.Option(help="Simulator; the task's first by default.")] = "",
    bundle: Annotated[Path | None, typer.Option(help="Bundle directory; the shipped one by default.")] = None,
    method: Annotated[str, typer.Option("--preset", help=f"Settings of the layer by name: {', '.join(PRESETS)}.")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value of the plant or the layer; may be given again.", metavar="NAME=VALUE"),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; as many as cores by default.")] = None,
    json_file: Annotated[str, typer.Option("--json", help="Write the result to FILE, '-' for standard output.")] = "",
) -> None:
    """Judge a controller over many episodes.

    Plant settings of the cart-pole: pole_mass, pole_length, cart_mass (factors), delay_ticks, observation_noise,
    push_n, push_s. Layer settings: see the parameters of demo_layer_node.
    """
    with one_line_errors():
        plant, layer = split_settings(parse_assignments(settings or []))
        request = EvaluationRequest(
            task=task,
            bundle=bundle or default_bundle(task),
            controller=controller,
            simulator=simulator or load_task(task).simulators[0],
            episodes=episodes,
            seed=seed,
            plant=plant,
            layer={**(preset(method) if method else {}), **layer},
        )
        with episode_progress(f"{task} · {controller} · {request.simulator}", episodes) as progress:
            report = evaluate(request, lambda done: progress.advance(progress.task_ids[0], done), jobs)
        if json_file:
            write_json(report, json_file)
    if json_file != "-":
        _print(report)


def _percent(interval: object) -> str:
    """A pair of shares as percentages."""
    return " to ".join(f"{share:.1%}" for share in cast("list[float]", interval))


def _print(report: dict[str, object]) -> None:
    """The report as a short table."""
    table = Table(show_header=False, title=f"{report['task']}: {report['controller']} in {report['simulator']}")
    rows = {
        "success": f"{report['successes']} of {report['episodes']}",
        "95 % interval": _percent(report["success_interval"]),
        "return": f"{report['return_mean']:.1f} ± {report['return_std']:.1f}",
    }
    for name, value in report.items():
        if name.endswith("_mean") and name != "return_mean":
            rows[name.removesuffix("_mean").replace("_", " ")] = f"{value:.3f}"
    for name, text in rows.items():
        table.add_row(name, text)
    error_console().print(table)
