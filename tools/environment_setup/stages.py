"""Stages that are done once: each leaves a stamp with the hash of everything it depended on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """One step of the set-up.

    Attributes:
        name: Short name, the stamp's file name.
        title: What the user reads.
        inputs: Gives everything that the result depends on; asked when the stage's turn comes,
            because it may depend on what earlier stages made.
        run: Does the work. It must be repeatable after an interrupt at any moment, and raise
            an exception if it did not succeed.
        outputs: What must exist afterwards. If one is gone the stage runs again.
        needed_gb: Disk space it takes, in gigabytes.
    """

    name: str
    title: str
    inputs: Callable[[], Iterable[str]]
    run: Callable[[], None]
    outputs: Callable[[], Iterable[Path]]
    needed_gb: float = 0.0


class Stamps:
    """The stamps of the stages that were finished.

    Args:
        folder: Where they are kept, one file for each stage.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_current(self, stage: Stage) -> bool:
        """Says whether a stage was finished with the inputs that it has now.

        Args:
            stage: The stage.

        Returns:
            True if there is nothing to do.
        """
        try:
            stamp = self._path(stage).read_text(encoding="utf-8")
        except OSError:
            return False
        return stamp == digest(stage) and all(path.exists() for path in stage.outputs())

    def set(self, stage: Stage) -> None:
        """Notes that a stage was finished with the inputs it has now.

        Args:
            stage: The stage.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(stage), digest(stage))

    def clear(self, stage: Stage) -> None:
        """Forgets a stage, before it is run, so that an interrupt cannot leave a wrong stamp.

        Args:
            stage: The stage.
        """
        self._path(stage).unlink(missing_ok=True)

    def _path(self, stage: Stage) -> Path:
        return self._folder / f"{stage.name}.stamp"


def digest(stage: Stage) -> str:
    """Hashes what a stage depends on.

    Args:
        stage: The stage.

    Returns:
        SHA-256, 64 hexadecimal digits.
    """
    result = hashlib.sha256(stage.name.encode())
    for item in stage.inputs():
        data = item.encode()
        result.update(f"{len(data)}:".encode() + data)
    return result.hexdigest()


def file_inputs(paths: Iterable[Path]) -> list[str]:
    """Gives the names and contents of files, for `Stage.inputs`.

    Args:
        paths: The files.

    Returns:
        Name and content of each, sorted by path.
    """
    return [text for path in sorted(paths) for text in (path.name, path.read_bytes().decode(errors="surrogateescape"))]


def write_whole(path: Path, text: str) -> None:
    """Writes a file beside its place and renames it, so that it is never half there.

    Args:
        path: The file.
        text: Its content.
    """
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
