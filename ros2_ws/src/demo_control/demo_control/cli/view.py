"""``democtl view``: a running robot, or a recording, in the viewer Rerun."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demo_control.bags.errors import BagError
from demo_control.cli.output import error_console, fail, one_line_errors, warn
from demo_control.security.environment import join_secured
from demo_control.security.roles import VIEWER

if TYPE_CHECKING:
    import rerun as rr


def command(
    bag: Annotated[
        Path | None,
        typer.Argument(help="Folder or file of a recording; the running robot without.", show_default=False),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write to FILE.rrd instead of opening the viewer.", metavar="FILE.rrd")
    ] = None,
) -> None:
    """Show the robot, its plans, commands, costs, times and fallbacks, live or from a recording.

    A recording's plans are made again, so that it can be seen where each would have led. `rerun FILE.rrd` opens what
    was saved. Live it only listens, in this process, and nothing waits for it.
    """
    try:
        import rerun  # noqa: F401, PLC0415 - an extra
    except ImportError:
        fail("view needs Rerun, which is not installed: python -m pip install 'demo-stack[view]'")
    with one_line_errors():
        try:
            if bag is not None:
                _show_bag(bag, save)
            else:
                _show_robot(save)
        except BagError as error:
            fail(str(error))


def _show_bag(bag: Path, save: Path | None) -> None:
    from demo_control.viewing.from_bag import show_bag  # noqa: PLC0415 - needs the extra

    console = error_console()
    stream = _stream(save)
    with console.status("") as status:
        notes = show_bag(bag, stream, status.update)
    for line in notes:
        warn(line)
    if save is not None:
        stream.disconnect()
        console.print(f"saved: {save}; 'rerun {save}' shows it", markup=False, soft_wrap=True)


def _show_robot(save: Path | None) -> None:
    from demo_control.bringup.supervisor import prepare_environment  # noqa: PLC0415 - needs ROS 2

    prepare_environment()
    try:
        from demo_control.nodes.running import run  # noqa: PLC0415 - see above
        from demo_control.nodes.viewer_node import ViewerNode  # noqa: PLC0415 - see above
    except ImportError as error:
        fail(f"view of a running robot needs ROS 2: Python cannot import '{error.name}'")
    arguments = join_secured(VIEWER)
    stream = _stream(save)
    code = run(lambda: ViewerNode(stream), ["democtl", *arguments])
    stream.disconnect()
    raise typer.Exit(code)


def _stream(save: Path | None) -> rr.RecordingStream:
    """Into a file, or to a viewer that is opened."""
    import rerun as rr  # noqa: PLC0415 - an extra

    from demo_control.viewing.scene import saved_to  # noqa: PLC0415 - needs the extra

    if save is not None:
        return saved_to(save)
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        fail("there is no screen here: --save FILE.rrd writes what 'rerun FILE.rrd' shows elsewhere")
    stream = rr.RecordingStream("DeMo Control")
    stream.spawn()
    return stream
