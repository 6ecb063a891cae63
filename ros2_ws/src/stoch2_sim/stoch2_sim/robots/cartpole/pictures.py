"""Painters of the cart-pole: run as a process, this module draws for who started it.

See :mod:`stoch2_sim.pictures`. A state is the cart's position in metres and the pole's angle in radians.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stoch2_sim.pictures.painting import MUJOCO_BACKENDS, Frame, Painter, fit_buffer, serve
from stoch2_sim.pictures.process import PictureProcess
from stoch2_sim.simulators.protocol import Array

STATE_SIZE = 2
BACKENDS = (*MUJOCO_BACKENDS, "pybullet-tiny", "matplotlib")


class Pictures(PictureProcess):
    """Draws cart-poles headless: MuJoCo on EGL or OSMesa, else PyBullet's software renderer, else Matplotlib.

    Args:
        width: Pixels.
        height: Pixels.
        pole_length: Length of the drawn pole as a factor on the nominal one.
        backends: What to try, in this order.

    Raises:
        PictureError: None of them works.
    """

    def __init__(self, width: int, height: int, pole_length: float = 1.0, backends: Sequence[str] = BACKENDS) -> None:
        super().__init__(__name__, (width, height), {"pole_length": pole_length}, np.zeros(STATE_SIZE), backends)


class MujocoPainter:
    """MuJoCo's renderer, on the OpenGL stack that the environment variable MUJOCO_GL names."""

    def __init__(self, width: int, height: int, mjcf: str) -> None:
        import mujoco  # noqa: PLC0415 - only after MUJOCO_GL has been set

        self._mujoco = mujoco
        self._model = mujoco.MjModel.from_xml_string(mjcf)
        self._data = mujoco.MjData(self._model)
        fit_buffer(self._model, width, height)
        self._renderer = mujoco.Renderer(self._model, height, width)

    def draw(self, state: Array) -> Frame:
        """See :class:`Painter`."""
        self._data.qpos[:] = state
        self._mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, camera="side")
        return np.asarray(self._renderer.render(), dtype=np.uint8)


class TinyPainter:
    """PyBullet's software renderer, which needs no OpenGL."""

    def __init__(self, width: int, height: int, urdf: str) -> None:
        from stoch2_sim.robots.cartpole.model import ACTUATORS, JOINTS  # noqa: PLC0415
        from stoch2_sim.simulators.protocol import RobotModel  # noqa: PLC0415
        from stoch2_sim.simulators.pybullet_simulator import PybulletSimulator  # noqa: PLC0415

        self._size = width, height
        self._simulator = PybulletSimulator(RobotModel("", urdf, JOINTS, ACTUATORS), 1, 0.02, 1)

    def draw(self, state: Array) -> Frame:
        """See :class:`Painter`."""
        self._simulator.reset(state[None], np.zeros((1, 2)))
        return self._simulator.camera_image(
            *self._size, eye=(0.0, -6.9, 1.6), target=(0.0, 0.0, 1.15), field_of_view_degrees=26.0
        )


class MatplotlibPainter:
    """A line drawing: works wherever Python does."""

    def __init__(self, width: int, height: int, length_m: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.patches import FancyBboxPatch  # noqa: PLC0415

        dots = 100
        figure = Figure(figsize=(width / dots, height / dots), dpi=dots, facecolor="#eef2f6")
        self._canvas: Any = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_xlim(-2.8, 2.8)
        axes.set_ylim(-1.4 * height / width * 2.0, 1.4 * height / width * 2.0)
        axes.set_aspect("equal")
        axes.axis("off")
        axes.plot([-2.4, 2.4], [0.0, 0.0], color="#8a94a0", linewidth=3, zorder=1)
        axes.plot([-2.4, -2.4], [-0.1, 0.1], color="#cc3830", linewidth=4, zorder=1)
        axes.plot([2.4, 2.4], [-0.1, 0.1], color="#cc3830", linewidth=4, zorder=1)
        style = "round,pad=0,rounding_size=0.03"
        self._cart = FancyBboxPatch((0, 0), 0.34, 0.16, boxstyle=style, color="#1f5c9e", zorder=2)
        axes.add_patch(self._cart)
        self._pole = axes.plot([], [], color="#f2a82e", linewidth=6, solid_capstyle="round", zorder=3)[0]
        self._tip = axes.plot([], [], "o", color="#db2929", markersize=12, zorder=4)[0]
        self._length_m = length_m

    def draw(self, state: Array) -> Frame:
        """See :class:`Painter`."""
        cart_position, pole_angle = float(state[0]), float(state[1])
        tip_x = cart_position + self._length_m * np.sin(pole_angle)
        tip_y = self._length_m * np.cos(pole_angle)
        self._cart.set_x(cart_position - 0.17)
        self._cart.set_y(-0.08)
        self._pole.set_data([cart_position, tip_x], [0.0, tip_y])
        self._tip.set_data([tip_x], [tip_y])
        self._canvas.draw()
        return np.array(self._canvas.buffer_rgba(), dtype=np.uint8)[:, :, :3]


def make_painter(backend: str, width: int, height: int, settings: Mapping[str, Any]) -> Painter:
    """The painter of a backend; the setting ``pole_length`` is a factor on the nominal length."""
    from stoch2_sim.robots.cartpole.model import robot_model  # noqa: PLC0415
    from stoch2_sim.robots.cartpole.parameters import PlantSettings  # noqa: PLC0415

    parameters = PlantSettings(pole_length=settings["pole_length"]).parameters()
    model = robot_model(parameters)
    if backend in MUJOCO_BACKENDS:
        return MujocoPainter(width, height, model.mjcf)
    if backend == "pybullet-tiny":
        return TinyPainter(width, height, model.urdf)
    if backend == "matplotlib":
        return MatplotlibPainter(width, height, 2.0 * parameters.pole_half_length_m)
    raise ValueError(f"backend '{backend}': must be one of {', '.join(BACKENDS)}")


if __name__ == "__main__":
    serve(make_painter, STATE_SIZE)
