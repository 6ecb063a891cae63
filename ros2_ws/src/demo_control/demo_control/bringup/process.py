"""One node as a process of ours: started, watched, ended, with the end of what it said."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo_control.bringup.description import NodeDescription
from demo_control.bringup.shared_memory import segments_of
from demo_control.processes import end_with_parent
from demo_control.security.environment import enclave_arguments

_KEPT_LINES = 40
_NICENESS = -10


class NodeProcess:
    """A node's process; starts on construction.

    Must be made in a thread that lives as long as the nodes shall: Linux ends the children of a thread that ends.

    Args:
        description: The node.
        parameter_file: Its parameters.
        environment: Of the process.
        echo: Whether its output also goes to our standard error, each line headed by the node's name.
    """

    def __init__(
        self,
        description: NodeDescription,
        parameter_file: Path,
        environment: Mapping[str, str],
        *,
        echo: bool = False,
    ) -> None:
        self.description = description
        self.segments: set[str] = set()
        self._echo = echo
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        parent = os.getpid()
        self._process = subprocess.Popen(
            [*command_line(description, parameter_file), *enclave_arguments(description.enclave, environment)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=dict(environment),
            # A Ctrl-C of the terminal reaches only us; we end the nodes in order.
            start_new_session=True,
            preexec_fn=lambda: end_with_parent(parent),  # noqa: PLW1509 - one system call, no locks
        )
        if description.controls:
            _prefer(self.process_id)
        self._reader = threading.Thread(target=self._read, name=f"log of {description.name}")
        self._reader.start()

    @property
    def name(self) -> str:
        """The node's name."""
        return self.description.name

    @property
    def process_id(self) -> int:
        """The operating system's number of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number if a signal ended it."""
        return self._process.poll()

    def last_lines(self, count: int = 15) -> list[str]:
        """The end of what it wrote."""
        if self.exit_code is not None:
            self._reader.join(timeout=1.0)
        return list(self._lines)[-count:]

    def note_segments(self) -> None:
        """Remember its shared-memory segments, for the case that it cannot remove them itself."""
        self.segments |= segments_of(self.process_id)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False if it still runs after ``timeout_s``."""
        try:
            self._process.wait(timeout=max(timeout_s, 0.0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Join the reader of an ended process."""
        self._reader.join(timeout=1.0)

    def _read(self) -> None:
        """Keep the last lines; ends when the process closes its output."""
        stream = self._process.stdout
        assert stream is not None
        with stream:
            for line in stream:
                self._lines.append(line.rstrip("\n"))
                if self._echo:
                    print(f"[{self.name}] {line}", end="", file=sys.stderr, flush=True)


def end_all(processes: Sequence[NodeProcess], grace_s: float) -> None:
    """End processes: SIGINT, after ``grace_s`` SIGTERM, after another ``grace_s`` SIGKILL.

    Args:
        processes: All get the signal at once; those that have ended are left alone.
        grace_s: Seconds for all of them together to react to a signal, besides those that a robot may take to come to
            rest after the first.
    """
    for process in processes:
        if process.exit_code is None:
            process.note_segments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        running = [process for process in processes if process.exit_code is None]
        for process in running:
            process.send(number)
        rest_s = max((process.description.rest_s for process in running), default=0.0)
        deadline = time.monotonic() + grace_s + (rest_s if number is signal.SIGINT else 0.0)
        for process in running:
            process.wait(deadline - time.monotonic())
    for process in processes:
        process.close()


def command_line(description: NodeDescription, parameter_file: Path) -> list[str]:
    """The command that starts a node, the same as launch_ros's but for the first words; or several in one process."""
    nodes = description.components
    arguments = [] if nodes else ["-r", f"__node:={description.name}"]
    for source, target in description.remappings.items():
        arguments += ["-r", f"{source}:={target}"]
    arguments += [*component_remappings(nodes), "--params-file", str(parameter_file)]
    modules = [node.module for node in nodes]
    return [sys.executable, "-m", description.module, *modules, "--ros-args", *arguments]


def component_remappings(nodes: Sequence[NodeDescription]) -> list[str]:
    """ROS arguments that remap the topics of each node of a process for itself."""
    rules = [f"{node.name}:{source}:={target}" for node in nodes for source, target in node.remappings.items()]
    return [word for rule in rules for word in ("-r", rule)]


def _prefer(process_id: int) -> None:
    """Ask that a process comes before other programs.

    Needs the right to (root, CAP_SYS_NICE); without it, a busy machine makes commands late. Linux may share the time
    among sessions first and only then among the processes of one: both get the priority.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process_id, _NICENESS)
        Path(f"/proc/{process_id}/autogroup").write_text(str(_NICENESS))
