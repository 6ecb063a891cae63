"""Runs a bring-up from start to end where `ros2 launch` is not installed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

from demo_control.bringup.description import RECORDER, BringUp
from demo_control.bringup.monitor import ACTIVATE, CONFIGURE, Monitor
from demo_control.bringup.process import NodeProcess
from demo_control.bringup.processor_time import ProcessorUse
from demo_control.bringup.result import RunResult
from demo_control.bringup.shared_memory import remove_leftovers
from demo_control.bringup.supervisor import Supervisor, prepare_environment
from demo_control.network import claim_of, domain_of
from demo_control.security.environment import secured
from demo_control.tasks import load_task

_SPIN_S = 0.02
_START_TIMEOUT_S = 60.0
_STALL_TIMEOUT_S = 15.0
_NOTE_PERIOD_S = 0.5
_LAST_WORDS_S = 2.0
_OWN_NAME = "democtl"
_INTERRUPTED = "interrupted"


class BringUpError(RuntimeError):
    """A bring-up that did not run to its end; the text says which node or step failed, and its last lines."""


class RunInterruptedError(BringUpError):
    """The user ended the run."""


class Signals:
    """Notes SIGINT and SIGTERM instead of raising in the middle of something; a context manager."""

    def __init__(self) -> None:
        self.received = False
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Signals:
        """Install the handlers, where that is possible: in the main thread."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Put the old handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal() returned

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True


class Run:
    """One run under way; :func:`run_bringup` takes it through its steps.

    Args:
        bringup: What is run.
        supervisor: Its processes.
        monitor: Its topics.
        signals: What the user wants.
    """

    def __init__(self, bringup: BringUp, supervisor: Supervisor, monitor: Monitor, signals: Signals) -> None:
        self._bringup = bringup
        self.supervisor = supervisor
        self.monitor = monitor
        self._signals = signals
        self._noted_s = 0.0
        self.processor_use = ProcessorUse()
        self._measures = False
        self._under_way = False

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = _START_TIMEOUT_S) -> None:
        """Listen until a condition holds.

        Raises:
            RunInterruptedError: SIGINT or SIGTERM came.
            BringUpError: A node ended, or the condition did not hold in time.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.monitor.spin(_SPIN_S)
            self._note_segments()
            if self._signals.received:
                raise RunInterruptedError(_INTERRUPTED)
            ended = self.supervisor.ended(of_control=self._under_way)
            if ended is not None and not condition():
                raise BringUpError(epitaph(ended))
            if time.monotonic() > deadline:
                raise BringUpError(f"not within {timeout_s:g} s: {what}{self._complaints()}")

    def configure(self) -> None:
        """Configure all lifecycle nodes, at the same time."""
        names = self._lifecycle_names()
        self.wait_until(lambda: all(map(self.monitor.ready, names)), f"lifecycle services of {', '.join(names)}")
        self._check_rivals()
        answers = {name: self.monitor.change_state(name, CONFIGURE) for name in names}
        self.wait_until(lambda: all(a.done() for a in answers.values()), "nodes configured")
        for name, answer in answers.items():
            self._check(name, "configure", answer.result().success)

    def meet(self) -> None:
        """Wait until everybody hears everybody."""
        self.wait_until(lambda: not self.monitor.unmatched(), "all topics connected")
        self._check_rivals()

    def activate(self) -> None:
        """Activate the lifecycle nodes one after the other."""
        # From the first of them on the robot may move: what it does not need does not stop it any more.
        self._under_way = True
        for name in self._lifecycle_names():
            answer = self.monitor.change_state(name, ACTIVATE)
            # On a busy machine a short run may be over before we hear that it has begun.
            self.wait_until(lambda answer=answer: answer.done() or self._is_over(), f"{name} active")  # type: ignore[misc]
            if answer.done():
                self._check(name, "activate", answer.result().success)

    def finish(self, progress: Callable[[float], None]) -> None:
        """Listen until the run is over: a node that may end it has ended well."""
        progressed_s, elapsed_s = time.monotonic(), -1.0
        # While a driver brings its robot to rest, it tells nothing.
        stall_s = _STALL_TIMEOUT_S + max(node.rest_s for node in self._bringup.nodes)
        self._measures = True
        while not self._is_over():
            now_elapsed_s = self.monitor.elapsed_s()
            # Not only forward: the clock may be set, and a real robot goes on.
            if now_elapsed_s != elapsed_s:
                progressed_s, elapsed_s = time.monotonic(), now_elapsed_s
                progress(elapsed_s)
            if time.monotonic() - progressed_s > stall_s:
                raise BringUpError(f"simulated time stands still at {elapsed_s:.2f} s{self._complaints()}")
            end = time.monotonic() + 0.1
            self.wait_until(lambda end=end: time.monotonic() > end or self._is_over(), "progress")  # type: ignore[misc]
        # Its last words have arrived before it ended, but may wait for us: a short run is over before we listen.
        deadline = time.monotonic() + _LAST_WORDS_S
        while not self.monitor.figures() and time.monotonic() < deadline:
            self.monitor.spin(_SPIN_S)
        progress(self.monitor.elapsed_s())

    def _is_over(self) -> bool:
        ended = self.supervisor.ended(of_control=True)
        return ended is not None and ended.description.ends_run and ended.exit_code == 0

    def _lifecycle_names(self) -> list[str]:
        return [node.name for node in self._bringup.nodes if node.lifecycle]

    def _check_rivals(self) -> None:
        """Refuse to share a ROS domain: two drivers or controllers of one name would obey each other's commands."""
        rivals = self.monitor.rivals()
        if rivals:
            raise BringUpError(_domain_taken(f"{', '.join(rivals)}: running already in this ROS domain"))

    def _check(self, name: str, step: str, success: bool) -> None:
        """Fail with the node's own words."""
        if not success:
            process = self.supervisor.process(name)
            # Its answer may have overtaken its reason, which comes through a pipe: that is complete once it has ended.
            process.send(signal.SIGINT)
            process.wait(_LAST_WORDS_S)
            lines = "\n".join(process.last_lines())
            raise BringUpError(f"{name} did not {step}; it said last:\n{lines}")

    def _complaints(self) -> str:
        """What the nodes' diagnostics say, for errors that are not a node's death."""
        lines = [f"  {name}: {message}" for name, message in sorted(self.monitor.health.items())]
        missing = self.monitor.unmatched()
        if missing:
            lines.append(f"  not connected: {', '.join(missing)}")
        return "".join(f"\n{line}" for line in lines)

    def _note_segments(self) -> None:
        if time.monotonic() - self._noted_s > _NOTE_PERIOD_S:
            self._noted_s = time.monotonic()
            self.supervisor.note_segments()
            if self._measures:
                self.processor_use.sample({**self.supervisor.process_ids(), _OWN_NAME: os.getpid()})


def run_bringup(
    bringup: BringUp,
    *,
    echo: bool = False,
    progress: Callable[[float], None] = lambda _elapsed_s: None,
    on_active: Callable[[Run], None] = lambda _run: None,
    keeps_all: bool = True,
) -> RunResult:
    """Run a bring-up to its end.

    Everything is started and configured, then everybody waits until all are connected, then the nodes are activated
    in the bring-up's order (the layer before the policy); the driver holds the plant until the first command.

    Call it from a thread that lives until it returns; in the main thread, SIGINT and SIGTERM end the run.

    Args:
        bringup: What to run.
        echo: Whether the nodes' output goes to standard error.
        progress: Told the simulated seconds so far, several times a second.
        on_active: Called once the run is under way.
        keeps_all: False for runs of hours: the result's recording has the first and last messages only.

    Raises:
        RunInterruptedError: SIGINT or SIGTERM came; all nodes have been ended.
        BringUpError: A node died, refused a transition, or time stood still; all nodes have been ended.
        ConfigurationError: Security is asked for, and cannot be had; nothing has been started.
    """
    prepare_environment()
    enclaves = [process.enclave for process in bringup.processes]
    with claimed_domain(), secured(bringup.arguments.security, enclaves) as warnings:
        for warning in warnings:
            print(f"security: {warning}", file=sys.stderr)
        return _run(bringup, echo, progress, on_active, keeps_all)


def _run(
    bringup: BringUp,
    echo: bool,
    progress: Callable[[float], None],
    on_active: Callable[[Run], None],
    keeps_all: bool,
) -> RunResult:
    """Start, configure, meet, activate, finish, and always clean up."""
    task = load_task(bringup.task)
    segments: set[str] = set()
    try:
        with Signals() as signals, Supervisor(bringup, echo=echo) as supervisor:
            # After the processes were started: a child must not inherit this process's DDS threads' locks.
            monitor = Monitor(bringup, keeps_all=keeps_all)
            try:
                run = Run(bringup, supervisor, monitor, signals)
                run.configure()
                run.meet()
                run.activate()
                began_s = time.monotonic()
                on_active(run)
                run.finish(progress)
                wall_time_s = time.monotonic() - began_s
                recording, figures = monitor.recording(), monitor.figures()
                recorder, real_time = monitor.health.get(RECORDER, ""), dict(monitor.real_time)
            finally:
                supervisor.note_segments()
                segments = supervisor.segments()
                supervisor.stop()
                monitor.close()
    finally:
        remove_leftovers(segments)
    exit_codes = _finished(supervisor)
    cores = run.processor_use.cores()
    return RunResult(bringup, task, recording, exit_codes, wall_time_s, figures, cores, recorder, real_time)


@contextlib.contextmanager
def claimed_domain() -> Iterator[None]:
    """Make sure that no other bring-up of ours runs in this ROS domain on this machine.

    An abstract Unix socket is a lock that every user sees, and that the kernel drops however its holder ends.

    Raises:
        BringUpError: Another one runs.
        ConfigurationError: The environment names a domain that is none.
    """
    domain = domain_of(os.environ)
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(claim_of(domain))
        except OSError:
            raise BringUpError(_domain_taken(f"another robot runs in ROS domain {domain}")) from None
        yield


def _domain_taken(what: str) -> str:
    return f"{what}; end it, or set ROS_DOMAIN_ID to another number between 0 and 101"


def _finished(supervisor: Supervisor) -> dict[str, int | None]:
    """Exit codes of ended nodes; how those ended that the robot does not need is left to the codes.

    Raises:
        BringUpError: A node did not end well when it was asked to.
    """
    codes = supervisor.exit_codes()
    for name, code in codes.items():
        if code != 0 and supervisor.process(name).description.controls:
            raise BringUpError(epitaph(supervisor.process(name)))
    return codes


def epitaph(process: NodeProcess) -> str:
    """How a node ended, and its last lines."""
    code = process.exit_code
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = f"signal {signal.Signals(-code).name}"
    lines = "\n".join(process.last_lines())
    return f"node {process.name} ended unexpectedly ({how}); it said last:\n{lines or '(nothing)'}"
