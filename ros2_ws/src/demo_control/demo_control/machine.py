"""The computer that this runs on, where time matters."""

from __future__ import annotations

import gc
import os
import platform
from pathlib import Path


def settle_memory() -> None:
    """Spare what has been loaded from garbage collection: looking through all of it takes tens of milliseconds.

    Call it once everything is loaded, before time matters.
    """
    gc.collect()
    gc.freeze()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def processor_name() -> str:
    """The processor's name as Linux has it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.machine()
