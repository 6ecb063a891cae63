"""Arrays, JSON and tables on disk: either old or new, never half-written, and never pickled."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from demo_control.files import write_atomically, write_text_atomically


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Save named arrays as a compressed ``.npz`` file without pickled objects."""
    write_atomically(path, lambda beside: np.savez_compressed(beside, allow_pickle=False, **dict(arrays)))


def load_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Load what :func:`save_arrays` wrote.

    Raises:
        OSError, ValueError: The file is missing, damaged or contains pickled objects.
    """
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def save_json(path: Path, content: object) -> None:
    """Save JSON, indented, with a final newline."""
    write_text_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def load_json(path: Path) -> dict[str, object]:
    """Load a JSON object.

    Raises:
        OSError, ValueError: The file is missing, damaged or no object.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name}: expected an object")
    return content


def save_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Save a table with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text_atomically(path, text.getvalue())
