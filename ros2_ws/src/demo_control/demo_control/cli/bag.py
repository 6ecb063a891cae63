"""``democtl bag``: look at recordings, mend them, answer them again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.markup import escape
from rich.table import Table

from demo_control.bags.info import bag_info
from demo_control.bags.repair import repair as repair_bag
from demo_control.cli.bag_judgement import compare, evaluate, told
from demo_control.cli.output import check_destinations, error_console, warn, write_json
from demo_control.cli.refit import refit

app = typer.Typer(help="Look at recordings, mend them, answer them again.", no_args_is_help=True)

_JSON = typer.Option("--json", help="Write the result to FILE, '-' for standard output.", metavar="FILE")


@app.command()
def info(
    bags: Annotated[list[Path], typer.Argument(help="Folders or files of recordings.")],
    json_file: Annotated[str, _JSON] = "",
) -> None:
    """Topics, counts, duration, robot, bundle, drops and damage."""
    with told():
        check_destinations(json_file)
        reports = [bag_info(path) for path in bags]
        robots = sorted({name for report in reports for name in cast("list[str]", report["robots"])})
        if json_file:
            write_json({"bags": reports, "robots": robots}, json_file)
    if json_file != "-":
        for report in reports:
            _print_info(report)
        if len(robots) > 1:
            error_console().print(f"recordings of several robots: {', '.join(robots)}", style="yellow", markup=False)


@app.command()
def repair(
    bag: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    json_file: Annotated[str, _JSON] = "",
) -> None:
    """Write index and metadata.yaml anew, with every message that is whole; say what was lost."""
    with told():
        check_destinations(json_file)
        done = repair_bag(bag)
        if json_file:
            write_json({"bag": str(bag), "messages": done.messages, "lost": done.lost}, json_file)
    if json_file != "-":
        console = error_console()
        if not done.lost:
            console.print(f"{bag}: in order, {done.messages} messages; left as it is", markup=False)
            return
        console.print(
            f"{bag}: {done.messages} messages are whole; the old file has '.damaged' after its name", markup=False
        )
        for line in done.lost:
            warn(f"  {line}")


app.command()(evaluate)
app.command()(compare)
app.command()(refit)


def _print_info(report: dict[str, Any]) -> None:
    table = Table(title=escape(str(report["bag"])), show_header=False)
    table.add_row("robot", ", ".join(report["robots"]) or "not known")
    table.add_row("bundle", ", ".join(report["bundle_sha256"]) or "not known")
    table.add_row("duration", f"{report['duration_s']:.2f} s")
    table.add_row("messages, bytes", f"{report['messages']}, {report['bytes']}")
    for topic in report["topics"]:
        rate = "" if topic["rate_hz"] is None else f" ({topic['rate_hz']:.1f} Hz)"
        table.add_row(escape(topic["name"]), escape(f"{topic['messages']}{rate}  {topic['type']}"))
    lost = {**report["missing"], **{f"gaps in {topic}": count for topic, count in report["gaps"].items()}}
    table.add_row("missing", ", ".join(f"{escape(what)}: {count}" for what, count in lost.items()) or "none known")
    for line in (*report["damage"], *report["warnings"]):
        table.add_row("[yellow]note[/yellow]", escape(line))
    error_console().print(table)
