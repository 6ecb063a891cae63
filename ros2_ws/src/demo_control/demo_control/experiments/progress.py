"""What a person sees of a running experiment: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo_control.experiments.results import EVALUATION
from demo_control.experiments.spec import Cell
from demo_control.experiments.training import Record

_SECONDS_BETWEEN_LINES = 30.0


@dataclass
class Pace:
    """Learns how long runs take, and says how long the rest will.

    Attributes:
        seconds: Durations of finished runs by environment and method.
    """

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, cell: Cell, seconds: float) -> None:
        """Take the duration of a finished run."""
        self.seconds.setdefault(_kind(cell), []).append(seconds)

    def left_s(self, waiting: Sequence[Cell], running: Sequence[tuple[Cell, Record | None]], jobs: int) -> float | None:
        """Time until all is done; None while nothing is known.

        Args:
            waiting: Cells that are not begun.
            running: Cells that run, each with its latest record.
            jobs: Processes.
        """
        known: dict[tuple[str, str], list[float]] = {kind: list(values) for kind, values in self.seconds.items()}
        for cell, record in running:
            if record is not None and record.step > 0:
                known.setdefault(_kind(cell), []).append(record.seconds * cell.request.steps / record.step)
        everything = [value for values in known.values() for value in values]
        if not everything:
            return None
        # A method that nothing is known of is taken for an average one.
        means = {kind: sum(values) / len(values) for kind, values in known.items()}
        average = sum(means.values()) / len(means)
        rest = [
            max(means.get(_kind(cell), average) - (record.seconds if record is not None else 0.0), 0.0)
            for cell, record in running
        ]
        whole = [means.get(_kind(cell), average) for cell in waiting]
        # Never less than the longest run that is left.
        return max((sum(rest) + sum(whole)) / jobs, *rest, *whole, 0.0)


class RunProgress:
    """Shows how far an experiment is.

    Args:
        console: Where to.
        clock: Seconds; monotonic.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._bar: Progress | None = None
        self._last_line_s = clock()

    def start(self, title: str, total: int) -> None:
        """An experiment of ``total`` missing cells begins."""
        self._last_line_s = self._clock()
        self._total = total
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
            )  # fmt: skip
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.add_task(title, total=max(total, 1), text="")
            self._bar.start()

    def show(self, done: int, failed: int, running: Sequence[tuple[Cell, Record | None]], left_s: float | None) -> None:
        """Show the state; on a terminal at once, else now and then."""
        shares = [(cell, _share(cell, record)) for cell, record in running]
        ended = done + failed
        parts = [f"{ended}/{self._total} runs" + (f", {failed} failed" if failed else "")]
        parts += [f"{cell.title} {share:.0%}" for cell, share in shares[:2]]
        parts += [f"and {len(shares) - 2} more"] if len(shares) > 2 else []  # noqa: PLR2004 - what a line has room for
        parts += [f"about {duration(left_s)} left"] if left_s is not None else []
        text = "  ".join(parts)
        if self._bar is not None:
            completed = ended + sum(share for _, share in shares)
            self._bar.update(self._bar.task_ids[0], completed=completed, text=text)
        elif self._clock() - self._last_line_s >= _SECONDS_BETWEEN_LINES:
            self._last_line_s = self._clock()
            self.line(f"  {text}")

    def line(self, text: str, style: str | None = None) -> None:
        """Print a line that stays."""
        self._console.print(text, soft_wrap=True, markup=False, highlight=False, style=style)

    def close(self) -> None:
        """Take a bar that is still shown off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def outcome_text(records: Sequence[Record]) -> str:
    """How a run ended, in a few words."""
    evaluations = [record for record in records if record.kind == EVALUATION]
    if not evaluations:
        return "no evaluation"
    last = evaluations[-1]
    return f"return {last.values['return_mean']:.6g} after {last.step} steps"


def duration(seconds: float) -> str:
    """'45 s', '12 min', '3.5 h'."""
    if seconds < 100.0:  # noqa: PLR2004 - here and below: up to where a unit reads well
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 6000.0 else f"{seconds / 3600.0:.1f} h"  # noqa: PLR2004


def _kind(cell: Cell) -> tuple[str, str]:
    return cell.request.environment, cell.method


def _share(cell: Cell, record: Record | None) -> float:
    return 0.0 if record is None else min(record.step / cell.request.steps, 1.0)
