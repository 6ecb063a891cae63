"""democtl presets: the methods that the planner's frame contains."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from demo_control.cli.output import one_line_errors, write_json
from demo_control.mpc.presets import PRESETS, Preset, settings_of

_WIDTH = 90
"""Of the table; a narrower terminal shows it folded rather than cut off."""


def command(
    output: Annotated[str, typer.Option("--json", metavar="FILE", help="Write all settings there; - for here.")] = "",
) -> None:
    """Print the presets: what each method is as settings of the planner.

    Use one with `democtl evaluate TASK --preset NAME`.
    """
    if output:
        with one_line_errors():
            write_json({name: {"source": row.source, **row.settings} for name, row in PRESETS.items()}, output)
        return
    table = Table(
        "preset", "utility", "shift", "end cost", "α", "steps", "plans for", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for row in PRESETS.values():
        table.add_row(*_cells(row))
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    console.print(table)
    for row in PRESETS.values():
        console.print(f"{row.name} ({row.source}): {row.text}", markup=False, soft_wrap=True)


def _cells(row: Preset) -> list[str]:
    """One line of the table."""
    settings = settings_of(row.name)
    utility = settings.utility if settings.mirror_steps else "none"
    alpha = f"{settings.step_size:g}"
    return [row.name, utility, settings.shift, row.terminal_cost, alpha, row.mirror_steps, row.used_for]
