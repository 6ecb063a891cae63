"""One run of an experiment in a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from demo_control.configuration import ConfigurationError
from demo_control.experiments.journal import Journal
from demo_control.experiments.results import CellResult, cell_as_mapping, cell_of, check_same, result_text
from demo_control.experiments.spec import Cell
from demo_control.experiments.stopping import stop_now
from demo_control.experiments.training import TRAINERS, Record, load_trainer
from demo_control.files import write_text_atomically
from demo_control.learning.provenance import git_revision, versions
from demo_control.machine import processor_name
from demo_control.processes import end_with_parent

CHECKPOINT = "checkpoint"
REQUEST = "request.json"
FAILURE = "failure.txt"

BEGUN, TOLD, DONE, FAILED = "begun", "told", "done", "failed"
"""What a worker says: (BEGUN, None), (TOLD, Record), (DONE, the result's text), (FAILED, message)."""


@dataclass(frozen=True)
class Work:
    """What a worker is given.

    Attributes:
        cell: Which run.
        location: Where its trainer is, 'module:function'. What was added to the registry in another process (by a
            robot's package, by a test) is unknown in this one.
        folder: For its checkpoint and journal.
        log: For its TensorBoard log, or None for none.
    """

    cell: Cell
    location: str
    folder: Path
    log: Path | None


def run_cell(work: Work, told: Callable[[Record], None]) -> str:
    """Run a cell, or go on with it where it was.

    Args:
        work: Which one, and its folders.
        told: Gets each new record.

    Returns:
        The text of its result file.

    Raises:
        ConfigurationError: The request is wrong, or the folder is of other settings.
    """
    TRAINERS[work.cell.trainer] = work.location
    with _alone_in(work.folder):
        revisions = _begin(work)
        train = load_trainer(work.cell.trainer)
        _use_one_thread()
        journal = Journal(work.folder, work.log)

        def tell(record: Record) -> None:
            journal(record)
            told(record)

        try:
            records = train(work.cell.request, work.folder / CHECKPOINT, tell)
        finally:
            journal.close()
    provenance = {"revision": revisions[-1], "versions": versions(), "processor": processor_name()}
    if len(set(revisions)) > 1:
        provenance["revisions"] = revisions  # it was interrupted, and the code is another one since
    return result_text(CellResult(work.cell, tuple(records), provenance))


def work_for_parent(connection: Connection, work: Work, parent: int) -> None:
    """The main function of a worker on this machine.

    Args:
        connection: Where the parent listens.
        work: What to do.
        parent: The parent's process number.
    """
    # The parent says when to stop, not the terminal. What the trainer cleans up after an exception is cleaned up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop_now)
    end_with_parent(parent)
    try:
        connection.send((BEGUN, None))
        message = (DONE, run_cell(work, lambda record: connection.send((TOLD, record))))
        # Nothing is left to clean up: the parent may end this process as soon as it has heard the last word.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except (KeyboardInterrupt, BrokenPipeError):
        return
    except Exception as error:  # whatever goes wrong in one run must not end the others
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        message = (FAILED, failure(work, error))
    connection.send(message)
    connection.close()


def failure(work: Work, error: Exception) -> str:
    """Keep what went wrong beside the checkpoint; one line about it."""
    what = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
    _keep(work, "".join(traceback.format_exception(error)))
    return what


def died(work: Work, what: str) -> str:
    """Keep for a worker that could not do it itself how it ended; one line about it."""
    _keep(work, f"{what}\n")
    return what


def _keep(work: Work, text: str) -> None:
    # A full disk is what went wrong, maybe: it must still be told, and the other runs go on as long as they can.
    with suppress(OSError):
        write_text_atomically(work.folder / FAILURE, text)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait for a worker of an earlier run that has not ended yet: two must not write the same checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _begin(work: Work) -> list[str]:
    """Note what the folder is of, or check it; the revisions that have worked on it."""
    path = work.folder / REQUEST
    revisions: list[str] = []
    if path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
        check_same(cell_of(content), work.cell, work.folder)
        revisions = content["revisions"]
    revision = git_revision()
    if revisions[-1:] != [revision]:
        revisions.append(revision)
        content = {**cell_as_mapping(work.cell), "revisions": revisions}
        write_text_atomically(path, json.dumps(content, indent=2) + "\n")
    (work.folder / FAILURE).unlink(missing_ok=True)
    return revisions


def _use_one_thread() -> None:
    """The runs share the cores already."""
    torch = sys.modules.get("torch")
    if torch is not None and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(1)
