"""What a person sees of a training run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0


class Reporter(Protocol):
    """Told what a run does."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage of ``total`` steps begins, or goes on with ``done`` of them behind."""
        ...

    def advance(self, done: int, text: str) -> None:
        """``done`` steps are behind; ``text`` holds the latest figures."""
        ...

    def finish(self, text: str) -> None:
        """The stage is over, with this result."""
        ...


class ConsoleReporter:
    """Reports to a console.

    Args:
        console: Where to.
        clock: Seconds; monotonic.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._bar: Progress | None = None
        self._stage, self._total, self._behind = "", 1, 0
        self._started_s = self._last_line_s = 0.0

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """See :class:`Reporter`."""
        self._stage, self._total, self._behind = stage, max(total, 1), done
        self._started_s = self._last_line_s = self._clock()
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.add_task(stage, total=self._total, completed=done, text="")
            self._bar.start()

    def advance(self, done: int, text: str) -> None:
        """See :class:`Reporter`."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, text=text)
            return
        now_s = self._clock()
        if now_s - self._last_line_s >= _SECONDS_BETWEEN_LINES and done < self._total:
            self._last_line_s = now_s
            # What an earlier session did took no time of this one.
            left_s = (now_s - self._started_s) * (self._total - done) / max(done - self._behind, 1)
            self._print(f"  {done}/{self._total}  {text}  about {left_s:.0f} s left")

    def finish(self, text: str) -> None:
        """See :class:`Reporter`."""
        self.close()
        self._print(f"{self._stage}: {text}  ({self._clock() - self._started_s:.0f} s)")

    def close(self) -> None:
        """Take a bar that is still shown off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)
