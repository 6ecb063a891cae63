"""The folder of one training run: what was asked for, and the checkpoints that let it go on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from demo_control.bundle.bundle import CONTRACT_FILE
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.learning.storage import UNREADABLE, load_json, save_json
from demo_control.texts import first_line

T = TypeVar("T")

_FORMAT = 1


class RunFolder:
    """Files of a run; see :meth:`checkpoint` for how a stage is resumed.

    Args:
        directory: Made if missing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def curves(self) -> Path:
        """Folder of plots and tables."""
        return self.directory / "curves"

    @property
    def rejected(self) -> Path:
        """Folder of a bundle that failed the closed-loop check."""
        return self.directory / "rejected"

    def file(self, name: str) -> Path:
        """A checkpoint's path."""
        return self.directory / "checkpoints" / name

    def begin(self, task: str, seed: int, settings: Mapping[str, Scalar]) -> bool:
        """Claim the folder for a run, or find that this very run has begun in it.

        Returns:
            Whether the run is resumed.

        Raises:
            ConfigurationError: The folder holds something else.
        """
        request = {"format": _FORMAT, "task": task, "seed": seed, "settings": dict(settings)}
        path = self.file("run.json")
        if not path.exists():
            check_free_for_bundle(self.directory, {self.curves, self.rejected, path.parent})
            save_json(path, request)
            return False
        found = self._loaded(path, load_json)
        if found != request:
            raise ConfigurationError(
                f"'{self.directory}' holds another run ({_difference(found, request)}); "
                f"choose another folder with --out, or delete it: rm -r {shlex.quote(str(self.directory))}"
            )
        return True

    def checkpoint(
        self,
        name: str,
        make: Callable[[], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
    ) -> T:
        """The result of a stage: from its file, or made and saved.

        Args:
            name: File name.
            make: Computes the result, from the run's seed alone.
            save: Writes it, atomically.
            load: Reads it.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        path = self.file(name)
        if path.exists():
            return self._loaded(path, load)
        result = make()
        save(result, path)
        return result

    def resumed(self, name: str, load: Callable[[Path], T]) -> T | None:
        """What a stage that saves its own progress has saved, or None.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        path = self.file(name)
        return self._loaded(path, load) if path.exists() else None

    def _loaded(self, path: Path, load: Callable[[Path], T]) -> T:
        try:
            return load(path)
        except UNREADABLE as error:
            raise ConfigurationError(
                f"checkpoint '{path}' cannot be read ({first_line(error)}); delete it to redo its stage"
            ) from error


def check_free_for_bundle(directory: Path, own: Collection[Path] = ()) -> None:
    """Refuse a folder that a bundle must not take the place of: who writes to folders in it meanwhile would lose that.

    Args:
        directory: May be missing.
        own: Folders in it that may be there.

    Raises:
        ConfigurationError: It holds a bundle, or other folders.
    """
    if (directory / CONTRACT_FILE).exists():
        raise ConfigurationError(f"'{directory}' holds a bundle already; choose another folder with --out")
    others = [path.name for path in directory.glob("*") if path.is_dir() and path not in own]
    if others:
        raise ConfigurationError(
            f"'{directory}' holds other folders ({', '.join(sorted(others))}), and a bundle takes the place of all of "
            "it; choose another folder with --out"
        )


def _difference(found: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    """The first setting in which two runs differ."""
    one, two = _flat(found), _flat(wanted)
    for name in [*two, *one]:
        if one.get(name) != two.get(name):
            return f"{name} = {one.get(name)}, asked for {two.get(name)}"
    return "of another version"


def _flat(run: Mapping[str, object]) -> dict[str, object]:
    settings = run.get("settings")
    plain = {name: value for name, value in run.items() if name != "settings"}
    return plain | (settings if isinstance(settings, dict) else {})
