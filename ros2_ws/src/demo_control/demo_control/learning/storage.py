"""Arrays, tensors, JSON and tables on disk: either old or new, never half-written, and never pickled."""

from __future__ import annotations

import csv
import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from demo_control.files import write_atomically, write_bytes_atomically, write_text_atomically

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What reading an archive raises that lacks something or has other bits, beside OSError and ValueError."""

UNREADABLE = (
    OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, EOFError, pickle.UnpicklingError,
)  # fmt: skip
"""What reading a file of tensors or arrays raises, and taking in what it holds, that is none, or half of one."""


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Save named arrays as a compressed ``.npz`` file without pickled objects."""
    write_atomically(path, lambda beside: np.savez_compressed(beside, allow_pickle=False, **dict(arrays)))


def save_tensors(path: Path, content: Mapping[str, object]) -> None:
    """Save what ``torch.load`` reads without executing code.

    Raises:
        OSError: It could not be written; on a full disk PyTorch's own writing to files raises RuntimeError instead.
    """
    import torch  # noqa: PLC0415 - tables are written where there is no PyTorch

    written = io.BytesIO()
    torch.save(dict(content), written)
    write_bytes_atomically(path, written.getvalue())


def load_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Load what :func:`save_arrays` wrote.

    Raises:
        OSError, ValueError: The file is missing, damaged or contains pickled objects.
    """
    try:
        # Not by numpy.load: it compares no checksum where a damaged header asks for less than there is.
        with zipfile.ZipFile(path) as archive:
            contents = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    except _DAMAGED as error:
        raise ValueError(f"damaged, or no file of arrays: {str(error) or type(error).__name__}") from error
    return {
        name: np.lib.format.read_array(io.BytesIO(content), allow_pickle=False) for name, content in contents.items()
    }


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
