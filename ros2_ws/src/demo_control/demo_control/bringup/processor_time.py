"""How much of the processor the processes of a run take."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/<pid>/stat after the program's name, which ends with the last parenthesis.
_USER_TIME, _SYSTEM_TIME = 11, 12


def processor_time_s(process_id: int) -> float | None:
    """Processor time of a process and all its threads since it started; None if it is gone."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) / _TICKS_PER_S


class ProcessorUse:
    """Mean use since the first sample, in cores."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, float, float]] = {}
        self._last: dict[str, tuple[float, float]] = {}

    def sample(self, processes: Mapping[str, int]) -> None:
        """Look at running processes; those that have ended keep their last sample.

        Args:
            processes: Process numbers by name; another number under a known name starts anew.
        """
        now_s = time.monotonic()
        for name, process_id in processes.items():
            used_s = processor_time_s(process_id)
            if used_s is None:
                continue
            if name not in self._first or self._first[name][0] != process_id:
                self._first[name] = process_id, now_s, used_s
            self._last[name] = now_s, used_s

    def cores(self) -> dict[str, float]:
        """Processor time by wall time between the first and the last sample, for those that have two."""
        result = {}
        for name, (_, first_s, first_used_s) in self._first.items():
            last_s, last_used_s = self._last[name]
            if last_s > first_s:
                result[name] = round((last_used_s - first_used_s) / (last_s - first_s), 4)
        return result
