"""For how long the machine itself stood still: that is nobody's fault, and stops a robot all the same.

    python -m demo_control.standstill

is the process that looks. On each core it has a thread that runs before all that is tried here, and that finds how late
it gets to run. (Within another process it would also wait for the interpreter, which that process's threads hold.)
Each line that it reads is answered by what was found since the last one.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import IO

LONG_MS = 5.0
"""Standstills from here on are counted: the shortest control period of ours."""
_SHORT_S = 2e-4
"""Shorter ones are not kept: a thread is late by some of that where nothing is wrong."""
_EVERY_S = 0.001
_PRIORITY = 60

Span = tuple[float, float]
"""From when until when, in seconds of the steady clock."""


@dataclass(frozen=True)
class Standstills:
    """What was found in some time, on all cores together.

    Attributes:
        spans: When a core stood still, each with at most a millisecond of its beginning left out.
    """

    spans: tuple[Span, ...] = ()

    @property
    def longest_ms(self) -> float:
        """The longest."""
        return max((1e3 * (end_s - begin_s) for begin_s, end_s in self.spans), default=0.0)

    @property
    def number(self) -> int:
        """How many took more than :data:`LONG_MS`."""
        return len(self._long_ms())

    @property
    def total_ms(self) -> float:
        """The sum of those that took more than :data:`LONG_MS`."""
        return sum(self._long_ms())

    @property
    def seconds(self) -> float:
        """For how long at least one core stood still, in all."""
        return self.within_s(-math.inf, math.inf)

    def _long_ms(self) -> list[float]:
        durations_ms = (1e3 * (end_s - begin_s) for begin_s, end_s in self.spans)
        return [duration_ms for duration_ms in durations_ms if duration_ms > LONG_MS]

    def within_s(self, begin_s: float, end_s: float) -> float:
        """For how long at least one core stood still between two times."""
        still_s, until_s = 0.0, begin_s
        # Where two cores stand still at once, the second one's part counts from the end of the first one's.
        for span_begin_s, span_end_s in sorted(self.spans):
            still_s += max(0.0, min(span_end_s, end_s) - max(span_begin_s, until_s))
            until_s = max(until_s, span_end_s)
        return still_s


class StandstillWatch:
    """Looks while it is used as a context; without permission for such a priority it knows nothing."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> StandstillWatch:
        """Begin; returns when it looks."""
        command = [sys.executable, "-m", "demo_control.standstill"]
        # Ctrl-C is not meant for it: it ends with its input.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def take(self) -> Standstills | None:
        """What was found since the last call; None if that is not known."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write("\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            return None
        return Standstills(tuple((begin_s, end_s) for begin_s, end_s in json.loads(answer))) if answer else None


class _Core:
    """What is found on one core.

    Args:
        number: Of the core, the system's.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._found: list[Span] = []
        self._lock = threading.Lock()

    def watch(self, over: threading.Event) -> None:
        """Look until it is over."""
        os.sched_setaffinity(0, {self._number})  # this thread's
        before_s = time.monotonic()
        while not over.is_set():
            time.sleep(_EVERY_S)
            now_s = time.monotonic()
            woken_s = before_s + _EVERY_S
            if now_s - woken_s > _SHORT_S:
                with self._lock:
                    self._found.append((woken_s, now_s))
            before_s = now_s

    def take(self) -> list[Span]:
        """What was found since the last call."""
        with self._lock:
            found, self._found = self._found, []
        return found


def answer(questions: IO[str], answers: IO[str]) -> None:
    """Look, and answer, until there are no more questions; at once if such a priority is not permitted."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except OSError:
        return
    over = threading.Event()
    cores = [_Core(number) for number in sorted(os.sched_getaffinity(0))]
    threads = [threading.Thread(target=core.watch, args=(over,)) for core in cores]
    for thread in threads:
        thread.start()
    for _ in questions:
        print(json.dumps([span for core in cores for span in core.take()]), file=answers, flush=True)
    over.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    answer(sys.stdin, sys.stdout)
