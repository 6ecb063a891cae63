"""Runs over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from demo_control.experiments.worker import DONE, FAILED, Work, died, work_for_parent
from demo_control.processes import one_thread_each

Event = tuple[Work, str, object]
"""A worker's work, what it says, and what belongs to that; see :mod:`demo_control.experiments.worker`."""

TICK_S = 0.5
"""Whoever listens to a pool hears at least this often from it."""
_GRACE_S = 20.0


@dataclass(frozen=True)
class _Worker:
    work: Work
    process: SpawnProcess
    connection: Connection


def run_locally(works: Sequence[Work], jobs: int) -> Iterator[Event | None]:
    """Run cells over processes, one process per cell: whatever happens to one does nothing to the others.

    Closing the generator ends the processes politely, and by force if they do not end.

    Args:
        works: In the order in which they are begun.
        jobs: Processes at a time.

    Yields:
        What the workers say; None where they say nothing for a while.
    """
    waiting, running = list(reversed(works)), list[_Worker]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.pop()))
            ready = wait([worker.connection for worker in running], TICK_S)
            if not ready:
                yield None
            for worker in [worker for worker in running if worker.connection in ready]:
                kind, content = _receive(worker)
                if kind in {DONE, FAILED}:
                    running.remove(worker)
                    _end([worker])
                yield worker.work, kind, content
    finally:
        _end(running)


def _start(work: Work) -> _Worker:
    # 'spawn': a forked child would inherit the threads of numerical libraries in an unknown state.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work_for_parent, args=(there, work, os.getpid()), name=work.cell.name)
    # Ctrl-C is the parent's alone, also while the worker is starting; here it waits for that long.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with one_thread_each():
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    # The worker's end is now the worker's alone: when it dies, reading ends here.
    there.close()
    return _Worker(work, process, here)


def _receive(worker: _Worker) -> tuple[str, object]:
    """What a worker says; that it died, if it did, which is kept like other failures."""
    try:
        kind, content = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join(_GRACE_S)
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return FAILED, died(worker.work, f"its process ended with {how}")
    return kind, content


def _end(workers: Sequence[_Worker]) -> None:
    """End processes: with SIGTERM, then by force."""
    for worker in workers:
        worker.process.terminate()
    deadline_s = time.monotonic() + _GRACE_S
    try:
        for worker in workers:
            worker.process.join(max(deadline_s - time.monotonic(), 0.0))
    finally:  # also when somebody presses Ctrl-C again
        for worker in workers:
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
