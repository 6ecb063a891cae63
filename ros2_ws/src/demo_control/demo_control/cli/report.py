"""``democtl report``: recordings as one page that opens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo_control.bags.errors import BagError
from demo_control.cli.output import check_destinations, error_console, fail, one_line_errors, warn
from demo_control.report.bag_contents import bag_name
from demo_control.report.bag_report import write_report

_MEGABYTE = 1e6


def command(
    bags: Annotated[list[Path], typer.Argument(help="Folders or files of recordings.")],
    out: Annotated[
        Path | None, typer.Option(help="The page; out/reports/<recording>.html by default.", show_default=False)
    ] = None,
    video: Annotated[bool, typer.Option(help="Draw the run from the recorded states.")] = True,
) -> None:
    """Write one HTML page about recordings: verdicts, plots, figures, provenance and a video of the run.

    The page opens without a network. Recordings that are damaged give a page that says so.
    """
    page = out or Path("out", "reports", f"{bag_name(bags[0])}{'_and_more' if len(bags) > 1 else ''}.html")
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with one_line_errors():
        check_destinations(page)
        try:
            with Progress(*columns, TimeElapsedColumn(), console=error_console(), transient=True) as progress:
                bar = progress.add_task("", total=1.0)
                sections = write_report(
                    bags,
                    page,
                    video=video,
                    progress=lambda stage, share: progress.update(bar, description=_plain(stage), completed=share),
                )
        except BagError as error:
            fail(str(error))
    console = error_console()
    for section in sections:
        for verdict in section.verdicts:
            console.print(f"{section.name}: {verdict.question} {verdict.answer}", markup=False, soft_wrap=True)
        for line in section.notes:
            warn(f"{section.name}: {line}")
    console.print(f"page: {page} ({page.stat().st_size / _MEGABYTE:.1f} MB)", markup=False, soft_wrap=True)


def _plain(text: str) -> str:
    """A text in which rich sees no markup."""
    return text.replace("[", "\\[")
