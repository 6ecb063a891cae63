"""How the tests share the machine: tests of ROS nodes and of measured times have it for themselves, and come last."""

import fcntl
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: a test that fails now and then helps nobody.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

# Shells start background jobs with SIGINT ignored, and all that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_TIME_MARKERS = ("ros", "real_time")


def is_real_time(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in REAL_TIME_MARKERS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # One group is run by one worker of pytest-xdist, so tests in real time never meet each other.
    has_workers = config.pluginmanager.hasplugin("xdist")
    for item in items:
        if has_workers and is_real_time(item):
            item.add_marker(pytest.mark.xdist_group("real_time"))
    items.sort(key=is_real_time)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    # The other worker may still be at work: a test in real time waits until it has finished, and
    # keeps it waiting. This encloses pytest-timeout's measurement, so waiting costs a test nothing.
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if is_real_time(item) else fcntl.LOCK_SH)
        return (yield)


@pytest.fixture(scope="session")
def priority_permitted() -> bool:
    """Whether a process may have a real-time priority on this machine."""
    code = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(41))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
