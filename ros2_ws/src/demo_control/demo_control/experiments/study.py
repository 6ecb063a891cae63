"""A study on disk: its specification, its finished runs, and how far the others are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo_control.experiments.journal import read_journal
from demo_control.experiments.results import CellResult, differences, read_results
from demo_control.experiments.run import Folders
from demo_control.experiments.spec import Cell, Experiment
from demo_control.experiments.worker import FAILURE

WAITING, BEGUN, FINISHED, FAILED = "waiting", "begun", "finished", "failed"


@dataclass(frozen=True)
class Study:
    """An experiment with the results that it has.

    Attributes:
        experiment: The specification.
        results: Finished runs, in the order of the experiment's cells.
        num_cells: Of the experiment.
        strangers: Results in the folder of cells that the specification does not have, or has otherwise.
    """

    experiment: Experiment
    results: tuple[CellResult, ...]
    num_cells: int
    strangers: int

    def of(self, environment: str, method: str) -> list[CellResult]:
        """The runs of a method in an environment."""
        return [
            result
            for result in self.results
            if (result.cell.request.environment, result.cell.method) == (environment, method)
        ]


def load_study(folder: Path) -> Study:
    """Read a study's folder, where its checkpoints or where its results are.

    Raises:
        ConfigurationError: There is no study, or one of its files is damaged.
    """
    folders = Folders.of_study(folder)
    experiment, found = folders.experiment(), read_results(folders.results)
    cells = experiment.cells()
    results = [
        found[cell.name] for cell in cells if cell.name in found and not differences(found[cell.name].cell, cell)
    ]
    return Study(experiment, tuple(results), len(cells), len(found) - len(results))


@dataclass(frozen=True)
class CellState:
    """How far a run is.

    Attributes:
        cell: Which one.
        state: WAITING, BEGUN, FINISHED or FAILED.
        step: Environment steps so far.
        text: The latest return, or what went wrong.
    """

    cell: Cell
    state: str
    step: int
    text: str


def states(folder: Path) -> tuple[Experiment, Sequence[CellState]]:
    """How far each run of a study is; of runs that are not finished only the folder of its checkpoints knows.

    Raises:
        ConfigurationError: There is no study.
    """
    folders = Folders.of_study(folder)
    experiment, found = folders.experiment(), read_results(folders.results)
    return experiment, [_state(cell, found, folders.run(cell)) for cell in experiment.cells()]


def _state(cell: Cell, found: dict[str, CellResult], folder: Path) -> CellState:
    if cell.name in found:
        steps, returns = found[cell.name].column("evaluation", "return_mean")
        return CellState(cell, FINISHED, steps[-1] if steps else 0, f"{returns[-1]:.6g}" if returns else "")
    records = read_journal(folder)
    step = records[-1].step if records else 0
    if (folder / FAILURE).exists():
        return CellState(cell, FAILED, step, (folder / FAILURE).read_text(encoding="utf-8").strip().splitlines()[-1])
    returns = [record.values["return_mean"] for record in records if "return_mean" in record.values]
    return CellState(cell, BEGUN if folder.exists() else WAITING, step, f"{returns[-1]:.6g}" if returns else "")
