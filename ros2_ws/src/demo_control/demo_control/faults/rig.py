"""What faults ask of a running robot; see :class:`demo_control.faults.table.Rig`."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
from demo_msgs.srv import LoadBundle

from demo_control.bringup.shared_memory import remove_leftovers
from demo_control.faults.programs import Disturbers, FullDisk
from demo_control.faults.running_robot import RunningRobot

_GARBAGE_BYTES = 4096


class Rig(RunningRobot):
    """A running robot that can be disturbed.

    Args:
        task: Name of the task.
        seed: Of the robot, the planner and the relay.
        pushed: Whether the robot is pushed now and then.
        check: Called while waiting; may raise to end everything.
    """

    def __init__(self, task: str, seed: int, *, pushed: bool, check: Callable[[], None]) -> None:
        super().__init__(task, seed, pushed=pushed, check=check)
        self.problems: list[str] = []
        self._disturbers = Disturbers()
        self._disk = FullDisk()
        self._garbage = np.random.default_rng(seed)

    def close(self) -> None:
        """End all processes, and remove what they left."""
        segments = self._disturbers.end()
        self._disk.end()
        super().close()
        remove_leftovers(segments)

    def distort(self, topic: str, **settings: object) -> None:
        """See :class:`demo_control.faults.table.Rig`; so for those that follow."""
        self.tell_relay(distortions={topic: settings})

    def undistort(self) -> None:
        """Let everything through as it is."""
        self.tell_relay(distortions={})

    def halt(self, node: str) -> None:
        """SIGSTOP."""
        self.supervisor.process(self.real_name(node)).send(signal.SIGSTOP)

    def resume(self, node: str) -> None:
        """SIGCONT."""
        self.supervisor.process(self.real_name(node)).send(signal.SIGCONT)

    def disturb(self, kind: str, **settings: object) -> None:
        """A disturbing process."""
        about = {
            "period_s": self.task.control_period_s,
            "values": [float(v) for v in self.task.action_maximum],
            "node": self.lifecycle_names()[0],
            **settings,
        }
        ready = self._disturbers.start(kind, about)
        self.wait_until(ready, f"{kind} at work")

    def leave_alone(self) -> None:
        """End them."""
        self._disturbers.end()

    def load_garbage(self, node: str, damaged: str) -> None:
        """A bundle that is none."""
        folder = self.folder / "garbage"
        shutil.rmtree(folder, ignore_errors=True)
        if damaged:
            shutil.copytree(self.bundle, folder)
            (folder / damaged).write_bytes(self._garbage.bytes(_GARBAGE_BYTES))
        self._expect_refusal(node, folder)

    def _expect_refusal(self, node: str, folder: Path) -> None:
        answer = self.call(LoadBundle, f"/{node}/load_bundle", LoadBundle.Request(directory=str(folder)))
        if answer.success:
            self.problems.append(f"{node} took a garbage bundle")

    def overwrite_bundle(self) -> None:
        """Garbage in place of all files, and a request to load them."""
        shutil.copytree(self.bundle, self.folder / "kept", dirs_exist_ok=True)
        for path in self.bundle.rglob("*"):
            if path.is_file():
                path.write_bytes(self._garbage.bytes(_GARBAGE_BYTES))
        for node in self.lifecycle_names():
            self._expect_refusal(node, self.bundle)

    def restore_bundle(self) -> None:
        """The old files."""
        shutil.copytree(self.folder / "kept", self.bundle, dirs_exist_ok=True)

    def record_to_full_disk(self) -> None:
        """A recorder on a file system of one megabyte."""
        self._disk.begin(self.bringup, self.folder / "disk")

    def stop_recording(self) -> None:
        """End it."""
        if problem := self._disk.end():
            self.problems.append(problem)
