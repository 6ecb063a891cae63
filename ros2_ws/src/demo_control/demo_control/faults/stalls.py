"""For how long the machine itself stood still: that is nobody's fault, and stops a robot all the same."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType

_EVERY_S = 0.005
_PRIORITY = 60


class StallWatch:
    """A thread that runs before all that is tried here, and looks how late it gets to run.

    Use it as a context. Without permission for such a priority it knows nothing.
    """

    def __init__(self) -> None:
        self._longest_s: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)

    def __enter__(self) -> StallWatch:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def take_ms(self) -> float | None:
        """The longest standstill since the last call, in ms; None if that is not known."""
        longest_s = self._longest_s
        if longest_s is None:
            return None
        self._longest_s = 0.0
        return round(1e3 * longest_s, 1)

    def _watch(self) -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        except OSError:
            return
        self._longest_s = 0.0
        before_s = time.monotonic()
        while not self._over.is_set():
            time.sleep(_EVERY_S)
            now_s = time.monotonic()
            self._longest_s = max(self._longest_s, now_s - before_s - _EVERY_S)
            before_s = now_s
