"""What a run has told so far, on disk: for whoever looks at it while it runs, and for TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo_control.experiments.training import Record
from demo_control.files import write_text_atomically

FILE = "journal.jsonl"


def has_tensorboard() -> bool:
    """Whether logs for TensorBoard can be written here."""
    return importlib.util.find_spec("tensorboardX") is not None


class Journal:
    """Keeps records as lines of JSON, and as a TensorBoard log without repeated steps.

    A run that goes on from a checkpoint tells again what it told after that checkpoint. What the journal has from the
    first repeated record on is dropped then, and the log is written anew.

    Args:
        folder: Of the run's checkpoint.
        log: Folder of its TensorBoard log, or None for no log.
    """

    def __init__(self, folder: Path, log: Path | None) -> None:
        self._path = folder / FILE
        self._log = log if log is not None and has_tensorboard() else None
        self._lines = list(_lines(self._path))
        # Also where no line is whole: the first one was half written.
        self._resumed = self._path.exists() and self._path.stat().st_size > 0
        self._writer: Any = None

    def __call__(self, record: Record) -> None:
        """Take a new record."""
        if self._resumed:
            self._drop_from(record)
            self._resumed = False
        line = {"kind": record.kind, "step": record.step, "seconds": record.seconds, "time": time.time()}
        line["values"] = {name: float(value) for name, value in record.values.items()}
        self._lines.append(line)
        # Not renamed into place: whoever reads it passes over a last line that is not whole.
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._log is not None:
            if self._writer is None:
                self._open()
            self._write(line)
            self._writer.flush()

    def close(self) -> None:
        """End the log."""
        if self._writer is not None:
            self._writer.close()

    def _drop_from(self, record: Record) -> None:
        """Forget what will be told again; only whole lines are kept."""
        keys = [(line["kind"], line["step"]) for line in self._lines]
        if (record.kind, record.step) in keys:
            del self._lines[keys.index((record.kind, record.step)) :]
        write_text_atomically(self._path, "".join(json.dumps(line) + "\n" for line in self._lines))

    def _open(self) -> None:
        from tensorboardX import SummaryWriter  # noqa: PLC0415 - optional

        assert self._log is not None
        shutil.rmtree(self._log, ignore_errors=True)
        self._writer = SummaryWriter(str(self._log))
        for line in self._lines[:-1]:
            self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        for name, value in line["values"].items():
            self._writer.add_scalar(f"{line['kind']}/{name}", value, line["step"], walltime=line["time"])


def read_journal(folder: Path) -> list[Record]:
    """What a run has told so far; [] if nothing."""
    return [Record(line["kind"], line["step"], line["seconds"], line["values"]) for line in _lines(folder / FILE)]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            return  # the run was killed while it wrote
