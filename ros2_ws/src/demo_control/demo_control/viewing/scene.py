"""What the viewer shows and where: the robot, its plan, and plots beside it; names of entities and their looks."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from rerun.urdf import UrdfJoint, UrdfTree

from demo_control.report.figures import AMBER, BLUE, GREEN, GREY, MANY_COLOURS, RED, words
from demo_control.tasks import Array, Quantity, Task

TIMELINE = "run"
COMMANDS = {"nominal": AMBER, "commanded": BLUE, "applied": GREEN}
PLAN_FIGURES = {"nominal_cost": AMBER, "plan_cost": BLUE, "predicted_gain": GREEN, "followed_share": GREY}
PLAN_TIMES = {"plan_time_s": BLUE, "plan_age_s": AMBER}
EVENTS = "events"
PLAN, TRAIL, PUSH, BASE = "world/plan", "world/trail", "world/push", "world/base"
_ARROW_M_PER_N = 0.004
_WORLD_FRAME = "tf#/"
_POSE = "transforms/base"
_DOT_M = 0.004
_EYE_M, _LOOK_M = (1.1, -1.1, 0.7), (0.0, 0.0, 0.2)


class Scene:
    """Entities of one robot in a recording stream of Rerun.

    Args:
        stream: Where everything goes.
        task: The robot's, or None if it is not known: entries then have numbers.
        description: URDF, or '' for no picture of the robot.
        dimensions: Of observation and action, where the task is not known.
        moves: Whether the base moves, and the camera with it.
    """

    def __init__(
        self, stream: rr.RecordingStream, task: Task | None, description: str, dimensions: tuple[int, int] = (0, 0),
        *, moves: bool = False,
    ) -> None:  # fmt: skip
        self._stream, self._moves = stream, moves
        self.observation_names = _names(task.observation if task else (), "observation", dimensions[0])
        self.action_names = _names(task.action if task else (), "command", dimensions[1])
        self.terms = [term.name for term in task.cost_terms] if task else []
        self.trouble = ""
        self._joints: dict[str, UrdfJoint] = {}
        self._root = self._hidden = ""
        if description:
            self._load(description)
        self._style()
        stream.send_blueprint(self._blueprint())

    def _load(self, description: str) -> None:
        """Show the robot; one that cannot be understood is left out."""
        with tempfile.NamedTemporaryFile("w", suffix=".urdf", encoding="utf-8") as file:
            file.write(description)
            file.flush()
            try:
                tree = UrdfTree.from_file_path(file.name)
                tree.log_urdf_to_recording(self._stream)
            except Exception as error:
                self.trouble = f"the robot description cannot be shown: {error}"
                return
            self._joints = {joint.name: joint for joint in tree.joints() if joint.joint_type != "fixed"}
            self._root = tree.root_link().name
            self._hidden = f"/{tree.name}/collision_geometries/**"
        pose = rr.Transform3D(translation=[0.0, 0.0, 0.0], parent_frame=_WORLD_FRAME, child_frame=self._root)
        self._stream.log(_POSE, pose, static=True)

    def at(self, time_s: float) -> None:
        """What is logged from now on happened then, since the run's start."""
        self._stream.set_time(TIMELINE, duration=time_s)

    def move(self, times_s: Array, names: Sequence[str], positions: Array) -> None:
        """Joints over time. Shape=(num_times,) and (num_times, num_joints)."""
        for column, name in enumerate(names):
            joint = self._joints.get(name)
            if joint is not None and len(times_s):
                columns = joint.compute_transform_columns(positions[:, column].tolist(), clamp=False)
                self._send(f"transforms/{name}", times_s, columns)

    def place(self, times_s: Array, positions: Array, orientations: Array) -> None:
        """The base over time; orientations are (w, x, y, z). Shape=(num_times, 3) and (num_times, 4)."""
        if not len(times_s):
            return
        # What the camera follows.
        self._send(BASE, times_s, rr.Points3D.columns(positions=positions, radii=np.full(len(times_s), _DOT_M)))
        if self._root:
            columns = rr.Transform3D.columns(
                translation=positions,
                quaternion=orientations[:, [1, 2, 3, 0]],
                parent_frame=[_WORLD_FRAME] * len(times_s),
                child_frame=[self._root] * len(times_s),
            )
            self._send(_POSE, times_s, columns)

    def observe(self, times_s: Array, values: Array) -> None:
        """Observations over time. Shape=(num_times, observation_dim)."""
        self._plot("observation", self.observation_names, times_s, values)

    def command(self, kind: str, times_s: Array, values: Array) -> None:
        """Actions of a kind of :data:`COMMANDS` over time. Shape=(num_times, action_dim)."""
        for column, name in enumerate(self.action_names[: values.shape[1] if len(times_s) else 0]):
            self._scalars(f"commands/{name}/{kind}", times_s, values[:, column])

    def plan(self, name: str, times_s: Array, values: Array) -> None:
        """A figure of the plans over time; times in milliseconds. Shape=(num_times,) each."""
        if name in PLAN_TIMES:
            self._scalars(f"plan_times/{name.removesuffix('_s')}_ms", times_s, values * 1e3)
        else:
            self._scalars(f"plans/{name}", times_s, values)

    def costs(self, terms: Sequence[str], times_s: Array, values: Array) -> None:
        """Weighted cost terms of the plans. Shape=(num_times, num_terms)."""
        self._plot("costs", terms, times_s, values)

    def path(self, points: Array, *, accepted: bool) -> None:
        """Where the newest plan leads, at the time of :meth:`at`; world axes. Shape=(num_points, 3)."""
        colour = BLUE if accepted else GREY
        self._stream.log(PLAN, rr.LineStrips3D([points], colors=[_rgb(colour)], radii=[0.006]))

    def push(self, tip: Array | None, force: Array) -> None:
        """An arrow that ends where the robot is pushed; None takes it away. World axes, newtons."""
        if tip is None:
            self._stream.log(PUSH, rr.Clear(recursive=False))
            return
        vector = force * _ARROW_M_PER_N
        self._stream.log(PUSH, rr.Arrows3D(vectors=[vector], origins=[tip - vector], colors=[_rgb(RED)], radii=[0.01]))

    def trail(self, points: Array) -> None:
        """The way that the base went. Shape=(num_points, 3)."""
        self._stream.log(TRAIL, rr.LineStrips3D([points], colors=[_rgb(GREY)], radii=[0.003]), static=True)

    def event(self, text: str, *, bad: bool = False) -> None:
        """One line of the log, at the time of :meth:`at`."""
        self._stream.log(EVENTS, rr.TextLog(text, level=rr.TextLogLevel.WARN if bad else rr.TextLogLevel.INFO))

    def _plot(self, root: str, names: Sequence[str], times_s: Array, values: Array) -> None:
        for column, name in enumerate(names[: values.shape[1] if len(times_s) else 0]):
            self._scalars(f"{root}/{name}", times_s, values[:, column])

    def _scalars(self, entity: str, times_s: Array, values: Array) -> None:
        known = np.isfinite(values)
        if known.any():
            self._send(entity, times_s[known], rr.Scalars.columns(scalars=values[known]))

    def _send(self, entity: str, times_s: Array, columns: rr.ComponentColumnList) -> None:
        # Text from a recording may hold what separates the parts of a path.
        path = "/".join(rr.escape_entity_path_part(part) for part in entity.split("/"))
        self._stream.send_columns(path, indexes=[rr.TimeColumn(TIMELINE, duration=times_s)], columns=columns)

    def _style(self) -> None:
        looks = {f"plans/{name}": (words(name), colour) for name, colour in PLAN_FIGURES.items()}
        looks |= {f"plan_times/{n.removesuffix('_s')}_ms": (words(n[:-2]), c) for n, c in PLAN_TIMES.items()}
        looks |= {
            f"commands/{name}/{kind}": (kind, colour) for name in self.action_names for kind, colour in COMMANDS.items()
        }
        looks |= {f"observation/{name}": (words(name), BLUE) for name in self.observation_names}
        for place, name in enumerate(self.terms):
            looks[f"costs/{name}"] = words(name), MANY_COLOURS[place % len(MANY_COLOURS)]
        for entity, (name, colour) in looks.items():
            self._stream.log(entity, rr.SeriesLines(names=[name], colors=[_rgb(colour)]), static=True)

    def _blueprint(self) -> rrb.Blueprint:
        def plots(root: str, names: Sequence[str]) -> list[rrb.TimeSeriesView]:
            return [rrb.TimeSeriesView(origin=f"/{root}/{name}", name=words(name)) for name in names]

        planner = rrb.Vertical(
            rrb.TimeSeriesView(origin="/plans", name="Plans: predicted costs"),
            rrb.TimeSeriesView(origin="/costs", name="Predicted cost by term"),
            rrb.TimeSeriesView(origin="/plan_times", name="Plan times, ms"),
            name="Planner",
        )
        commands = rrb.Grid(*plots("commands", self.action_names), name="Commands", grid_columns=2)
        observations = rrb.Grid(*plots("observation", self.observation_names), name="Observations", grid_columns=2)
        hidden = [f"- {self._hidden}"] if self._hidden else []
        robot = rrb.Spatial3DView(
            origin="/",
            name="Robot",
            contents=["+ /**", "- /commands/**", "- /observation/**", *hidden],
            # Rerun draws boxes and cylinders as wires unless it is told otherwise.
            defaults=[kind.from_fields(fill_mode="solid") for kind in (rr.Boxes3D, rr.Cylinders3D, rr.Ellipsoids3D)],
            eye_controls=rrb.EyeControls3D(position=_EYE_M, look_target=_LOOK_M, tracking_entity=f"/{BASE}")
            if self._moves
            else None,
        )
        events = rrb.TextLogView(origin=f"/{EVENTS}", name="What happened")
        left = rrb.Vertical(robot, events, row_shares=[3, 1])
        return rrb.Blueprint(
            rrb.Horizontal(left, rrb.Tabs(planner, commands, observations), column_shares=[1, 1]),
            rrb.TimePanel(timeline=TIMELINE, state="collapsed"),
            collapse_panels=True,
        )


def turned(points: Array, yaw: float) -> Array:
    """Points turned about the vertical. Shape=(..., 3)."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.asarray(points @ np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]]))


def heading(orientation: Array) -> float:
    """Yaw of a quaternion (w, x, y, z)."""
    w, x, y, z = orientation
    return float(np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))


def _rgb(colour: str) -> list[int]:
    """'#rrggbb' as three numbers."""
    return list(bytes.fromhex(colour.removeprefix("#")))


def _names(quantities: Sequence[Quantity], kind: str, dimension: int) -> list[str]:
    return [quantity.name for quantity in quantities] or [f"{kind}_{index}" for index in range(dimension)]


def saved_to(path: Path, application: str = "DeMo Control") -> rr.RecordingStream:
    """A stream into a file, which grows as it is written.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    stream = rr.RecordingStream(application)
    stream.save(path)
    return stream
