"""Programs beside the robot: disturbers, and a recorder whose disk is full."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from demo_control.bringup.description import BringUp, recorder_of
from demo_control.bringup.process import NodeProcess, end_all
from demo_control.bringup.shared_memory import segments_of
from demo_control.bringup.supervisor import write_parameters

_DISK = "1m"
_FILLED_BYTES = 900 * 1024  # what is left is enough to begin with, and for a moment


class NotPermittedError(Exception):
    """This machine does not let us do what a case needs."""


class Disturbers:
    """Processes of :mod:`demo_control.faults.disturber`."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, kind: str, settings: Mapping[str, object]) -> Callable[[], bool]:
        """Start one; returns a function that says whether it is at work."""
        command = [sys.executable, "-m", "demo_control.faults.disturber", kind, json.dumps(dict(settings))]
        process = subprocess.Popen(
            [*command, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._processes.append(process)
        stream = process.stdout
        assert stream is not None
        return lambda: bool(select.select([stream], [], [], 0.0)[0])

    def end(self) -> set[str]:
        """End all, with their children; returns the shared memory they had."""
        segments: set[str] = set()
        for process in self._processes:
            segments |= segments_of(process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()
        return segments


class FullDisk:
    """A recorder on a file system of one megabyte."""

    def __init__(self) -> None:
        self._recorder: NodeProcess | None = None
        self._folder: Path | None = None

    def begin(self, bringup: BringUp, folder: Path) -> None:
        """Mount, fill, record.

        Raises:
            NotPermittedError: Mounting is not permitted here.
        """
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "demo_control_faults", str(folder)]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            folder.rmdir()
            raise NotPermittedError("mounting a small file system is not permitted here")
        self._folder = folder
        (folder / "filler").write_bytes(bytes(_FILLED_BYTES))
        arguments = replace(bringup.arguments, record=str(folder / "bag"))
        description = recorder_of(bringup.name, arguments)[0]
        path = write_parameters(description, folder.parent)
        self._recorder = NodeProcess(description, path, os.environ)

    def end(self) -> str:
        """End the recorder, and unmount; returns what was wrong with it, or ''."""
        problem = ""
        if self._recorder is not None:
            if self._recorder.exit_code not in (None, 0):
                problem = f"the recorder ended with code {self._recorder.exit_code}"
            end_all([self._recorder], 3.0)
            self._recorder = None
        if self._folder is not None:
            subprocess.run(["umount", "-l", str(self._folder)], capture_output=True, check=False)
            with contextlib.suppress(OSError):
                self._folder.rmdir()
            self._folder = None
        return problem
