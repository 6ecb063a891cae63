"""The motion that recordings show, for who learns from it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import BundleFinder, recorded_task
from demo_control.bags.layer_log import read_layer_log
from demo_control.bags.reader import Bag
from demo_control.bags.recorded import RecordedStretches
from demo_control.bags.replay import answer_again
from demo_control.bags.stretches import Stretch
from demo_control.bags.usable import usable
from demo_control.tasks import Task

_PIECE = 1 << 20


@dataclass(frozen=True)
class Motion:
    """What one recording shows.

    Attributes:
        name: Of the bag.
        sha256: Of its files' bytes.
        stretches: Where it can be used; NaN controls elsewhere.
        delay_ticks: That of all its stretches.
        seconds: From the first to the last observation of all stretches.
        left_out: Why how many control periods are not used.
        warnings: What is wrong with the recording, one line each.
    """

    name: str
    sha256: str
    stretches: list[Stretch]
    delay_ticks: int
    seconds: float
    left_out: Counter[str]
    warnings: list[str]


def read_motion(path: Path, task: Task, bundle_directory: Path) -> Motion:
    """Read what a robot did.

    Where plans decide on corrections these are in no message: the recorded commands are answered again, for which the
    bundle that was recorded must be found.

    Args:
        path: The bag.
        task: What the robot must be.
        bundle_directory: Where a recorded bundle is looked for first.

    Raises:
        BagError: No recording, of another robot, or one that cannot be answered.
    """
    bag = Bag.open(path)
    log = read_layer_log(bag)
    recorded = recorded_task(log)
    if recorded.name != task.name:
        raise BagError(f"{path}: recorded of '{recorded.name}', the bundle is for '{task.name}'")
    width = log.observations.rows.width
    if width != task.observation_dim:
        raise BagError(f"{path}: observations of {width} values; task '{task.name}' has {task.observation_dim}")
    answered = []
    if task.planning is not None:
        finder = BundleFinder(task, log, bundle_directory)
        answered = [(run, answer_again(run, log, task, finder)) for run in log.runs]
    recorded_stretches = RecordedStretches(task, log, answered)
    stretches, left_out = usable(task, recorded_stretches)
    seconds = task.control_period_s * sum(map(len, stretches))
    warnings = [*bag.damage(), *log.warnings, *(line for _, answers in answered for line in answers.warnings)]
    name = path.resolve().name
    return Motion(name, _digest(bag), stretches, recorded_stretches.delay_ticks, seconds, left_out, warnings)


def _digest(bag: Bag) -> str:
    """Hash of all files' bytes, in order."""
    digest = hashlib.sha256()
    for container in bag.containers:
        with container.path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()
