"""Files that are either old or new, never half-written, and never pickled."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then rename it into place.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Save named arrays as a compressed ``.npz`` file without pickled objects."""
    write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **dict(arrays)))


def load_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Load what :func:`save_arrays` wrote.

    Raises:
        OSError, ValueError: The file is missing, damaged or contains pickled objects.
    """
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def save_json(path: Path, content: object) -> None:
    """Save JSON, indented, with a final newline."""
    text = json.dumps(content, indent=2, sort_keys=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def save_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Save a table with a header line."""

    def write(file: BinaryIO) -> None:
        lines = _Lines(file)
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)

    write_atomically(path, write)


class _Lines:
    """Text front of a binary file, as ``csv.writer`` wants it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())
