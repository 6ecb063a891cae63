"""What the sub-commands share: JSON output, one-line errors, progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from demo_control.bundle import BundleError
from demo_control.configuration import ConfigurationError
from demo_control.files import check_file, write_text_atomically

EXIT_USAGE = 2
"""Exit code for a request that cannot be met."""
EXIT_DEFECT = 70
"""Exit code for an error that nobody expected (EX_SOFTWARE of sysexits.h): Python's own, 1, is a verdict of ours."""
EXIT_INTERRUPTED = 130
"""What shells report for a program that SIGINT ended."""


GET_PYTORCH = "run 'make train-setup', or without the source tree python -m pip install 'demo-stack[train]'"
"""What to do where PyTorch is missing."""


def error_console() -> Console:
    """Where people read: standard error, so that standard output stays clean for JSON."""
    return Console(stderr=True, highlight=False)


def check_destinations(*destinations: str | Path | None) -> None:
    """Refuse files that could not be written, before the work whose result they are to hold.

    Args:
        destinations: Files; '-', '' and None are passed over.

    Raises:
        OSError: See :func:`demo_control.files.check_file`.
    """
    for destination in destinations:
        if destination and destination != "-":
            check_file(Path(destination))


def write_json(report: Mapping[str, object], destination: str) -> None:
    """Write a report as one JSON object: to a file, or to standard output for '-'.

    Commands print for people first: what cannot be written is then not lost.

    Raises:
        OSError: It could not be written.
    """
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    if destination != "-":
        write_text_atomically(Path(destination), text)
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def warn(line: str) -> None:
    """Tell people of something that does not end the command, in one line however narrow the terminal."""
    error_console().print(line, style="yellow", markup=False, soft_wrap=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn expected errors into one line on standard error and exit code 2."""
    try:
        yield
    except (ConfigurationError, BundleError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'file'}: {error.strerror or error}")
    except BrokenExecutor:
        fail("one of the processes that share the work was ended from outside (out of memory?)")


def fail(message: str) -> None:
    """End the command with one line on standard error.

    Raises:
        typer.Exit: Always, with code 2.
    """
    error_console().print(f"democtl: {message}", style="red", soft_wrap=True, markup=False)
    raise typer.Exit(EXIT_USAGE)


@contextmanager
def episode_progress(description: str, total: int) -> Iterator[Progress]:
    """A progress bar on standard error; its only task has number 0."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=error_console(), transient=True) as progress:
        progress.add_task(description, total=total)
        yield progress
