"""Painters of Stoch2: run as a process, this module draws for who started it; see :mod:`stoch2_sim.pictures`.

A state is MuJoCo's coordinates of the robot (27), the point that the camera looks at (3), and the push that is shown as
an arrow (3, newtons, world axes).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stoch2_sim.pictures.painting import MUJOCO_BACKENDS, Frame, Painter, fit_buffer, serve
from stoch2_sim.pictures.process import PictureProcess
from stoch2_sim.robots.stoch2 import geometry as g
from stoch2_sim.robots.stoch2.kinematics import link_directions, to_body
from stoch2_sim.robots.stoch2.mjcf import coordinates, joints_of, robot_mjcf
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import neutral_stance
from stoch2_sim.robots.stoch2.rotations import rotation_matrices
from stoch2_sim.robots.stoch2.terrain import make_terrain
from stoch2_sim.simulators.protocol import Array

NUM_COORDINATES = 27
STATE_SIZE = NUM_COORDINATES + 3 + 3
BACKENDS = (*MUJOCO_BACKENDS, "matplotlib")

# From ahead on the right: the robot, which starts along x, walks to the right and a little towards us.
AZIMUTH_DEG = 130.0
ELEVATION_DEG = -19.0
DISTANCE_M = 1.1
_ARROW_M_PER_N = 0.0016
_ARROW_SHORTEST_M = 0.08
_RED = (0.85, 0.10, 0.08, 1.0)
_LINK_POINTS = ("hip", "elbow", "foot", "crank", "crank_tip", "pin")
_BARS = (("hip", "elbow"), ("elbow", "foot"), ("crank", "crank_tip"), ("crank_tip", "pin"))


class Pictures(PictureProcess):
    """Draws one Stoch2 on its ground, headless: MuJoCo on EGL or OSMesa, else Matplotlib.

    Args:
        width: Pixels.
        height: Pixels.
        robot: Robot and ground.
        backends: What to try, in this order.

    Raises:
        PictureError: None of them works.
    """

    def __init__(self, width: int, height: int, robot: RobotParameters, backends: Sequence[str] = BACKENDS) -> None:
        stance = coordinates(np.array([0.0, 0.0, 0.25]), np.array([1.0, 0.0, 0.0, 0.0]), neutral_stance())
        first = np.concatenate([stance, np.zeros(6)])
        super().__init__(__name__, (width, height), robot.as_mapping(), first, backends)


def push_arrow(position: Array, force: Array) -> tuple[Array, Array]:
    """Tail and tip of the arrow that shows a push: it ends at the trunk. Shape=(3,) each."""
    size = float(np.linalg.norm(force))
    tip = position + np.array([0.0, 0.0, 0.05]) - force / size * 0.11
    return tip - force / size * (_ARROW_SHORTEST_M + _ARROW_M_PER_N * size), tip


class MujocoPainter:
    """MuJoCo's renderer, on the OpenGL stack that the environment variable MUJOCO_GL names."""

    def __init__(self, width: int, height: int, robot: RobotParameters) -> None:
        import mujoco  # noqa: PLC0415 - only after MUJOCO_GL has been set

        self._mujoco = mujoco
        self._model = mujoco.MjModel.from_xml_string(robot_mjcf(robot))
        self._data = mujoco.MjData(self._model)
        fit_buffer(self._model, width, height)
        self._renderer = mujoco.Renderer(self._model, height, width)
        self._camera = mujoco.MjvCamera()
        self._camera.azimuth, self._camera.elevation = AZIMUTH_DEG, ELEVATION_DEG
        self._camera.distance = DISTANCE_M

    def draw(self, state: Array) -> Frame:
        """See :class:`~stoch2_sim.pictures.painting.Painter`."""
        self._data.qpos[:] = state[:NUM_COORDINATES]
        self._mujoco.mj_kinematics(self._model, self._data)
        self._mujoco.mj_comPos(self._model, self._data)
        self._mujoco.mj_camlight(self._model, self._data)
        self._camera.lookat[:] = state[NUM_COORDINATES:-3]
        self._renderer.update_scene(self._data, camera=self._camera)
        if state[-3:].any():
            self._add_arrow(*push_arrow(state[:3], state[-3:]))
        return np.asarray(self._renderer.render(), dtype=np.uint8)

    def _add_arrow(self, tail: Array, tip: Array) -> None:
        """One more shape for this picture."""
        scene = self._renderer.scene
        shape, kind = scene.geoms[scene.ngeom], self._mujoco.mjtGeom.mjGEOM_ARROW
        self._mujoco.mjv_initGeom(shape, kind, np.zeros(3), np.zeros(3), np.eye(3).ravel(), np.array(_RED, np.float32))
        self._mujoco.mjv_connector(shape, kind, 0.012, tail, tip)
        scene.ngeom += 1


class MatplotlibPainter:
    """A line drawing seen from the same side, without perspective: works wherever Python does."""

    def __init__(self, width: int, height: int, robot: RobotParameters) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.collections import LineCollection  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415

        dots = 100
        figure = Figure(figsize=(width / dots, height / dots), dpi=dots, facecolor="#eef2f6")
        self._canvas: Any = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        half = 0.42
        axes.set_xlim(-half * width / height, half * width / height)
        axes.set_ylim(-half, half)
        axes.axis("off")
        self._ground: Any = axes.add_collection(LineCollection([], colors="#aab4bd", linewidths=1.0))
        self._trunk: Any = axes.add_collection(LineCollection([], colors="#2a2e36", linewidths=2.5))
        colours, widths = ["#8a929b", "#8a929b", "#d9541a", "#d9541a"], [5.0, 5.0, 3.0, 3.0]
        self._legs: Any = axes.add_collection(LineCollection([], colors=colours, linewidths=widths))
        self._feet: Any = axes.plot([], [], "o", color="#111418", markersize=7)[0]
        self._arrow: Any = axes.plot([], [], "-", color="#d91a14", linewidth=4)[0]
        self._terrain = make_terrain(robot)
        azimuth, elevation = np.radians([AZIMUTH_DEG, ELEVATION_DEG])
        right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
        ahead = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
        self._axes = np.stack([right, np.cross(right, ahead)], axis=1)

    def draw(self, state: Array) -> Frame:
        """See :class:`~stoch2_sim.pictures.painting.Painter`."""
        position, centre = state[:3], state[NUM_COORDINATES:-3]
        rotation = rotation_matrices(state[3:7])
        points = link_points(joints_of(state[:NUM_COORDINATES])) @ rotation.T + position
        bars = [[points[leg, _LINK_POINTS.index(name)] for name in bar] for leg in range(g.NUM_LEGS) for bar in _BARS]
        self._legs.set_segments(self._seen(np.array(bars), centre))
        self._trunk.set_segments(self._seen(_trunk_edges() @ rotation.T + position, centre))
        self._ground.set_segments(self._seen(self._grid(centre), centre))
        self._feet.set_data(*self._seen(points[:, _LINK_POINTS.index("foot")], centre).T)
        arrow = np.array(push_arrow(position, state[-3:])) if state[-3:].any() else np.zeros((0, 3))
        self._arrow.set_data(*self._seen(arrow, centre).T)
        self._canvas.draw()
        return np.array(self._canvas.buffer_rgba(), dtype=np.uint8)[:, :, :3]

    def _seen(self, points: Array, centre: Array) -> Array:
        """Points on the picture. Shape=(..., 2)."""
        return np.asarray((points - centre) @ self._axes)

    def _grid(self, centre: Array) -> Array:
        """Lines on the ground, 0.1 m apart, around the camera's point. Shape=(num_lines, num_points, 3)."""
        marks = 0.1 * np.arange(-10, 11)
        middle = np.round(centre[:2], 1)
        along, across = np.meshgrid(marks, marks)
        lines = []
        for first, second in ((along, across), (across, along)):
            x, y = middle[0] + first, middle[1] + second
            lines.append(np.stack([x, y, self._terrain.height(x, y)], axis=-1))
        return np.concatenate(lines)


def link_points(joints: Array) -> Array:
    """The ends of all bars, body frame.

    Args:
        joints: Shape=(4, 3).

    Returns:
        Hip motor, elbow, foot, crank motor, crank's tip and pin of each leg. Shape=(4, 6, 3).
    """
    shank, coupler = link_directions(joints)
    thigh, crank = joints[:, 1] + g.THIGH_ZERO_RAD, joints[:, 2] + g.CRANK_ZERO_RAD
    elbow = g.THIGH_M * np.exp(1j * thigh)
    motor = np.full(g.NUM_LEGS, g.MOTOR_SPACING_M, dtype=complex)
    tip = motor + g.CRANK_M * np.exp(1j * crank)
    foot, pin = elbow + g.SHANK_M * np.exp(1j * shank), tip + g.COUPLER_M * np.exp(1j * coupler)
    plane = np.stack([np.zeros(g.NUM_LEGS), elbow, foot, motor, tip, pin], axis=0)
    down, abduction = g.MOTOR_DROP_M - plane.imag, joints[:, 0]
    legs = np.stack([plane.real, -down * np.cos(abduction), down * np.sin(abduction)], axis=-1)
    return np.asarray(to_body(legs).swapaxes(0, 1))


def _trunk_edges() -> Array:
    """The twelve edges of a box around the trunk, body frame. Shape=(12, 2, 3)."""
    front, side, top, bottom = g.TRUNK_FRONT_CENTRE_M[0] + 0.06, 0.5 * g.TRUNK_BOX_M[1], 0.06, -0.02
    corners = list(itertools.product((front, -front), (side, -side), (bottom, top)))
    pairs = itertools.combinations(corners, 2)
    return np.array([(a, b) for a, b in pairs if sum(p != q for p, q in zip(a, b, strict=True)) == 1])


def make_painter(backend: str, width: int, height: int, settings: Mapping[str, Any]) -> Painter:
    """The painter of a backend; the settings are those of robot and ground."""
    robot = RobotParameters.from_mapping(settings)
    if backend in MUJOCO_BACKENDS:
        return MujocoPainter(width, height, robot)
    if backend == "matplotlib":
        return MatplotlibPainter(width, height, robot)
    raise ValueError(f"backend '{backend}': must be one of {', '.join(BACKENDS)}")


if __name__ == "__main__":
    serve(make_painter, STATE_SIZE)
