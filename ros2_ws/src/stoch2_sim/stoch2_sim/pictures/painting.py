"""The process that draws: answers each state on its standard input with a picture on its standard output.

A robot's module of painters calls :func:`serve` when it is run;
:class:`~stoch2_sim.pictures.process.PictureProcess` starts it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from stoch2_sim.simulators.protocol import Array

Frame = npt.NDArray[np.uint8]
"""A picture. Shape=(height, width, 3), red, green, blue."""

MUJOCO_BACKENDS = ("mujoco-egl", "mujoco-osmesa")


class Painter(Protocol):
    """Draws one state after the other; made for one size."""

    def draw(self, state: Array) -> Frame:
        """A picture of a state, whose meaning is the robot's. Shape=(height, width, 3)."""
        ...


PainterMaker = Callable[[str, int, int, Mapping[str, Any]], Painter]
"""Maps (backend, width, height, the robot's settings) to a painter."""


def fit_buffer(model: Any, width: int, height: int) -> None:  # noqa: ANN401 - mujoco must not be imported here
    """Let a MuJoCo model be drawn larger than its description reckons with, which MuJoCo refuses."""
    buffer = model.vis.global_
    buffer.offwidth, buffer.offheight = max(buffer.offwidth, width), max(buffer.offheight, height)


def serve(make: PainterMaker, state_size: int) -> None:
    """Draw until the input ends.

    Args:
        make: Makes the painter; OpenGL stacks are chosen when their library is imported, so it must be imported only
            here.
        state_size: Numbers (little-endian doubles) in a state.
    """
    parser = argparse.ArgumentParser(description="Draws pictures of a robot for the process that started this one.")
    parser.add_argument("backend")
    parser.add_argument("width", type=int)
    parser.add_argument("height", type=int)
    parser.add_argument("settings", type=json.loads)
    arguments = parser.parse_args()
    if arguments.backend in MUJOCO_BACKENDS:
        os.environ["MUJOCO_GL"] = arguments.backend.removeprefix("mujoco-")
    # Libraries chat on standard output, which carries the frames: give them standard error instead.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        painter = make(arguments.backend, arguments.width, arguments.height, arguments.settings)
        _answer(sys.stdin.buffer, answers, painter, state_size)


def _answer(requests: BinaryIO, answers: BinaryIO, painter: Painter, state_size: int) -> None:
    """Answer each state with a frame's bytes, until the input ends."""
    length = 8 * state_size
    while len(request := requests.read(length)) == length:
        answers.write(painter.draw(np.frombuffer(request, dtype="<f8")).tobytes())
        answers.flush()
