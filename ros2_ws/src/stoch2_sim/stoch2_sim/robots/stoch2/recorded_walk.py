"""A video of a walk from what a recording tells of it: joints, where the trunk was, and pushes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from demo_control.tasks import RecordedRun
from stoch2_sim.robots.stoch2.attitude import euler_angles, turned
from stoch2_sim.robots.stoch2.geometry import JOINT_NAMES, NUM_JOINTS, NUM_LEGS
from stoch2_sim.robots.stoch2.mjcf import coordinates
from stoch2_sim.robots.stoch2.observation import INDEX
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.video import WalkRun, render_video

DRIVER = "stoch2_driver"
_COMMANDS = ("forward_command", "lateral_command", "yaw_rate_command")


def render_recorded(path: Path, runs: Sequence[RecordedRun], progress: Callable[[float], None]) -> str:
    """Draw recorded walks; see :data:`demo_control.tasks.VideoRenderer`."""
    return render_video(path, [recorded_walk(run) for run in runs], progress=progress)


def recorded_walk(run: RecordedRun) -> WalkRun:
    """A recorded run as the video wants it.

    Raises:
        ValueError: The recording has no joint states, or does not tell where the trunk was.
    """
    motion = run.motion
    if motion is None or motion.positions is None or motion.orientations is None:
        missing = "joint_states" if motion is None else "ground_truth_odom or odom"
        raise ValueError(f"no message on {missing} in the recording")
    shown = (motion.times_s >= 0.0) & (motion.times_s <= run.times_s[-1] + 1e-9)
    try:
        motors = motion.of(JOINT_NAMES)[shown]
    except KeyError as error:
        raise ValueError(f"no joint {error} in the recording's joint_states") from None
    times_s, orientations = motion.times_s[shown], motion.orientations[shown]
    joints = motors.reshape(len(times_s), NUM_LEGS, NUM_JOINTS)
    pushes = motion.pushes[shown].copy()
    pushes[:, :2] = turned(pushes[:, :2], euler_angles(orientations)[:, 2])
    return WalkRun(
        label=run.label,
        times_s=times_s,
        qpos=coordinates(motion.positions[shown], orientations, joints),
        commands=run.at(times_s)[:, [INDEX[name] for name in _COMMANDS]],
        forces=pushes,
        robot=_robot(run.parameters.get(DRIVER, {})),
    )


def _robot(parameters: Mapping[str, object]) -> RobotParameters:
    """The robot and ground that the driver simulated; the nominal ones where it is not known."""
    names = {field.name for field in fields(RobotParameters)}
    values = {name: value for name, value in parameters.items() if name in names}
    return RobotParameters.from_mapping({n: v for n, v in values.items() if isinstance(v, str | bool | int | float)})
