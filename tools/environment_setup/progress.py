"""Shows what a long command is doing on one line, and keeps its whole output in a log."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

REFRESH_S = 0.2
# Where the output is not a terminal (CI), a line now and then shows that it is alive.
PLAIN_REPORT_PERIOD_S = 15.0
KILL_AFTER_S = 5.0
MEGABYTE = 1e6


class CommandError(Exception):
    """A command failed.

    Attributes:
        output: Everything that it wrote.
    """

    def __init__(self, command: list[str], output: str) -> None:
        super().__init__(f"{Path(command[0]).name} {command[1] if command[1:] else ''} failed")
        self.output = output


class Progress:
    """The lines that the user sees.

    Args:
        log: File that keeps the output of every command.
        stream: Where to write.
        held_files: Open files that commands keep open: a lock outlives this process with them.
    """

    def __init__(
        self,
        log: Path,
        stream: TextIO | None = None,
        held_files: tuple[int, ...] = (),
    ) -> None:
        self._total = 0
        self._log = log
        self._stream = stream or sys.stdout
        self._held_files = held_files
        self._terminal = self._stream.isatty()
        self._number = 0
        self._title = ""
        self._start_s = 0.0
        self._reported_s = 0.0

    def expect(self, total: int) -> None:
        """Says how many stages there are.

        Args:
            total: Their number.
        """
        self._total = total

    def begin(self, title: str) -> None:
        """Starts the next stage.

        Args:
            title: What it does.
        """
        self._number += 1
        self._title = title
        self._start_s = self._reported_s = time.monotonic()
        self._write(self._line("..."), final=not self._terminal)

    def end(self) -> None:
        """Ends the stage with the time that it took."""
        self._write(self._line("done"), final=True)

    def fail(self) -> None:
        """Ends the stage that did not succeed."""
        self._write(self._line("failed"), final=True)

    def skip(self) -> None:
        """Passes over a stage that is done already."""
        self._number += 1

    def show(self, detail: str) -> None:
        """Shows what the stage is doing.

        Args:
            detail: A few words.
        """
        now_s = time.monotonic()
        if self._terminal:
            self._write(self._line(detail), final=False)
        elif now_s - self._reported_s >= PLAIN_REPORT_PERIOD_S:
            self._reported_s = now_s
            self._write(self._line(detail), final=True)

    def run(self, command: list[str], environment: dict[str, str]) -> str:
        """Runs a command to its end, showing what it does.

        The command is ended if this process is interrupted.

        Args:
            command: The command and its arguments.
            environment: Its environment variables.

        Returns:
            What it wrote.

        Raises:
            CommandError: It failed.
        """
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=self._held_files,
            start_new_session=True,
        )
        try:
            output = self._follow(process, " ".join(command))
        finally:
            end_process(process)
        if process.returncode != 0:
            raise CommandError(command, output)
        return output

    def _follow(self, process: subprocess.Popen[str], title: str) -> str:
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
        reader.start()
        written: list[str] = []
        detail = ""
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {title}\n")
            while True:
                try:
                    line = lines.get(timeout=REFRESH_S)
                except queue.Empty:
                    self.show(detail)
                    continue
                if line is None:
                    break
                detail = describe(line) or detail
                if not line.startswith("Progress "):
                    written.append(line)
                    log.write(line)
                if lines.empty():
                    self.show(detail)
        process.wait()
        return "".join(written)

    def _line(self, detail: str) -> str:
        elapsed_s = time.monotonic() - self._start_s
        return f"[{self._number}/{self._total}] {self._title} ({elapsed_s:.0f} s): {detail}"

    def _write(self, line: str, *, final: bool) -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{line[:width]}")
        else:
            self._stream.write(line)
        if final:
            self._stream.write("\n")
        self._stream.flush()


def _read_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def end_process(process: subprocess.Popen[str]) -> None:
    """Ends a process that is still running, with all that it started: politely, then not.

    Args:
        process: The process, leader of its own process group.
    """
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(KILL_AFTER_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _download(match: re.Match[str]) -> str:
    done, total = (int(part) / MEGABYTE for part in match.groups())
    return f"downloading {done:.1f} of {total:.1f} MB" if done < total else "resolving"


def _requirement(match: re.Match[str]) -> str:
    return f"looking up {re.split('[-<>=!~;@]', match[1].rsplit('/', 1)[-1])[0]}"


# What a line of pip's or cmake's output means, in a few words.
MEANINGS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"Progress (\d+) of (\d+)", _download),
    (
        r"\s*Downloading (?:\S*/)?([^-\s]+)-\S+ (\(.*\))",
        lambda match: f"downloading {match[1]} {match[2]}",
    ),
    (r"\s*(?:Collecting|Requirement already satisfied:) (\S+)", _requirement),
    (
        r"Installing collected packages: (.*)",
        lambda match: f"installing {match[1].count(',') + 1} packages",
    ),
    (r"WARNING: Retrying", lambda _: "the package index does not answer, trying again"),
    (r"\[\s*(\d+)%\]", lambda match: f"{match[1]} % built"),
)


def describe(line: str) -> str:
    """Says in a few words what a line of pip's or cmake's output means.

    Args:
        line: The line.

    Returns:
        The words; empty if the line is of no interest.
    """
    for pattern, meaning in MEANINGS:
        if match := re.match(pattern, line):
            return meaning(match)
    return ""
