"""democtl: the sub-commands by name.

Each lives in its own module, which holds either a typer ``app`` or a function ``command``. A module is imported when
its command is called: evaluating needs no ROS 2, launching needs no torch.
"""

from __future__ import annotations

import importlib
import io
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from demo_control.cli.output import EXIT_DEFECT, fail

_COMMANDS = {
    "launch": "Run a robot over ROS 2, without `ros2 launch`.",
    "record": "Record a running robot's topics.",
    "bag": "Look at recordings, mend them, answer them again.",
    "report": "Write a page about recordings.",
    "view": "Show a running robot, or a recording, in the viewer Rerun.",
    "teleop": "Drive a robot with the keyboard.",
    "evaluate": "Judge a controller over many episodes, without ROS.",
    "train": "Train a policy and its model, and make a bundle of them.",
    "experiment": "Run a study of training methods from one specification, and report on it.",
    "presets": "Print the methods that the planner contains, as settings.",
    "bundle": "Look at model bundles and validate them.",
    "tune": "Propose samples, horizon, threads and engine that hold a deadline on this machine.",
    "doctor": "Say what this machine will hold, and what to change on it.",
    "bench": "Run a benchmark of the source tree.",
    "faults": "Break everything, one thing at a time, and judge what the robot did.",
    "hardware": "Look at a real robot's devices, or emulate them.",
    "security": "Make and look at a keystore, so that only our nodes command the robot.",
    "demo": "Show the policy alone beside the policy with the DeMo Layer.",
}


class _LazyGroup(TyperGroup):
    """Finds sub-commands in :data:`_COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer's context type has no public name
        """All names, whether or not what they need is installed."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - see above
        """Import the command's module; None for an unknown name."""
        return _load(cmd_name) if cmd_name in _COMMANDS else None


def _load(name: str) -> Any:  # noqa: ANN401 - typer's command type has no public name
    """The command of a module."""
    try:
        module = importlib.import_module(f"demo_control.cli.{name}")
    except ImportError as error:
        app = _unavailable(name, error.name or str(error))
    else:
        app = getattr(module, "app", None) or _single(name, module.command)
    command = typer.main.get_command(app)
    command.name = name
    return command


def _single(name: str, function: Any, **options: Any) -> typer.Typer:  # noqa: ANN401 - any command function
    """An app of one command."""
    app = typer.Typer(add_completion=False)
    app.command(name, **options)(function)
    return app


def _unavailable(name: str, missing: str) -> typer.Typer:
    """Stands for a command that lacks a package, so that the others and --help still work."""

    def command() -> None:
        fail(f"{name} needs the Python package '{missing}', which is not installed")

    # It swallows all arguments, --help too: what is missing is what matters.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    return _single(name, command, help=_COMMANDS[name], context_settings=settings)


app = typer.Typer(cls=_LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _democtl() -> None:
    """DeMo Control: a frozen policy, corrected online by mirror-descent MPC on a learned model."""


def main() -> None:
    """Run democtl; an error that nobody expected ends it with a traceback and a code that is no verdict."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the terminal's encoding lacks, an α for instance, is shown as '?'; Python would raise.
        sys.stdout.reconfigure(errors="replace")
    try:
        app()
    except Exception:  # all of them: that is what this is for
        traceback.print_exc()
        sys.exit(EXIT_DEFECT)


if __name__ == "__main__":
    main()
