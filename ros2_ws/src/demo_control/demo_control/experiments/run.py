"""Running an experiment: the cells that are missing, over processes, resumed where they were interrupted."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo_control.configuration import ConfigurationError
from demo_control.experiments.local import Event
from demo_control.experiments.progress import Pace, RunProgress, duration, outcome_text
from demo_control.experiments.results import check_same, read_result, read_results
from demo_control.experiments.spec import Cell, Experiment, read_experiment
from demo_control.experiments.stopping import interrupted_by_sigterm
from demo_control.experiments.training import TRAINERS, Record
from demo_control.experiments.worker import BEGUN, DONE, FAILED, TOLD, Work
from demo_control.files import write_text_atomically
from demo_control.yaml_reader import read_yaml

SPECIFICATION = "experiment.yaml"
RESULTS = "results"
ELSEWHERE = "results_folder.txt"
"""Says in the folder of the checkpoints which folder has the specification and the results, if another one has."""
RUNS = "runs"
LOGS = "tensorboard"

Pool = Callable[[Sequence[Work]], Iterator[Event | None]]
"""Runs works in their order and yields what is heard of them; closing it ends what is running."""


@dataclass(frozen=True)
class Folders:
    """Where an experiment's files are.

    Attributes:
        out: Checkpoints and logs.
        kept: The specification and the results: what is worth committing.
        with_logs: Whether TensorBoard logs are written.
    """

    out: Path
    kept: Path
    with_logs: bool = True

    @classmethod
    def of_study(cls, folder: Path) -> Folders:
        """Those of a study that was begun, from either of its folders.

        Args:
            folder: What ``--out`` or ``--results`` was.

        Raises:
            ConfigurationError: There is no study; with what to give instead.
        """
        note = folder / ELSEWHERE
        kept = Path(note.read_text(encoding="utf-8").strip()) if note.exists() else folder
        if (kept / SPECIFICATION).exists():
            return cls(folder, kept)
        if note.exists():
            raise ConfigurationError(
                f"{folder}: its results were kept in {kept}, where '{SPECIFICATION}' is missing; give the folder that "
                f"was --results, or write it into {note}"
            )
        raise ConfigurationError(
            f"{folder}: no study there ('{SPECIFICATION}' is missing); give the folder that was --out or --results of "
            "'democtl experiment run'"
        )

    def experiment(self) -> Experiment:
        """The study that was begun; it is called as its folder where its file does not say it."""
        return read_experiment(self.kept / SPECIFICATION, self.kept.resolve().name)

    def check(self, name: str) -> None:
        """Refuse another study's folder: its specification would be written over, and its results be nobody's.

        Raises:
            ConfigurationError: It holds a study that says another name.
        """
        path = self.kept / SPECIFICATION
        # Only its name: what else it says is about to be replaced.
        found = read_yaml(path).word("name", name) if path.exists() else name
        if found != name:
            raise ConfigurationError(
                f"{self.kept} holds the study '{found}'; choose another folder with --out, or with --results"
            )

    def begin(self, specification: str) -> None:
        """Write the specification, and where it is."""
        write_text_atomically(self.kept / SPECIFICATION, specification)
        if self.kept.resolve() == self.out.resolve():
            (self.out / ELSEWHERE).unlink(missing_ok=True)
        else:
            write_text_atomically(self.out / ELSEWHERE, f"{self.kept.resolve()}\n")

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.kept / RESULTS

    def result(self, cell: Cell) -> Path:
        """Result file of a cell."""
        return self.results / f"{cell.name}.json"

    def run(self, cell: Cell) -> Path:
        """Folder of a cell's checkpoint."""
        return self.out / RUNS / cell.name

    def work(self, cell: Cell) -> Work:
        """What a worker needs."""
        log = self.out / LOGS / cell.name if self.with_logs else None
        return Work(cell, TRAINERS[cell.trainer], self.run(cell), log)


@dataclass(frozen=True)
class Selection:
    """Which cells are wanted; empty fields choose all.

    Attributes:
        methods: Names of methods; a method's own name chooses all its variants.
        environments: Names of environments.
        seeds: Seeds.
    """

    methods: Sequence[str] = ()
    environments: Sequence[str] = ()
    seeds: Sequence[int] = ()

    def of(self, experiment: Experiment) -> list[Cell]:
        """The chosen cells.

        Raises:
            ConfigurationError: A name that the experiment does not have.
        """
        names = [method.name for method in experiment.methods]
        known: dict[str, list[str] | list[int]] = {
            "method": list(dict.fromkeys([*names, *(name.split(" ")[0] for name in names)])),
            "environment": [environment.name for environment in experiment.environments],
            "seed": list(experiment.seeds),
        }
        chosen: dict[str, Sequence[str] | Sequence[int]] = {
            "method": self.methods, "environment": self.environments, "seed": self.seeds,
        }  # fmt: skip
        for name, values in chosen.items():
            for value in values:
                if value not in known[name]:
                    allowed = ", ".join(str(other) for other in known[name])
                    raise ConfigurationError(f"{name} = {value!r}: must be one of {allowed}")
        return [cell for cell in experiment.cells() if self._has(cell)]

    def _has(self, cell: Cell) -> bool:
        by_method = not self.methods or not {cell.method, cell.method.split(" ")[0]}.isdisjoint(self.methods)
        by_environment = not self.environments or cell.request.environment in self.environments
        return by_method and by_environment and (not self.seeds or cell.request.seed in self.seeds)


@dataclass
class Outcome:
    """How a session ended.

    Attributes:
        present: Cells that were finished before.
        finished: Cells that it finished.
        failed: What went wrong, by the cell's title.
        left: Cells that are not finished, and did not fail.
        interrupted: Whether somebody interrupted it.
        late: Whether its time was over.
    """

    present: int = 0
    finished: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0
    interrupted: bool = False
    late: bool = False


def run_experiment(
    cells: Sequence[Cell],
    folders: Folders,
    specification: str,
    pool: Pool,
    jobs: int,
    progress: RunProgress,
    limit_s: float | None = None,
) -> Outcome:
    """Run the cells that have no result yet, saving each at once.

    Args:
        cells: What is wanted, in the order in which cells are begun; those that were begun before come first.
        folders: Where files are.
        specification: Text of the specification, which is kept with the results.
        pool: Runs the cells.
        jobs: How many at a time, for the estimate of time.
        progress: Told what happens.
        limit_s: After this time what still runs is interrupted, to go on in another session.

    Raises:
        ConfigurationError: There is a result or a checkpoint of other settings, or another run works there.
    """
    with _alone_in(folders.out):
        missing, pace, present = _missing(cells, folders)
        folders.begin(specification)
        outcome = Outcome(present=present)
        session = _Session(missing, folders, pace, jobs, progress, outcome)
        deadline_s = None if limit_s is None else time.monotonic() + limit_s
        progress.start("experiment", len(missing))
        events = pool([folders.work(cell) for cell in missing])
        # It holds until the workers have ended: SIGTERM may come again meanwhile.
        with interrupted_by_sigterm():
            try:
                _listen(events, session, deadline_s)
            except KeyboardInterrupt:
                outcome.interrupted = True
            finally:
                progress.close()
                events.close()  # type: ignore[attr-defined]
        outcome.left = len(missing) - outcome.finished - len(outcome.failed)
        return outcome


def _listen(events: Iterator[Event | None], session: _Session, deadline_s: float | None) -> None:
    """Hear what the pool says until it is done or the time is over."""
    for event in events:
        if event is not None:
            session.hear(*event)
        session.show()
        if deadline_s is not None and time.monotonic() >= deadline_s:
            session.outcome.late = True
            return


class _Session:
    """Keeps account of what the workers say."""

    def __init__(
        self, missing: Sequence[Cell], folders: Folders, pace: Pace, jobs: int, progress: RunProgress, outcome: Outcome
    ) -> None:
        self.outcome = outcome
        self._folders, self._pace, self._jobs, self._progress = folders, pace, jobs, progress
        self._waiting = dict.fromkeys(cell.name for cell in missing)
        self._cells = {cell.name: cell for cell in missing}
        self._running: dict[str, Record | None] = {}

    def hear(self, work: Work, kind: str, content: object) -> None:
        """Take an event."""
        name = work.cell.name
        self._waiting.pop(name, None)
        if kind == BEGUN:
            self._running[name] = None
        elif kind == TOLD and isinstance(content, Record):
            self._running[name] = content
        elif kind in {DONE, FAILED}:
            self._running.pop(name, None)
            self._ended(work.cell, kind, str(content))

    def _ended(self, cell: Cell, kind: str, content: str) -> None:
        if kind == FAILED:
            self.outcome.failed[cell.title] = content
            self._progress.line(f"failed: {cell.title}: {content}", style="red")
            return
        path = self._folders.result(cell)
        write_text_atomically(path, content)
        result = read_result(path)
        self.outcome.finished += 1
        self._pace.add(cell, result.wall_s)
        self._progress.line(f"{cell.title}: {outcome_text(result.records)}  ({duration(result.wall_s)})")

    def show(self) -> None:
        """Show how far it is."""
        running = [(self._cells[name], record) for name, record in self._running.items()]
        left_s = self._pace.left_s([self._cells[name] for name in self._waiting], running, self._jobs)
        self._progress.show(self.outcome.finished, len(self.outcome.failed), running, left_s)


def _missing(cells: Sequence[Cell], folders: Folders) -> tuple[list[Cell], Pace, int]:
    """Cells without a result, those that were begun first; and how long others took."""
    found = read_results(folders.results)
    pace = Pace()
    for result in found.values():
        pace.add(result.cell, result.wall_s)
    missing = [cell for cell in cells if cell.name not in found]
    for cell in cells:
        if cell.name in found:
            check_same(found[cell.name].cell, cell, folders.result(cell))
    missing.sort(key=lambda cell: not folders.run(cell).exists())
    return missing, pace, len(cells) - len(missing)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Refuse a second run in the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"{folder}: another run is at work there") from None
        yield
