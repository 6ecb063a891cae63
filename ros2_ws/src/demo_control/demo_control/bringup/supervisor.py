"""Starts the nodes of a bring-up as processes, watches them, and ends them without leaving anything behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from demo_control.bringup.description import BringUp, NodeDescription
from demo_control.bringup.process import NodeProcess, end_all
from demo_control.bringup.shared_memory import segments_of
from demo_control.network import prepare_network


def prepare_environment() -> None:
    """Of this program and the nodes that it starts; call before rclpy.init."""
    prepare_network()
    # Python buffers a pipe's output; a node that dies must have said why.
    os.environ.setdefault("PYTHONUNBUFFERED", "1")


def write_parameters(description: NodeDescription, folder: Path) -> Path:
    """Write the parameters of a process's nodes as a ROS parameter file; returns its path."""
    nodes = description.components or (description,)
    content: dict[str, Any] = {node.name: {"ros__parameters": dict(node.parameters)} for node in nodes}
    path = folder / f"{description.name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


class Supervisor:
    """The processes of one bring-up. A context manager: leaving it ends all of them.

    Must be used in a thread that lives as long as the nodes shall (see :class:`NodeProcess`).

    Args:
        bringup: What to run.
        echo: Whether the nodes' output goes to standard error.
        grace_s: Time to react to SIGINT, besides that which a robot may take to come to rest, and again to SIGTERM.
    """

    def __init__(self, bringup: BringUp, *, echo: bool = False, grace_s: float = 5.0) -> None:
        self.bringup = bringup
        self._echo = echo
        self._grace_s = grace_s
        self._folder: Path | None = None
        self._processes: dict[str, NodeProcess] = {}
        self._replaced: list[NodeProcess] = []
        self._process_of = {
            node.name: process.name for process in bringup.processes for node in (process.components or (process,))
        }

    def __enter__(self) -> Supervisor:
        """Start all nodes."""
        self._folder = Path(tempfile.mkdtemp(prefix="demo_control-"))
        try:
            for description in self.bringup.processes:
                self._start(description)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End all nodes."""
        self.stop()

    def process(self, name: str) -> NodeProcess:
        """The running or last process of a node."""
        return self._processes[self._process_of[name]]

    def restart(self, name: str) -> NodeProcess:
        """End a node's process if it still runs, and start a new one (its nodes unconfigured, with a lifecycle)."""
        old = self.process(name)
        end_all([old], self._grace_s)
        self._replaced.append(old)
        self._start(old.description)
        return self.process(name)

    def process_ids(self) -> dict[str, int]:
        """Process numbers by process; one of several nodes has all their names."""
        return {name: process.process_id for name, process in self._processes.items()}

    def ended(self, *, of_control: bool = False) -> NodeProcess | None:
        """A node that has ended, if there is one; ``of_control``: that the robot needs."""
        processes = [p for p in self._processes.values() if p.description.controls or not of_control]
        return next((p for p in processes if p.exit_code is not None), None)

    def exit_codes(self) -> dict[str, int | None]:
        """Exit code by node; None for those that run."""
        return {name: self.process(name).exit_code for name in self._process_of}

    def note_segments(self) -> None:
        """Remember the nodes' shared-memory segments; call now and then, at least once all nodes have met."""
        for process in self._processes.values():
            process.note_segments()

    def stop(self) -> None:
        """End all nodes; who only listens hears the others' last words."""
        processes = list(self._processes.values())
        end_all([process for process in processes if process.description.controls], self._grace_s)
        end_all([process for process in processes if not process.description.controls], self._grace_s)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def segments(self) -> set[str]:
        """Shared-memory segments seen in our nodes, the ended ones too, and in this process."""
        processes = [*self._processes.values(), *self._replaced]
        return segments_of("self").union(*(process.segments for process in processes))

    def _start(self, description: NodeDescription) -> None:
        assert self._folder is not None
        path = write_parameters(description, self._folder)
        self._processes[description.name] = NodeProcess(description, path, os.environ, echo=self._echo)
