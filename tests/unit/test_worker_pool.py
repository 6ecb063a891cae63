"""Whoever interrupts parallel work gets the terminal back, with no worker left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from demo_control.bags.evaluation import Request
from demo_control.bundle import default_bundle
from demo_control.worker_pool import WorkerPool

HERE = Path(__file__).parent
NUM_WORKERS = 2

MANY_RECORDINGS = f"""
from pathlib import Path
from demo_control.bags.evaluation import Request
from demo_control.bags.many import evaluate_many
from test_worker_pool import endless
print(list(evaluate_many([Request(Path(name)) for name in "abcd"], {NUM_WORKERS}, evaluate=endless)))
"""
EPISODES = f"""
from demo_control.bundle import default_bundle
from demo_control.parallel_evaluation import EvaluationRequest, evaluate
from demo_control.tasks import load_task
simulator = load_task("cartpole").simulators[0]
evaluate(EvaluationRequest("cartpole", default_bundle("cartpole"), "demo", simulator, 5000, 0), jobs={NUM_WORKERS})
"""
TRAINING = f"""
import time
from demo_control.learning.workers import Processes
with Processes({NUM_WORKERS}) as processes:
    list(processes.map(time.sleep, [(600.0,)] * 4))
"""


def endless(_request: Request) -> Mapping[str, Any]:
    time.sleep(600.0)
    return {}


def workers_of(process: int) -> list[int]:
    """Numbers of its spawned workers that have begun: as they ignore Ctrl-C, they have come to their own code."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            entries = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            told = (status.parent / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        ignores = int(entries["SigIgn"], 16) >> (signal.SIGINT - 1) & 1
        if int(entries["PPid"]) == process and "spawn_main" in told and ignores:
            found.append(int(status.parent.name))
    return found


@pytest.mark.parametrize("gap_s", [0.0, 0.3])
@pytest.mark.parametrize("code", [MANY_RECORDINGS, EPISODES, TRAINING], ids=["recordings", "episodes", "training"])
@pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")
def test_two_interruptions_end_everything(code: str, gap_s: float) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}
    command = [sys.executable, "-c", code]
    # A group of its own, which Ctrl-C in a terminal goes to as a whole.
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end_s = time.monotonic() + 60.0
        while len(workers := workers_of(process.pid)) < NUM_WORKERS:
            assert process.poll() is None
            assert time.monotonic() < end_s, "the workers do not begin"
            time.sleep(0.05)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(gap_s)
        assert process.wait(timeout=20.0) != 0
        assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_an_exception_ends_what_the_workers_do() -> None:
    def fail() -> None:
        with WorkerPool(1) as pool:
            pool.submit(time.sleep, 600.0)
            raise ZeroDivisionError

    began_s = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert time.monotonic() - began_s < 60.0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.timeout(60)
def test_workers_are_ended_in_the_middle_of_a_result() -> None:
    """So many bytes take longer than it takes to see that the first of them are there."""

    def fail() -> None:
        with WorkerPool(1) as pool:
            pool.submit(bytes, 200_000_000)
            results: Any = pool._executor._result_queue
            results._reader.poll(30.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_what_was_submitted_is_waited_for() -> None:
    with WorkerPool(1) as pool:
        future = pool.submit(abs, -3)
    assert future.done()
    assert future.result() == 3
