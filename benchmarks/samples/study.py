"""Running the cells of the study: over processes, resumed where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

from demo_control.configuration import ConfigurationError
from demo_control.learning.progress import Reporter
from demo_control.mpc import PlannerSettings
from demo_control.worker_pool import WorkerPool
from samples.problems import PROBLEMS
from samples.results import Key, Row, make_row, read_rows, write_rows
from samples.variants import SHIPPED, VARIANTS

ORDER = {name: place for place, name in enumerate([*PROBLEMS, *VARIANTS])}
"""Places of problems and variants in the tables."""


@dataclass(frozen=True)
class Cell:
    """One problem, one way of planning, one number of samples.

    Attributes:
        problem: Name of the problem.
        variant: Name of the way of planning.
        budget: Samples that a plan may use; 0 for the policy alone.
        seeds: Number of episodes.
        seed: Of everything random.
    """

    problem: str
    variant: str
    budget: int
    seeds: int
    seed: int

    @property
    def key(self) -> Key:
        """Which row it is."""
        return self.problem, self.variant, self.budget

    @property
    def settings(self) -> PlannerSettings | None:
        """The planner's settings; None for the policy alone, and where the samples do not suffice."""
        settings = VARIANTS[self.variant].settings
        return None if settings is None else PROBLEMS[self.problem].planner_settings(settings, self.budget)

    @property
    def possible(self) -> bool:
        """Whether there are enough samples for a plan, and shipped settings where these are meant."""
        if self.variant == SHIPPED.name and not PROBLEMS[self.problem].learned:
            return False
        return VARIANTS[self.variant].settings is None or self.settings is not None

    @property
    def fingerprint(self) -> str:
        """Stands for all that decides the result: settings, seeds, bundle and code."""
        settings = self.settings
        values = None if settings is None else settings.as_mapping()
        text = json.dumps([PROBLEMS[self.problem].digest, values, self.seeds, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def seconds(self) -> float:
        """About how long it takes."""
        fixed, per_sample = PROBLEMS[self.problem].seconds
        return (fixed + per_sample * self.budget) * (0.5 + self.seeds / 48)


def make_cells(
    problems: Sequence[str], variants: Sequence[str], budgets: Sequence[int], seeds: int, seed: int
) -> list[Cell]:
    """All cells that are possible, in the order of the tables.

    Raises:
        ConfigurationError: None is.
    """
    cells = [
        Cell(problem, variant, budget, seeds, seed)
        for problem in problems
        for variant in variants
        for budget in ([0] if VARIANTS[variant].settings is None else budgets)
    ]
    possible = [cell for cell in cells if cell.possible]
    if not possible:
        raise ConfigurationError(
            f"samples = {', '.join(map(str, budgets))}: too few for a plan, or no shipped settings: nothing to "
            f"run of variants = {', '.join(variants)} on problems = {', '.join(problems)}"
        )
    return possible


def run_cell(cell: Cell) -> Row:
    """Run a cell's episodes as one batch, so that the result does not depend on who else is at work."""
    settings = cell.settings
    outcome = PROBLEMS[cell.problem].run(settings, cell.seeds, cell.seed)
    samples = 0 if settings is None else PROBLEMS[cell.problem].rollouts(settings)
    return make_row(cell.key, samples, cell.fingerprint, outcome)


def run_study(cells: Sequence[Cell], path: Path, jobs: int, reporter: Reporter) -> list[Row]:
    """Run the cells that the file does not have yet, saving each at once.

    Args:
        cells: What is wanted.
        path: The CSV file; rows of other cells in it are kept.
        jobs: Processes.
        reporter: Told what is done.

    Returns:
        The rows of all cells, in their order.
    """
    rows = read_rows(path)
    missing = [cell for cell in cells if cell.key not in rows or rows[cell.key].fingerprint != cell.fingerprint]
    # The longest first: none is left over at the end, for which the other processes would wait.
    missing.sort(key=lambda cell: -cell.seconds)
    reporter.start("sample efficiency", round(sum(cell.seconds for cell in missing)))
    done_s, count = 0.0, 0
    for cell, row in _finished(missing, jobs):
        rows[row.key] = row
        write_rows(path, rows.values(), ORDER)
        done_s, count = done_s + cell.seconds, count + 1
        reporter.advance(round(done_s), f"{count} of {len(missing)} cells: {cell.problem} {cell.variant} {cell.budget}")
    reporter.finish(f"{len(missing)} cells run, {len(cells) - len(missing)} were there")
    return [rows[cell.key] for cell in cells]


def _finished(cells: Sequence[Cell], jobs: int) -> Iterator[tuple[Cell, Row]]:
    """Cells with their rows as they are finished."""
    if not cells:
        return
    # The processes share the cores already; and sums must not depend on how many threads make them.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    with WorkerPool(min(jobs, len(cells))) as pool:
        futures = {pool.submit(run_cell, cell): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], future.result()
