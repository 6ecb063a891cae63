"""For how long the machine itself stood still: that is nobody's fault, and stops a robot all the same.

    python -m demo_control.standstill

is the process that looks. On each core it has a thread that runs before all that is tried here, and that finds how late
it gets to run. (Within another process it would also wait for the interpreter, which that process's threads hold.)
Each line that it reads is answered by what was found since the last one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import IO

LONG_MS = 5.0
"""Standstills from here on are counted: the shortest control period of ours."""
_EVERY_S = 0.002
_PRIORITY = 60


@dataclass(frozen=True)
class Standstills:
    """What was found in some time, on all cores together.

    Attributes:
        longest_ms: The longest.
        number: How many took more than :data:`LONG_MS`.
        total_ms: Their sum.
    """

    longest_ms: float = 0.0
    number: int = 0
    total_ms: float = 0.0

    def and_one(self, late_ms: float) -> Standstills:
        """With one more lateness."""
        is_long = late_ms > LONG_MS
        return Standstills(
            max(self.longest_ms, late_ms), self.number + is_long, self.total_ms + (late_ms if is_long else 0.0)
        )

    def __add__(self, other: Standstills) -> Standstills:
        """Of both."""
        longest_ms = max(self.longest_ms, other.longest_ms)
        return Standstills(longest_ms, self.number + other.number, self.total_ms + other.total_ms)


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
        return Standstills(**json.loads(answer)) if answer else None


class _Core:
    """What is found on one core.

    Args:
        number: Of the core, the system's.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._found, self._lock = Standstills(), threading.Lock()

    def watch(self, over: threading.Event) -> None:
        """Look until it is over."""
        os.sched_setaffinity(0, {self._number})  # this thread's
        before_s = time.monotonic()
        while not over.is_set():
            time.sleep(_EVERY_S)
            now_s = time.monotonic()
            with self._lock:
                self._found = self._found.and_one(1e3 * (now_s - before_s - _EVERY_S))
            before_s = now_s

    def take(self) -> Standstills:
        """What was found since the last call."""
        with self._lock:
            found, self._found = self._found, Standstills()
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
        found = sum((core.take() for core in cores), Standstills())
        print(json.dumps(asdict(found)), file=answers, flush=True)
    over.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    answer(sys.stdin, sys.stdout)
