"""``democtl bench``: the benchmarks of the source tree."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from demo_control.cli.output import fail


@dataclass(frozen=True)
class Benchmark:
    """A script in ``benchmarks/``.

    Attributes:
        script: Its file.
        text: One sentence for people.
    """

    script: str
    text: str


BENCHMARKS: Mapping[str, Benchmark] = {
    "planner": Benchmark("planner_speed.py", "Speed of rollouts and plans against the processor's limit and others."),
    "learning": Benchmark("learning_speed.py", "Speed of SAC updates, model fits and environment steps, and others'."),
    "latency": Benchmark("latency.py", "Age of commands, from observation to driver, at 200 Hz over ROS 2."),
    "joins": Benchmark("joins.py", "Whether a robot that walks stops when other programs join."),
    "soak": Benchmark("soak.py", "Walk for long: memory, descriptors, shared memory and the loop's phase over time."),
    "samples": Benchmark("sample_efficiency.py", "Closed-loop cost and success against the number of samples."),
    "recordings": Benchmark("many_recordings.py", "Time and memory of evaluating many recordings beside each other."),
}
FOLDER = "benchmarks"
_PACKAGE = Path("ros2_ws", "src", "demo_control", "demo_control")


class NoBenchmarkError(Exception):
    """The script cannot be found; the text says why and what to do."""


def find_script(script: str, start: Path) -> Path:
    """A benchmark's file, in the source tree that ``start`` is in or else in the one that this package is in.

    Args:
        script: Name of the file.
        start: A folder.

    Raises:
        NoBenchmarkError: No source tree there, or none with that file.
    """
    trees = list(_source_trees(start))
    for tree in trees:
        file = tree / FOLDER / script
        if file.is_file():
            return file
    if trees:
        raise NoBenchmarkError(f"{trees[0] / FOLDER / script} is missing")
    raise NoBenchmarkError(
        f"the benchmarks are not part of the installed package: call this in DeMo Control's source tree (there is no "
        f"'{FOLDER}' of it in {start} or above)"
    )


def _source_trees(start: Path) -> Iterator[Path]:
    """Source trees of DeMo Control, the one nearest to ``start`` first."""
    # An editable installation leaves the package where it is.
    for origin in (start, Path(__file__)):
        for folder in (origin.resolve(), *origin.resolve().parents):
            if (folder / FOLDER).is_dir() and (folder / _PACKAGE).is_dir():
                yield folder


def _command_of(name: str) -> Callable[[typer.Context], None]:
    """The function behind ``democtl bench <name>``."""

    def command(context: typer.Context) -> None:
        try:
            script = find_script(BENCHMARKS[name].script, Path.cwd())
        except NoBenchmarkError as error:
            fail(f"bench {name}: {error}")
        sys.stdout.flush()
        # In place of this process: signals and the exit code are the script's.
        os.execv(sys.executable, [sys.executable, str(script), *context.args])

    return command


def _make_app() -> typer.Typer:
    group = typer.Typer(help="Run a benchmark of the source tree.", no_args_is_help=True, add_completion=False)
    # All arguments are the script's, --help too.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    for name, benchmark in BENCHMARKS.items():
        group.command(name, help=benchmark.text, context_settings=settings, add_help_option=False)(_command_of(name))
    return group


app = _make_app()
