"""What a finished run leaves: one small JSON file with its request, where it comes from, and its records."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.experiments.spec import Cell
from demo_control.experiments.training import EvaluationSettings, Record, RunRequest

EVALUATION = "evaluation"
"""The kind of record that judges a learner."""

_RECORDS_PER_KIND = 100
"""Other kinds of records than evaluations are thinned out to about as many, evenly: results are committed."""
_DIGITS = 6


@dataclass(frozen=True)
class CellResult:
    """A finished run.

    Attributes:
        cell: Which run.
        records: In the order they were made.
        provenance: Revision, versions, processor and the like.
    """

    cell: Cell
    records: tuple[Record, ...]
    provenance: Mapping[str, object]

    @property
    def wall_s(self) -> float:
        """Time that the run took, over all its interruptions."""
        return max((record.seconds for record in self.records), default=0.0)

    def column(self, kind: str, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one figure, where there is one."""
        rows = [(record.step, record.values[name]) for record in self.records_of(kind) if name in record.values]
        return [step for step, _ in rows], [value for _, value in rows]

    def records_of(self, kind: str) -> list[Record]:
        """The records of a kind."""
        return [record for record in self.records if record.kind == kind]


def result_text(result: CellResult) -> str:
    """The file's content."""
    head = {
        **cell_as_mapping(result.cell),
        "provenance": dict(result.provenance),
        "wall_seconds": round(result.wall_s, 1),
    }
    # A line per entry: short, and what changes shows in a comparison of two revisions.
    lines = [f'  "{name}": {json.dumps(value, allow_nan=False)}' for name, value in head.items()]
    blocks = []
    for kind in dict.fromkeys(record.kind for record in result.records):
        columns = _columns(_thinned(kind, result.records_of(kind)))
        rows = [f"      {json.dumps(name)}: {_compact(column)}" for name, column in columns.items()]
        blocks.append(f"    {json.dumps(kind)}: {{\n" + ",\n".join(rows) + "\n    }")
    lines.append('  "records": {\n' + ",\n".join(blocks) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_result(path: Path) -> CellResult:
    """Read a finished run.

    Raises:
        ConfigurationError: The file is damaged or something else.
        OSError: It cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records = [record for kind, columns in content["records"].items() for record in _records(kind, columns)]
        # As they were made: by time, and within the same moment by kind as in the file.
        records.sort(key=lambda record: (record.step, record.seconds))
        return CellResult(cell_of(content), tuple(records), content["provenance"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path}: no result of a run ({error}); remove it to run it again") from None


def read_results(folder: Path) -> dict[str, CellResult]:
    """All finished runs of a folder by the cell's name."""
    return {path.stem: read_result(path) for path in sorted(folder.glob("*.json"))}


def cell_as_mapping(cell: Cell) -> dict[str, object]:
    """A cell for JSON."""
    request = cell.request
    return {
        "method": cell.method,
        "trainer": cell.trainer,
        "request": {
            "environment": request.environment,
            "seed": request.seed,
            "steps": request.steps,
            "settings": dict(request.settings),
            "evaluation": request.evaluation.as_mapping(),
        },
    }


def cell_of(content: Mapping[str, Any]) -> Cell:
    """What :func:`cell_as_mapping` wrote.

    Raises:
        KeyError, TypeError, ValueError: It is something else.
    """
    request = content["request"]
    return Cell(
        content["method"],
        content["trainer"],
        RunRequest(
            environment=request["environment"],
            seed=request["seed"],
            steps=request["steps"],
            settings=dict(request["settings"]),
            evaluation=EvaluationSettings.from_mapping(request["evaluation"]),
        ),
    )


def differences(found: Cell, wanted: Cell) -> list[str]:
    """What decides the results of two cells and differs between them: 'steps: 100 there, 200 here'."""
    there, here = _flat(found), _flat(wanted)
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return [f"{name}: {there.get(name, 'nothing')} there, {here.get(name, 'nothing')} here" for name in names]


def check_same(found: Cell, wanted: Cell, where: Path) -> None:
    """Refuse to take one cell's files for another's.

    Raises:
        ConfigurationError: With all that differs.
    """
    differing = differences(found, wanted)
    if differing:
        raise ConfigurationError(
            f"{where} is of other settings ({'; '.join(differing)}): remove it, or give another folder with --out"
        )


def _flat(cell: Cell) -> dict[str, Scalar]:
    request = cell.request
    flat: dict[str, Scalar] = {
        "trainer": cell.trainer,
        "environment": request.environment,
        "seed": request.seed,
        "steps": request.steps,
    }
    flat |= {f"settings.{name}": value for name, value in request.settings.items()}
    return flat | {f"evaluation.{name}": value for name, value in request.evaluation.as_mapping().items()}


def _thinned(kind: str, records: Sequence[Record]) -> Sequence[Record]:
    """Every k-th record and the last one; all evaluations."""
    if kind == EVALUATION or len(records) <= _RECORDS_PER_KIND:
        return records
    stride = math.ceil(len(records) / _RECORDS_PER_KIND)
    # Counted from the last one, whose figures are quoted.
    return records[(len(records) - 1) % stride :: stride]


def _columns(records: Sequence[Record]) -> dict[str, list[object]]:
    """Records of a kind as columns; None where one lacks a figure."""
    names = dict.fromkeys(name for record in records for name in record.values)
    columns: dict[str, list[object]] = {
        "step": [record.step for record in records],
        "seconds": [round(record.seconds, 1) for record in records],
    }
    for name in names:
        columns[name] = [_number(record.values[name]) if name in record.values else None for record in records]
    return columns


def _records(kind: str, columns: Mapping[str, Sequence[Any]]) -> Iterator[Record]:
    names = [name for name in columns if name not in {"step", "seconds"}]
    for place, (step, seconds) in enumerate(zip(columns["step"], columns["seconds"], strict=True)):
        found = {name: columns[name][place] for name in names}
        yield Record(kind, step, seconds, {name: float(value) for name, value in found.items() if value is not None})


def _number(value: float) -> float | int | str:
    """Six digits; a word for what JSON has no number for."""
    if not math.isfinite(value):
        return str(float(value))
    rounded = float(f"{value:.{_DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded  # noqa: PLR2004


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
