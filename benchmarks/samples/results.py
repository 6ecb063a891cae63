"""Results of the study: one row per cell, kept in one CSV file from which an interrupted study goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from demo_control.files import write_text_atomically
from demo_control.statistics import bootstrap_interval, wilson_interval
from demo_control.tasks import Array
from samples.closed_loop import Outcome

Key = tuple[str, str, int]


@dataclass(frozen=True)
class Row:
    """One cell and its figures.

    Attributes:
        problem: Name of the problem.
        variant: Name of the way of planning.
        budget: Rollouts of the model that a plan may take, M; 0 without a plan.
        samples: Rollouts that it took: the most that mirror steps and members can share.
        seeds: Number of episodes.
        cost_mean: Mean over the seeds.
        cost_low: Lower end of its 95 % interval (bootstrap).
        cost_high: Upper end.
        successes: Number of successful episodes.
        success_low: Lower end of the 95 % interval of the success rate (Wilson).
        success_high: Upper end.
        fingerprint: Of all that decides the result.
        seed_costs: Each seed's cost, separated by blanks.
        seed_successes: Each seed's success as 1 or 0.
    """

    problem: str
    variant: str
    budget: int
    samples: int
    seeds: int
    cost_mean: float
    cost_low: float
    cost_high: float
    successes: int
    success_low: float
    success_high: float
    fingerprint: str
    seed_costs: str
    seed_successes: str

    @property
    def key(self) -> Key:
        """Which cell it is."""
        return self.problem, self.variant, self.budget

    @property
    def costs(self) -> Array:
        """Each seed's cost. Shape=(seeds,)."""
        return np.array(self.seed_costs.split(), float)

    @property
    def success_rate(self) -> float:
        """Share of the episodes that succeeded."""
        return self.successes / self.seeds


def make_row(key: Key, samples: int, fingerprint: str, outcome: Outcome) -> Row:
    """The row of a cell that was run; its figures are those of the costs as they are written."""
    written = [f"{cost:.6g}" for cost in outcome.costs]
    costs = np.array(written, float)
    seeds, successes = len(costs), sum(outcome.successes)
    cost_low, cost_high = bootstrap_interval(costs)
    success_low, success_high = wilson_interval(successes, seeds)
    return Row(
        *key, samples, seeds, _rounded(float(costs.mean())), _rounded(cost_low), _rounded(cost_high),
        successes, round(success_low, 4), round(success_high, 4),
        fingerprint, " ".join(written), "".join(str(int(success)) for success in outcome.successes),
    )  # fmt: skip


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def read_rows(path: Path) -> dict[Key, Row]:
    """The rows of a file by cell; none where there is no file, or one with other columns."""
    if not path.exists():
        return {}
    types = {field.name: {"int": int, "float": float, "str": str}[str(field.type)] for field in fields(Row)}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != list(types):
            return {}
        rows = [Row(**{name: types[name](value) for name, value in line.items()}) for line in reader]
    return {row.key: row for row in rows}


def write_rows(path: Path, rows: Iterable[Row], order: Mapping[str, int]) -> None:
    """Write rows beside the file and rename.

    Args:
        path: The CSV file.
        rows: In any order.
        order: Places of problems and variants by name; others come last.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()

    def place(row: Row) -> tuple[int, int, int, str]:
        return order.get(row.problem, len(order)), order.get(row.variant, len(order)), row.budget, row.variant

    writer.writerows(asdict(row) for row in sorted(rows, key=place))
    write_text_atomically(path, text.getvalue())
