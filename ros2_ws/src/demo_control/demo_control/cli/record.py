"""``democtl record``: record what runs in this ROS domain, until Ctrl-C."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from demo_control.bringup.supervisor import prepare_environment
from demo_control.cli.output import fail, one_line_errors
from demo_control.security.environment import join_secured
from demo_control.security.roles import RECORDER


def command(
    out: Annotated[
        Path | None, typer.Option(help="Folder of the bag; out/bags/<date and time> by default.", show_default=False)
    ] = None,
) -> None:
    """Record all topics of this ROS domain to a bag, until Ctrl-C."""
    with one_line_errors():
        prepare_environment()
    try:
        from rclpy.parameter import Parameter  # noqa: PLC0415 - only this needs ROS 2

        from demo_control.nodes.recorder_node import RecorderNode  # noqa: PLC0415 - see above
        from demo_control.nodes.running import run  # noqa: PLC0415 - see above
    except ImportError as error:
        fail(f"record needs ROS 2: Python cannot import '{error.name}'")
    folder = out or Path("out", "bags", datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
    directory = Parameter("directory", value=str(folder))
    with one_line_errors():
        code = run(lambda: RecorderNode(parameter_overrides=[directory]), ["democtl", *join_secured(RECORDER)])
    raise typer.Exit(code)
