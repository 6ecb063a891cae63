"""Which faults there are, when they happen, and what must come of them; data, without ROS.

A fault is injected through a :class:`Rig` and undone through it. To add one, add a line to :data:`FAULTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

RELEASE, RISING, STEADY, PUSHED, STOPPING = PHASES = ("release", "rising", "steady", "pushed", "stopping")
"""Phases of a run: the driver waits, with the fault there when commands begin; swinging up or standing up; balancing
or walking; right after a push; while it stops."""

GOES_ON, STOPS, EITHER, SILENT = "goes on", "stops", "either", "silent"
"""What must come of a fault: no safe stop; a safe stop; one of both; no command at all, as the driver itself is gone.
Whatever is expected: limits, time to safe and recovery are judged in every case."""

DRIVER, LAYER, POLICY = "driver", "demo_layer_node", "policy_node"


class Rig(Protocol):
    """A running robot, as a fault sees it."""

    def distort(self, topic: str, **settings: object) -> None:
        """Distort ``observation`` or ``action`` by the settings of a Distortion."""

    def undistort(self) -> None:
        """Let messages through as they are, again."""

    def kill(self, node: str) -> None:
        """End a node's process by SIGKILL."""

    def restart(self, node: str) -> None:
        """Start a killed node anew and take it to where it was."""

    def halt(self, node: str) -> None:
        """SIGSTOP: the process does not move any more."""

    def resume(self, node: str) -> None:
        """SIGCONT."""

    def disturb(self, kind: str, **settings: object) -> None:
        """Start a process of :mod:`demo_control.faults.disturber`."""

    def leave_alone(self) -> None:
        """End all disturbers."""

    def load_garbage(self, node: str, damaged: str) -> None:
        """Ask a node to load a bundle that is none; fails if it does not refuse.

        Args:
            node: Which.
            damaged: Which file of the bundle is garbage; '' for a folder that is not there.
        """

    def overwrite_bundle(self) -> None:
        """Replace the files of the bundle in use by garbage."""

    def restore_bundle(self) -> None:
        """Put them back."""

    def record_to_full_disk(self) -> None:
        """Start a recorder whose disk becomes full at once."""

    def stop_recording(self) -> None:
        """End it."""


Step = Callable[[Rig], None]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: Unique; a file name.
        text: For people.
        inject: Makes it happen.
        undo: Takes its cause away; what recovers, recovers by itself after it.
        phases: When it is tried.
        expected: What must come of it while commands should be carried out; see :data:`GOES_ON`.
        hold_s: How long it lasts.
        may_latch: Whether the robot may fall or leave its place: wrong numbers that cannot be told from right ones.
            Under all other faults it must be able to go on afterwards.
    """

    name: str
    text: str
    inject: Step
    undo: Step
    phases: tuple[str, ...]
    expected: str = EITHER
    hold_s: float = 0.4
    may_latch: bool = False


def _killed(node: str, expected: str) -> Fault:
    phases = (RELEASE, RISING, STEADY, PUSHED) if node != DRIVER else (RISING, STEADY, PUSHED)
    name = f"kill_{node.removesuffix('_node')}"
    text = f"kill -9 of {node}, then started anew"
    return Fault(name, text, lambda rig: rig.kill(node), lambda rig: rig.restart(node), phases, expected, 0.5)


def _halted(node: str, expected: str) -> Fault:
    name = f"halt_{node.removesuffix('_node')}"
    phases = PHASES if node != DRIVER else (RISING, STEADY, PUSHED)
    text = f"kill -STOP of {node}, kill -CONT after 0.5 s"
    return Fault(name, text, lambda rig: rig.halt(node), lambda rig: rig.resume(node), phases, expected, 0.5)


def _distorted(
    name: str,
    text: str,
    topic: str,
    phases: tuple[str, ...] = PHASES,
    expected: str = EITHER,
    *,
    may_latch: bool = False,
    **settings: object,
) -> Fault:
    distort: Step = lambda rig: rig.distort(topic, **settings)  # noqa: E731
    return Fault(name, text, distort, lambda rig: rig.undistort(), phases, expected, may_latch=may_latch)


def _disturbed(
    name: str,
    text: str,
    kind: str,
    phases: tuple[str, ...] = (RISING, STEADY),
    expected: str = EITHER,
    **settings: object,
) -> Fault:
    return Fault(
        name, text, lambda rig: rig.disturb(kind, **settings), lambda rig: rig.leave_alone(), phases, expected, 0.8
    )


def _nothing(_rig: Rig) -> None:
    """Let it be."""


def _garbage(name: str, text: str, node: str, damaged: str) -> Fault:
    return Fault(name, text, lambda rig: rig.load_garbage(node, damaged), _nothing, (STEADY,), GOES_ON, 0.3)


_MOVING = (RISING, STEADY, PUSHED)
_SHORT = (RISING, STEADY)

FAULTS: tuple[Fault, ...] = (
    _killed(POLICY, STOPS),
    _killed(LAYER, STOPS),
    _killed(DRIVER, SILENT),
    _halted(POLICY, STOPS),
    _halted(LAYER, STOPS),
    _halted(DRIVER, EITHER),
    _distorted("lose_commands_1", "1 % of the commands lost", "action", (RISING, STEADY, PUSHED), GOES_ON, loss=0.01),
    _distorted("lose_commands_5", "5 % of the commands lost", "action", (STEADY, PUSHED), loss=0.05),
    _distorted("lose_commands_20", "20 % of the commands lost", "action", _MOVING, loss=0.2),
    _distorted("lose_commands_all", "all commands lost", "action", expected=STOPS, loss=1.0),
    _distorted("lose_observations_20", "20 % of the observations lost", "observation", _MOVING, loss=0.2),
    _distorted("delay_commands", "commands 20 ms late, in any order", "action", _MOVING, delay_s=0.02, jitter_s=0.01),
    _distorted("delay_too_long", "commands 250 ms late", "action", _MOVING, STOPS, delay_s=0.25),
    _distorted("delay_observations", "observations 15 ms late", "observation", _SHORT, delay_s=0.015),
    _distorted("double_commands", "every second command comes twice", "action", _MOVING, GOES_ON, duplication=0.5),
    _distorted("sensor_nan", "observations are NaN", "observation", PHASES, STOPS, values="nan"),
    _distorted("sensor_inf", "observations are infinite", "observation", _MOVING, STOPS, values="inf"),
    _distorted("sensor_huge", "observations are 1e30", "observation", _MOVING, STOPS, values="huge"),
    _distorted("sensor_zero", "observations are zero", "observation", _SHORT, may_latch=True, values="zero"),
    _distorted(
        "sensor_stuck", "one entry of the observation is stuck", "observation", _MOVING, may_latch=True, values="stuck"
    ),
    _distorted(
        "sensor_frozen", "observations no longer change", "observation", _MOVING, may_latch=True, values="frozen"
    ),
    _distorted("sensor_longer", "observations have one entry too many", "observation", _SHORT, STOPS, values="longer"),
    _distorted("sensor_empty", "observations are empty", "observation", _SHORT, STOPS, values="empty"),
    _distorted("command_nan", "commands are NaN", "action", PHASES, STOPS, values="nan"),
    _distorted("command_inf", "commands are infinite", "action", _SHORT, STOPS, values="inf"),
    _distorted("command_huge", "commands are 1e30", "action", _MOVING, may_latch=True, values="huge"),
    _distorted("command_shorter", "commands have one entry too few", "action", _MOVING, STOPS, values="shorter"),
    _distorted("command_longer", "commands have one entry too many", "action", _SHORT, STOPS, values="longer"),
    _distorted("clock_forward", "stamps jump an hour forward", "observation", _MOVING, STOPS, stamp_s=3600.0),
    _distorted("clock_back", "stamps jump an hour back", "observation", _MOVING, STOPS, stamp_s=-3600.0),
    _garbage("bundle_missing", "load_bundle of a folder that is not there", LAYER, ""),
    _garbage("bundle_contract", "load_bundle with a garbage contract", POLICY, "contract.json"),
    _garbage("bundle_model", "load_bundle with a garbage model", LAYER, "dynamics.onnx"),
    _garbage("bundle_policy", "load_bundle with a garbage policy", POLICY, "policy.onnx"),
    Fault(
        "bundle_overwritten",
        "the files of the bundle in use become garbage",
        lambda rig: rig.overwrite_bundle(),
        lambda rig: rig.restore_bundle(),
        _SHORT,
        GOES_ON,
    ),
    _disturbed("parameter_spam", "the layer's parameters are set without pause, also to nonsense", "parameters"),
    _disturbed("junk_commands", "10 kHz of junk on action", "junk", topic="action"),
    _disturbed("junk_observations", "10 kHz of junk on observation", "junk", topic="observation"),
    _disturbed(
        "junk_unwatched", "10 kHz of junk on action, without a deadline", "junk", topic="action", deadline=False
    ),
    _disturbed("rival", "a second publisher answers every observation on action", "rival", _MOVING),
    _disturbed("rival_unwatched", "the same, without a deadline", "rival", _MOVING, deadline=False),
    _disturbed("hogs", "a busy program per core", "hogs", _MOVING),
    _disturbed("memory", "a program that fills 1 GB of memory", "memory"),
    _disturbed("other_domain", "a rival in another ROS domain", "rival", _SHORT, GOES_ON, other_domain=True),
    Fault(
        "full_disk",
        "the recorder's disk is full",
        lambda rig: rig.record_to_full_disk(),
        lambda rig: rig.stop_recording(),
        _SHORT,
        EITHER,
        2.0,
    ),
    # The last one: all before it were done to the same nodes, and what they left behind may show much later.
    Fault("nothing", "none: what those before left behind", _nothing, _nothing, (STEADY, PUSHED), GOES_ON, 15.0),
)

QUICK = (
    ("lose_commands_20", STEADY),
    ("sensor_nan", STEADY),
    ("sensor_frozen", STEADY),
    ("command_nan", STEADY),
    ("command_huge", STEADY),
    ("command_shorter", STEADY),
    ("clock_forward", STEADY),
    ("delay_too_long", STEADY),
    ("bundle_model", STEADY),
    ("rival", STEADY),
    ("halt_policy", STEADY),
    ("kill_policy", STEADY),
)
"""A dozen cases for a look of less than a minute, by fault and phase."""


@dataclass(frozen=True)
class Case:
    """One fault in one phase of one task's run.

    Attributes:
        task: Name of the task.
        phase: When.
        fault: What.
    """

    task: str
    phase: str
    fault: Fault

    @property
    def name(self) -> str:
        """Unique; a file name."""
        return f"{self.task}-{self.phase}-{self.fault.name}"


def cases(tasks: list[str], *, quick: bool = False) -> list[Case]:
    """All cases in the order in which they are run: by task, then phase, then as in the table.

    Args:
        tasks: Names.
        quick: Only :data:`QUICK`.
    """
    return [case for task in tasks for case in _of_task(task) if not quick or (case.fault.name, case.phase) in QUICK]


def _of_task(task: str) -> Iterator[Case]:
    for phase in PHASES:
        for fault in FAULTS:
            if phase in fault.phases:
                yield Case(task, phase, fault)
