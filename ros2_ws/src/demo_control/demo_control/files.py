"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ResultT = TypeVar("ResultT")


def write_atomically(path: Path, write: Callable[[Path], ResultT]) -> ResultT:
    """Let ``write`` fill a file beside ``path`` and then rename it into place.

    Args:
        path: Where the file belongs; its folder is made if missing.
        write: Gets the path to write to, which has the same suffix.

    Returns:
        What ``write`` returns.

    Raises:
        OSError: It could not be written; ``path`` is then as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        result = write(beside)
        # mkstemp makes files private; what we write is meant to be read.
        beside.chmod(0o644)
        beside.replace(path)
        return result
    finally:
        beside.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text; see :func:`write_atomically`."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))
