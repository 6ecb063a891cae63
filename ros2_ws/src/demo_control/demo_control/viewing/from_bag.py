"""A recording, sent to the viewer as a whole: its time slider plays it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import rerun as rr

from demo_control.bags.errors import BagError
from demo_control.bags.info import bag_info
from demo_control.bags.reader import Bag
from demo_control.bundle import BundleError
from demo_control.configuration import ConfigurationError
from demo_control.recorded_run import Motion
from demo_control.report.bag_contents import BagContents
from demo_control.report.bag_reading import read_contents
from demo_control.report.figures import words
from demo_control.tasks import Array, load_task
from demo_control.viewing.planned_paths import planned_paths
from demo_control.viewing.scene import PLAN_FIGURES, PLAN_TIMES, Scene, heading, turned


def show_bag(
    path: Path, stream: rr.RecordingStream, progress: Callable[[str], None] = lambda _stage: None
) -> list[str]:
    """Send a recording to a stream.

    Args:
        path: Folder or file.
        stream: Of Rerun.
        progress: Told what is being done.

    Returns:
        What could not be shown, one line each.

    Raises:
        BagError: It cannot be read, or holds nothing.
    """
    progress("reading")
    info = bag_info(path)
    if not info["messages"]:
        raise BagError(f"{path}: no message in it")
    bag = Bag.open(path)
    contents = read_contents(bag)
    notes = [*bag.damage(), *contents.warnings]
    task = None
    if info["robot"] is not None:
        try:
            task = load_task(str(info["robot"]))
        except ConfigurationError as error:
            notes.append(str(error))
    dimensions = contents.observations.values.shape[-1], contents.commands.values.shape[-1]
    moves = contents.motion is not None and contents.motion.positions is not None
    scene = Scene(stream, task, contents.description, dimensions, moves=moves)
    notes += [scene.trouble] if scene.trouble else []
    progress("sending")
    _send_series(scene, contents)
    _send_motion(scene, contents)
    _send_events(scene, contents)
    if task is not None and task.planned_path is not None and len(contents.plans):
        progress("making the plans again")
        try:
            _send_paths(scene, contents, planned_paths(bag, task))
        except (BagError, BundleError, ConfigurationError) as error:
            notes.append(f"no planned paths: {error}")
    stream.flush()
    return notes


def _send_series(scene: Scene, contents: BagContents) -> None:
    plans = contents.plans
    scene.observe(contents.observations.times_s, contents.observations.values)
    for kind, series in (
        ("nominal", contents.nominal), ("commanded", contents.commands), ("applied", contents.applied),
    ):  # fmt: skip
        scene.command(kind, series.times_s, series.values)
    for name in (*PLAN_FIGURES, *PLAN_TIMES):
        scene.plan(name, plans.times_s, plans.figures[name])
    scene.costs(plans.terms, plans.times_s, plans.plan_costs)


def _send_motion(scene: Scene, contents: BagContents) -> None:
    motion = contents.motion
    if motion is None:
        return
    scene.move(motion.times_s, motion.joint_names, motion.joints)
    if motion.positions is None or motion.orientations is None:
        return
    scene.place(motion.times_s, motion.positions, motion.orientations)
    scene.trail(motion.positions)
    pushed = np.flatnonzero(motion.pushes.any(axis=1))
    for place in pushed:
        scene.at(float(motion.times_s[place]))
        force = turned(motion.pushes[place], heading(motion.orientations[place]))
        scene.push(motion.positions[place], force)
        # An arrow of a few milliseconds would not be seen.
        scene.at(float(motion.times_s[place]) + 0.3)
        scene.push(None, force)


def _send_events(scene: Scene, contents: BagContents) -> None:
    events = [(span.start_s, f"robot: {words(span.name)}", span.name == "damped") for span in contents.states]
    events += [(span.start_s, f"layer {span.name}", False) for span in contents.changes]
    events += [(span.start_s, f"pushed with {span.name}", True) for span in contents.pushes]
    events += [
        (span.start_s, f"passed through for {span.end_s - span.start_s:.2f} s: {words(span.name)}", False)
        for span in contents.uncorrected
    ]
    for time_s, text, bad in sorted(events):
        scene.at(time_s)
        scene.event(text, bad=bad)


def _send_paths(scene: Scene, contents: BagContents, paths: Mapping[int, Array]) -> None:
    plans = contents.plans
    for time_s, number, accepted in zip(plans.times_s, plans.figures["plans"], plans.accepted, strict=True):
        points = paths.get(int(number))
        if points is not None and np.isfinite(points).all():
            scene.at(float(time_s))
            scene.path(_in_world(points, float(time_s), contents.motion), accepted=bool(accepted))


def _in_world(points: Array, time_s: float, motion: Motion | None) -> Array:
    """Points that are relative to the base; those of a robot without one are in the world already."""
    if motion is None or motion.positions is None or motion.orientations is None:
        return points
    place = min(max(int(np.searchsorted(motion.times_s, time_s)), 0), len(motion.times_s) - 1)
    return np.asarray(motion.positions[place] + turned(points, heading(motion.orientations[place])))
