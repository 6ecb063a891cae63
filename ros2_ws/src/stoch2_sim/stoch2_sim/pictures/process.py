"""Starts the process that draws, and finds the best means of drawing that works on this machine.

OpenGL stacks are chosen when their library is imported, and some crash rather than fail: each means of drawing
therefore lives in a process of its own.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import numpy as np

from stoch2_sim.pictures.painting import Frame
from stoch2_sim.simulators.protocol import Array

ProcessT = TypeVar("ProcessT", bound="PictureProcess")

FIRST_FRAME_TIMEOUT_S = 30.0
FRAME_TIMEOUT_S = 10.0


class PictureError(RuntimeError):
    """No way to draw works here; the text lists what was tried."""


class PictureProcess:
    """Draws a robot headless, in a process of its own.

    The first means of drawing that draws a picture is kept, and :attr:`backend` says which.

    Args:
        module: The robot's painters; run as a process, see :func:`stoch2_sim.pictures.painting.serve`.
        size: Width and height in pixels.
        settings: For the painters; as JSON can carry them.
        first: A state to try the painters with. Shape=(state_size,).
        backends: What to try, in this order.
        clock: Seconds from any origin; for the time limits.

    Raises:
        PictureError: None of them works.
    """

    def __init__(
        self,
        module: str,
        size: tuple[int, int],
        settings: Mapping[str, object],
        first: Array,
        backends: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.width, self.height = size
        self._clock = clock
        failures = []
        for backend in backends:
            self.backend = backend
            self._process = _start(module, [backend, *map(str, size), json.dumps(dict(settings))])
            try:
                self.request(*first)
                self.receive(FIRST_FRAME_TIMEOUT_S)
            except PictureError as error:
                failures.append(f"{backend}: {error}")
                self.close()
            else:
                return
        raise PictureError("no way to draw works here; " + "; ".join(failures))

    def draw(self, *state: float) -> Frame:
        """A picture of a state, whose meaning is the robot's. Shape=(height, width, 3).

        Raises:
            PictureError: The drawing process died or hangs.
        """
        self.request(*state)
        return self.receive()

    def request(self, *state: float) -> None:
        """Have a state drawn; :meth:`receive` gives the picture.

        Raises:
            PictureError: The drawing process died.
        """
        requests = self._process.stdin
        try:
            if requests is not None:
                requests.write(np.array(state, dtype="<f8").tobytes())
                requests.flush()
        except OSError:
            raise PictureError("the drawing process ended") from None

    def receive(self, timeout_s: float = FRAME_TIMEOUT_S) -> Frame:
        """The picture of the oldest open request. Shape=(height, width, 3).

        Raises:
            PictureError: The drawing process died, or gave no picture in time.
        """
        answers = self._process.stdout
        wanted = self.height * self.width * 3
        data = bytearray()
        deadline = self._clock() + timeout_s
        while answers is not None and len(data) < wanted:
            remaining = max(0.0, deadline - self._clock())
            if not select.select([answers], [], [], remaining)[0]:
                raise PictureError(f"no picture within {timeout_s:g} s")
            piece = os.read(answers.fileno(), wanted - len(data))
            if not piece:
                raise PictureError("the drawing process ended")
            data += piece
        return np.frombuffer(bytes(data), dtype=np.uint8).reshape(self.height, self.width, 3)

    def close(self) -> None:
        """End the drawing process; may be called twice."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self: ProcessT) -> ProcessT:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _start(module: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """The process that draws."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        stderr=subprocess.DEVNULL,
    )
