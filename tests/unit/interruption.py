"""A reporter that interrupts: training must go on from wherever it was stopped."""

from __future__ import annotations


class Interrupter:
    """Counts what it is told and presses Ctrl-C at one of the calls."""

    def __init__(self, at: int | None = None) -> None:
        self.calls = 0
        self._at = at

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self._at:
            raise KeyboardInterrupt

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self._count()

    def advance(self, done: int, text: str) -> None:
        self._count()

    def finish(self, text: str) -> None:
        self._count()
