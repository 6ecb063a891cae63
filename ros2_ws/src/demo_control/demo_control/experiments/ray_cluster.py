"""Runs over a Ray cluster: each cell is a task.

The nodes have this package and what its trainers need. The study's folder (``--out``) is best shared by them: then a
run whose node is lost goes on from its checkpoint on another one, and progress is seen. Where it is not shared, such a
run starts anew; results come back to whoever started the study in any case.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import ray

from demo_control.configuration import ConfigurationError
from demo_control.experiments.journal import read_journal
from demo_control.experiments.local import TICK_S, Event
from demo_control.experiments.run import Pool
from demo_control.experiments.training import Record
from demo_control.experiments.worker import BEGUN, DONE, FAILED, TOLD, Work, died, failure, run_cell
from demo_control.processes import THREAD_VARIABLES
from demo_control.texts import first_line

_RETRIES = 3
"""How often a run is begun again on another node when its node is lost."""
_SECONDS_BETWEEN_LOOKS = 5.0
_CANCELLED_WITHIN_S = 20.0


def connect(address: str, jobs: int | None) -> tuple[Pool, int]:
    """Connect to a cluster.

    Args:
        address: 'auto', 'HOST:PORT', or 'local' for a new one on this machine.
        jobs: Runs at a time; by default one per core of the cluster.

    Returns:
        What runs cells there, and how many at a time.

    Raises:
        ConfigurationError: It does not answer.
    """
    try:
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigurationError(f"Ray at '{address}' does not answer: {' '.join(str(error).split())}") from None
    count = jobs or max(int(ray.cluster_resources().get("CPU", 1)), 1)
    return (lambda works: run_on_cluster(works, count)), count


def run_on_cluster(works: Sequence[Work], jobs: int) -> Iterator[Event | None]:
    """Run cells as tasks of the cluster; see :func:`~demo_control.experiments.local.run_locally`."""
    task = ray.remote(_run).options(
        num_cpus=1, max_retries=_RETRIES, runtime_env={"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}
    )
    waiting, running = list(reversed(works)), dict[ray.ObjectRef, Work]()
    looked_s = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                work = waiting.pop()
                running[task.remote(work)] = work
                yield work, BEGUN, None
            ready, _ = ray.wait(list(running), timeout=TICK_S)
            if not ready:
                yield None
            for reference in ready:
                work = running.pop(reference)
                yield (work, *_outcome(work, reference))
            if time.monotonic() - looked_s >= _SECONDS_BETWEEN_LOOKS:
                looked_s = time.monotonic()
                yield from _latest(list(running.values()))
    finally:
        for reference in running:
            ray.cancel(reference, force=False)  # raises KeyboardInterrupt in the run
        ray.wait(list(running), num_returns=len(running), timeout=_CANCELLED_WITHIN_S) if running else None


def _run(work: Work) -> tuple[str, str]:
    """A task: the last word of a run."""
    try:
        return DONE, run_cell(work, lambda _record: None)
    except Exception as error:  # a run that fails must not be retried, as one is whose node is lost
        return FAILED, failure(work, error)


def _outcome(work: Work, reference: ray.ObjectRef) -> tuple[str, str]:
    try:
        kind, content = ray.get(reference)
    except ray.exceptions.RayError as error:
        return FAILED, died(work, first_line(error))
    return kind, content


def _latest(works: Sequence[Work]) -> Iterator[Event]:
    """How far runs are, as far as their folders can be seen from here."""
    for work in works:
        records: list[Record] = read_journal(work.folder)
        if records:
            yield work, TOLD, records[-1]
