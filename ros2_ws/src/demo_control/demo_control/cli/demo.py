"""``democtl demo``: the policy alone beside policy + layer, over real ROS 2 processes, with table, plot and video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo_control.bringup.run import BringUpError
from demo_control.cli.output import EXIT_USAGE, error_console, one_line_errors, write_json
from demo_control.report.demonstration import Demonstration, comparison_table, demonstrate
from demo_control.tasks import load_task


def command(
    task: Annotated[str, typer.Argument(help="Name of the task, for example cartpole.")],
    duration: Annotated[float, typer.Option(help="Length of each run in seconds.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of start and plans.")] = 0,
    simulator: Annotated[str, typer.Option(help="Simulator; the task's first by default.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for plot and video.")] = Path("out"),
    video: Annotated[bool, typer.Option(help="Draw the video.")] = True,
    json_file: Annotated[str, typer.Option("--json", help="Write the result to FILE, '-' for standard output.")] = "",
) -> None:
    """Show what the DeMo Layer does for a task."""
    console = error_console()
    columns = (TextColumn("{task.description:<22}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    demonstration: Demonstration | None = None
    with one_line_errors():
        loaded = load_task(task)
        arguments = {
            "duration": duration,
            "seed": seed,
            "simulator": simulator or loaded.simulators[0],
        }
        with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
            bars = {}

            def tell(stage: str, share: float) -> None:
                if stage not in bars:
                    bars[stage] = progress.add_task(stage, total=1.0)
                progress.update(bars[stage], completed=min(share, 1.0))

            try:
                demonstration = demonstrate(loaded, arguments, out, video=video, progress=tell)
            except BringUpError as error:
                progress.stop()
                console.print(f"democtl: {error}", style="red", soft_wrap=True, markup=False)
                raise typer.Exit(EXIT_USAGE - 1) from None
        if json_file:
            write_json(demonstration.summary(), json_file)
    if demonstration is not None and json_file != "-":
        console.print(comparison_table(demonstration))
        for kind, path in demonstration.files.items():
            note = f" (drawn by {demonstration.drawn_by})" if kind == "video" else ""
            console.print(f"{kind}: {path}{note}", soft_wrap=True, markup=False)
