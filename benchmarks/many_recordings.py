"""Many recordings evaluated beside each other: peak memory of all processes, and time; one of them is broken.

democtl bench recordings out/bags/a out/bags/b --copies 1000 --jobs 2
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request
from demo_control.bags.many import evaluate_many, find_bags
from demo_control.cli.output import (
    check_destinations,
    episode_progress,
    error_console,
    fail,
    one_line_errors,
    write_json,
)

_SAMPLE_S = 0.5
_PAGE = os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """Largest sum of the resident memory of this process and its children, looked at twice a second."""

    def __init__(self) -> None:
        self.bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self.bytes = max(self.bytes, sum(map(_resident, [os.getpid(), *_children(os.getpid())])))


def _children(parent: int) -> list[int]:
    """Numbers of a process's children (Linux)."""
    text = "".join(path.read_text() for path in Path(f"/proc/{parent}/task").glob("*/children"))
    return [int(number) for number in text.split()]


def _resident(process: int) -> int:
    """A process's resident memory, 0 if it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _copies(bags: list[Path], count: int, folder: Path) -> list[Path]:
    """So many recordings, of which the one in the middle is none."""
    made = []
    for number in range(count):
        copy = folder / f"{number:05d}"
        shutil.copytree(bags[number % len(bags)], copy)
        made.append(copy)
    for file in made[count // 2].glob("*.mcap"):
        file.write_bytes(b"no recording")
    return made


def main(
    bags: Annotated[list[Path], typer.Argument(help="Recordings to copy.", metavar="BAG…")],
    copies: Annotated[int, typer.Option(min=1, help="Recordings in all.")] = 1000,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    json_file: Annotated[str, typer.Option("--json", help="Write the figures to FILE.", metavar="FILE")] = "",
) -> None:
    """Evaluate many copies of some recordings, and say how long it took and how much memory."""
    with one_line_errors(), tempfile.TemporaryDirectory(prefix="recordings-") as scratch:
        check_destinations(json_file)
        try:
            made = _copies(find_bags(bags), copies, Path(scratch, "bags"))
        except BagError as error:
            fail(str(error))
        began_s, recorded_s, failed = time.perf_counter(), 0.0, 0
        with PeakMemory() as peak, episode_progress("recordings", copies) as progress:
            for outcome in evaluate_many([Request(path) for path in made], jobs, Path(scratch, "kept")):
                recorded_s += 0.0 if outcome.result is None else outcome.result["recorded_s"]
                failed += outcome.result is None
                progress.advance(progress.task_ids[0])
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        report = {
            "recordings": copies,
            "failed": failed,
            "jobs": jobs,
            "recorded_s": recorded_s,
            "wall_s": time.perf_counter() - began_s,
            "processor_s": spent.ru_utime + spent.ru_stime,
            "peak_memory_mb": peak.bytes / 2**20,
        }
        if json_file:
            write_json(report, json_file)
    if json_file != "-":
        for name, value in report.items():
            error_console().print(f"{name.replace('_', ' ')}: {value:.6g}", markup=False)


if __name__ == "__main__":
    typer.run(main)
