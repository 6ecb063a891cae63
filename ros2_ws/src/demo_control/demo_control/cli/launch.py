"""``democtl launch``: run a bring-up and report; its arguments come from the bring-up's description."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from typer.core import TyperGroup

from demo_control.bags.errors import BagError
from demo_control.bags.info import bag_info
from demo_control.bringup.description import BringUp, Recipe, bringup_names, load_recipe
from demo_control.bringup.result import REFUSED
from demo_control.cli.output import (
    EXIT_INTERRUPTED,
    check_destinations,
    error_console,
    fail,
    one_line_errors,
    warn,
    write_json,
)
from demo_control.configuration import ConfigurationError, Entry, Settings, parse_assignments

_FAILED = 1

_TOLD_OTHERWISE = ("use_layer", "seed", "real_time_factor", "observations", "commands", "plans", "overruns")
"""Figures that the table shows in its title or in rows of several."""

_JSON_OPTION = typer.Option("--json", help="Write the result to FILE, '-' for standard output.", metavar="FILE")
_VERBOSE_OPTION = typer.Option("--verbose", help="Show what the nodes say.")


class _BringUps(TyperGroup):
    """Says what is wrong with bring-ups that are broken, and names the known ones when asked for an unknown one."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer has no public names for these
        """All names of bring-ups that can be run; a warning for each other one."""
        for name in bringup_names():
            if name not in self.commands:
                try:
                    load_recipe(name)
                except ConfigurationError as error:
                    warn(f"democtl: {error}")
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - see above
        """The bring-up's command."""
        command = super().get_command(ctx, cmd_name)
        if command is None and not ctx.resilient_parsing:
            with one_line_errors():
                load_recipe(cmd_name)
        return command


def _make_app() -> typer.Typer:
    """One command per installed bring-up; a broken one takes no other down."""
    group = typer.Typer(cls=_BringUps, no_args_is_help=True, add_completion=False)
    group.callback()(_launch)
    for name in bringup_names():
        try:
            recipe = load_recipe(name)
        except ConfigurationError:
            continue
        group.command(name, help=recipe.text)(_command_of(name, recipe))
    return group


def _launch() -> None:
    """Run a robot over ROS 2, without `ros2 launch`."""


def _command_of(name: str, recipe: Recipe[Any]) -> Any:  # noqa: ANN401 - a function whose signature is made here
    """The function behind ``democtl launch <name>``, with one option per argument."""

    def command(json_file: str, verbose: bool, **texts: str | None) -> None:
        with one_line_errors():
            check_destinations(json_file)
            bringup = recipe.make(_arguments(recipe.arguments, texts))
            _run(bringup, json_file, verbose)

    parameters = [_option(entry) for entry in recipe.arguments.entries()]
    for option_name, annotation, default in (
        ("json_file", Annotated[str, _JSON_OPTION], ""),
        ("verbose", Annotated[bool, _VERBOSE_OPTION], False),
    ):
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(option_name, kind, default=default, annotation=annotation))
    command.__name__ = name
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # functions may have one
    return command


def _option(entry: Entry) -> inspect.Parameter:
    """The option of one argument; texts are read by the settings, so that all errors sound the same."""
    kinds = {bool: "true|false", int: "N", float: "NUMBER", str: "TEXT"}
    option = typer.Option(
        "--" + entry.name.replace("_", "-"),
        help=entry.description.text,
        metavar="|".join(entry.description.choices) or kinds[entry.type],
        show_default=_text(entry.default) or "none",
    )
    annotation = Annotated[str | None, option]
    return inspect.Parameter(entry.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _arguments(settings: type[Settings], texts: dict[str, str | None]) -> Settings:
    """The arguments of a bring-up from the command line's texts.

    Raises:
        ConfigurationError: Names the option, its value and what is allowed.
    """
    arguments = settings()
    for entry in settings.entries():
        text = texts[entry.name]
        if text is None:
            continue
        option = "--" + entry.name.replace("_", "-")
        try:
            value = text if entry.type is str else parse_assignments([f"{entry.name}={text}"])[entry.name]
            arguments = settings.from_mapping({entry.name: value}, base=arguments)
        except ConfigurationError as error:
            reason = str(error).removeprefix(f"{settings.__name__}.{entry.name} = ")
            raise ConfigurationError(f"{option}: {reason}") from None
    return arguments


def _run(bringup: BringUp, json_file: str, verbose: bool) -> None:
    """Run, print and write; ends with code 1 if the run did not come to its end."""
    try:
        from demo_control.bringup.run import (  # noqa: PLC0415 - only this needs ROS 2
            BringUpError,
            RunInterruptedError,
            run_bringup,
        )
    except ImportError as error:
        fail(f"launch needs ROS 2 and demo_msgs: Python cannot import '{error.name}'")
    try:
        with _progress(bringup) as told:
            result = run_bringup(bringup, echo=verbose, progress=told)
    except RunInterruptedError:
        error_console().print("democtl: interrupted, all nodes have ended", style="yellow")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BringUpError as error:
        error_console().print(f"democtl: {error}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(_FAILED) from None
    summary = result.summary()
    if bringup.arguments.record:
        summary["recording"] = _recording(bringup.arguments.record, result.recorder)
    if json_file != "-":
        error_console().print(summary_table(summary))
    if json_file:
        write_json(summary, json_file)


def _recording(folder: str, health: str) -> dict[str, object]:
    """What was recorded, shortly; ``health`` is what the recorder said last."""
    try:
        info = bag_info(Path(folder))
    except BagError as error:
        return {"bag": folder, "messages": 0, "complete": False, "warnings": [health, str(error)]}
    warnings = [*cast("list[str]", info["damage"]), *cast("list[str]", info["warnings"])]
    if not info["complete"]:
        warnings.insert(0, f"the recorder said last: {health or 'nothing'}")
    names = ("bag", "messages", "bytes", "missing", "gaps", "complete")
    return {**{name: info[name] for name in names}, "warnings": warnings}


@contextmanager
def _progress(bringup: BringUp) -> Iterator[Callable[[float], None]]:
    """A bar of simulated seconds on standard error; yields the function that is told them."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.1f} of {task.total:.1f} s"),
    )
    with Progress(*columns, console=error_console(), transient=True) as progress:
        bar = progress.add_task(bringup.name, total=bringup.arguments.duration)
        yield lambda elapsed_s: progress.update(bar, completed=elapsed_s)


def summary_table(summary: dict[str, object]) -> Table:
    """A run's figures for people."""

    def milliseconds(name: str) -> str:
        figures = cast("dict[str, float | None]", summary[name])
        return "none" if figures["p50"] is None else f"{figures['p50']:.1f} / {figures['p99']:.1f} ms"

    fallbacks = cast("dict[str, int]", summary["fallbacks"])
    controller = "policy + DeMo Layer" if summary["use_layer"] else "policy alone"
    table = Table(title=f"{summary['bringup']}: {controller}, seed {summary['seed']}", show_header=False)
    for name, value in summary.items():
        if name not in _TOLD_OTHERWISE and isinstance(value, (bool, int, float)):
            table.add_row(name.replace("_", " "), _figure(value))
    table.add_row("plan time p50 / p99", milliseconds("plan_ms"))
    table.add_row("command age p50 / p99", milliseconds("command_age_ms"))
    ages = cast("dict[str, float | None]", summary.get("command_age_at_driver_ms", {}))
    if ages.get("p50") is not None:
        shown = " / ".join(f"{ages[name]:.2f}" for name in ("p50", "p99", "p99.9"))
        table.add_row("at the driver p50 / p99 / p99.9", f"{shown} ms")
    table.add_row("commands, plans, overruns", f"{summary['commands']}, {summary['plans']}, {summary['overruns']}")
    table.add_row("passed through", ", ".join(f"{count} {reason}" for reason, count in fallbacks.items()) or "none")
    recording = cast("dict[str, Any] | None", summary.get("recording"))
    if recording:
        table.add_row("recording", escape(f"{recording['bag']}, {recording['messages']} messages"))
        for line in recording["warnings"]:
            table.add_row("[yellow]recording[/yellow]", escape(line))
        for what, count in recording.get("missing", {}).items():
            table.add_row("[yellow]recording[/yellow]", escape(f"{count} {what}"))
    if differences := cast("list[float] | None", summary.get("command_difference_rms")):
        table.add_row("command difference rms", ", ".join(f"{value:.4g}" for value in differences))
    for line in cast("list[str]", summary.get("notes", [])):
        table.add_row("[yellow]note[/yellow]", escape(line))
    for name, text in cast("dict[str, str]", summary.get("real_time", {})).items():
        if REFUSED in text:
            table.add_row("[yellow]not permitted[/yellow]", escape(f"{name}: {text.partition(REFUSED)[2]}"))
    cores = cast("dict[str, float]", summary["processor_cores"])
    if cores:
        table.add_row("processor, cores", ", ".join(f"{name} {value:.2f}" for name, value in cores.items()))
    return table


def _figure(value: float) -> str:
    """A figure as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


app = _make_app()
