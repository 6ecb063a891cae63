"""What processes ask of Linux: what they get where it is permitted, and that a refusal is told and nothing worse."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo_control.configuration import ConfigurationError
from demo_control.real_time import (
    SLEEP_DEVICE,
    RealTimeSettings,
    Tidier,
    may_keep_awake,
    may_lock_memory,
    parse_cores,
    settle,
)

# What it needs is imported before: our folders may be closed to others.
BECOME_NOBODY = """
import json, os, resource, threading, time, demo_control.real_time
resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))
os.setgid(65534)
os.setuid(65534)
"""

PROBE = """
import json, os, sys, threading, time
from demo_control.real_time import RealTimeSettings, apply, apply_to_background

settings = RealTimeSettings(scheduling="fifo", scheduling_priority=41, background_priority=31, cores=sys.argv[1])
ready, over = threading.Barrier(3, timeout=20), threading.Event()

def background():
    apply_to_background(settings)
    ready.wait()
    over.wait()

def plain():
    ready.wait()
    over.wait()

threads = [threading.Thread(target=target, daemon=True) for target in (background, plain)]
for thread in threads:
    thread.start()
ready.wait()
outcomes = apply(settings)
policies = [(os.sched_getscheduler(t.native_id), os.sched_getparam(t.native_id).sched_priority) for t in threads]
own = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
held = [number for number in range(3, 20) if os.path.exists(f"/proc/self/fd/{number}")]
held = [os.readlink(f"/proc/self/fd/{number}") for number in held]
apply(settings)  # once more: nothing is held twice
over.set()
print(json.dumps({
    "outcomes": [(o.text, o.refusal) for o in outcomes], "own": own, "background": policies[0], "plain": policies[1],
    "held": held, "again": [os.readlink(f"/proc/self/fd/{number}") for number in range(3, 20)
                            if os.path.exists(f"/proc/self/fd/{number}")],
    "locked_kb": int(status["VmLck"].split()[0]), "cores": sorted(os.sched_getaffinity(0)),
}))
"""


def probe(cores: str = "", *, unprivileged: bool = False) -> dict[str, object]:
    """What a process with another thread and one in the background has after asking for everything."""
    text = (BECOME_NOBODY if unprivileged else "") + PROBE
    done = subprocess.run([sys.executable, "-c", text, cores], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("text", "cores"), [("", set()), ("3", {3}), ("0,2-4", {0, 2, 3, 4}), (" 1 , 5 ", {1, 5}), ("2-2", {2})]
)
def test_lists_of_cores_are_read_as_linux_writes_them(text: str, cores: set[int]) -> None:
    assert parse_cores(text) == cores


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1;2", "1.5"])
def test_what_is_no_list_of_cores_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"RealTimeSettings.cores = .*expected core numbers"):
        RealTimeSettings(cores=text)


def test_a_slip_of_the_finger_is_no_set_of_a_hundred_billion_cores() -> None:
    with pytest.raises(ConfigurationError, match=r"cores = '0-99999999999': no core has a number above 8191"):
        RealTimeSettings(cores="0-99999999999")


def test_all_threads_but_the_background_get_the_priority_where_it_is_permitted(priority_permitted: bool) -> None:
    if not priority_permitted:
        pytest.skip("real-time priorities are not permitted here")
    found = probe()

    assert found["own"] == found["plain"] == [os.SCHED_FIFO, 41]
    assert found["background"] == [os.SCHED_FIFO, 31]


def test_memory_is_locked_where_it_is_permitted() -> None:
    found = probe()
    refusals = dict(map(tuple, found["outcomes"]))  # type: ignore[call-overload]

    assert refusals["16 MB of heap reserved"] == ""
    assert (found["locked_kb"] > 0) == (refusals["memory locked"] == "") == (may_lock_memory() == "")  # type: ignore[operator]


def test_cores_are_kept_awake_as_long_as_the_process_lives_where_it_is_permitted() -> None:
    found = probe()
    refusals = dict(map(tuple, found["outcomes"]))  # type: ignore[call-overload]

    assert (refusals["cores kept awake"] == "") == (may_keep_awake() == "")
    assert found["held"].count(str(SLEEP_DEVICE)) == int(may_keep_awake() == "")  # type: ignore[attr-defined]
    assert found["again"] == found["held"]


def test_who_may_not_keep_cores_awake_is_told_why(tmp_path: Path) -> None:
    assert may_keep_awake(tmp_path / "cpu_dma_latency").endswith("this kernel does not offer it")
    device = tmp_path / "device"
    device.touch()
    assert may_keep_awake(device) == ""


def test_a_process_is_pinned_to_its_cores() -> None:
    core = max(os.sched_getaffinity(0))

    assert probe(str(core))["cores"] == [core]


def test_cores_that_the_machine_does_not_have_are_told() -> None:
    refusals = dict(map(tuple, probe("4093")["outcomes"]))  # type: ignore[call-overload]

    assert "the machine has cores" in refusals["cores 4093"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_whom_nothing_is_permitted_is_told_what_is_missing_and_goes_on() -> None:
    found = probe(unprivileged=True)
    refusals = dict(map(tuple, found["outcomes"]))  # type: ignore[call-overload]

    assert found["own"] == [os.SCHED_OTHER, 0]
    assert found["locked_kb"] == 0
    assert "rtprio limit" in refusals["fifo 41"]
    assert "memlock limit 8192 KiB" in refusals["memory locked"]
    assert str(SLEEP_DEVICE) in refusals["cores kept awake"]


@pytest.fixture
def own_collection() -> Iterator[None]:
    """Python's garbage collection as it was, afterwards."""
    yield
    gc.enable()
    gc.unfreeze()


class Node:
    """Part of a cycle, which only a collection ends."""

    alive = 0

    def __init__(self) -> None:
        self.itself = self
        Node.alive += 1

    def __del__(self) -> None:
        Node.alive -= 1


@pytest.mark.usefixtures("own_collection")
def test_garbage_is_collected_on_demand_only_and_at_most_once_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("demo_control.real_time.time.monotonic", lambda: now_s[0])
    settle(collect_garbage=False)
    tidier = Tidier()
    for _ in range(2000):  # more than Python's own threshold
        Node()
    assert Node.alive == 2000
    tidier.tidy()
    assert Node.alive == 2000, "it is not time yet"
    now_s[0] += Tidier.period_s
    tidier.tidy()
    assert (Node.alive, tidier.runs) == (0, 1)


@pytest.mark.usefixtures("own_collection")
def test_what_makes_a_collection_long_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(collect_garbage=False)
    tidier = Tidier()
    monkeypatch.setattr(Tidier, "budget_s", -1.0)
    before = gc.get_freeze_count()
    kept = [[number] for number in range(5000)]
    tidier._next_s = 0.0
    tidier.tidy()

    assert gc.get_freeze_count() >= before + len(kept)


@pytest.mark.usefixtures("own_collection")
def test_where_python_collects_nobody_else_does() -> None:
    settle(collect_garbage=True)
    tidier = Tidier()
    tidier._next_s = 0.0
    tidier.tidy()

    assert gc.isenabled()
    assert tidier.runs == 0
