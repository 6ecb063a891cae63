"""Starts the process that draws, and finds the best means of drawing that works on this machine."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np

from stoch2_sim.robots.cartpole.pictures import BACKENDS, STATE, Frame

FIRST_FRAME_TIMEOUT_S = 30.0
FRAME_TIMEOUT_S = 10.0


class PictureError(RuntimeError):
    """No way to draw works here; the text lists what was tried."""


class Pictures:
    """Draws cart-poles headless, in a process of its own.

    MuJoCo on EGL or OSMesa, else PyBullet's software renderer, else Matplotlib: the first that
    draws a picture is kept, and :attr:`backend` says which.

    Args:
        width: Pixels.
        height: Pixels.
        pole_length: Length of the drawn pole as a factor on the nominal one.
        backends: What to try, in this order.
        clock: Seconds from any origin; for the time limits.

    Raises:
        PictureError: None of them works.
    """

    def __init__(
        self,
        width: int,
        height: int,
        pole_length: float = 1.0,
        backends: Sequence[str] = BACKENDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.width = width
        self.height = height
        self._clock = clock
        failures = []
        for backend in backends:
            self.backend = backend
            self._process = self._start(backend, pole_length)
            try:
                self.request(0.0, 0.0)
                self.receive(FIRST_FRAME_TIMEOUT_S)
            except PictureError as error:
                failures.append(f"{backend}: {error}")
                self.close()
            else:
                return
        raise PictureError("no way to draw works here; " + "; ".join(failures))

    def _start(self, backend: str, pole_length: float) -> subprocess.Popen[bytes]:
        """The process that draws."""
        module = "stoch2_sim.robots.cartpole.pictures"
        arguments = [backend, str(self.width), str(self.height), str(pole_length)]
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            stderr=subprocess.DEVNULL,
        )

    def draw(self, cart_position: float, pole_angle: float) -> Frame:
        """A picture of a state (metres, radians). Shape=(height, width, 3).

        Raises:
            PictureError: The drawing process died or hangs.
        """
        self.request(cart_position, pole_angle)
        return self.receive()

    def request(self, cart_position: float, pole_angle: float) -> None:
        """Have a state (metres, radians) drawn; :meth:`receive` gives the picture.

        Raises:
            PictureError: The drawing process died.
        """
        requests = self._process.stdin
        try:
            if requests is not None:
                requests.write(STATE.pack(cart_position, pole_angle))
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

    def __enter__(self) -> Pictures:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
