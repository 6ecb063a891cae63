"""Draws cart-poles in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from stoch2_sim.pictures.process import PictureError, PictureProcess
from stoch2_sim.robots.cartpole.pictures import BACKENDS, STATE_SIZE

__all__ = ["PictureError", "Pictures"]


class Pictures(PictureProcess):
    """Draws cart-poles headless; a state is cart position (metres) and pole angle (radians).

    MuJoCo on EGL or OSMesa, else PyBullet's software renderer, else Matplotlib.

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
        settings = {"pole_length": pole_length}
        module = "stoch2_sim.robots.cartpole.pictures"
        super().__init__(module, (width, height), settings, np.zeros(STATE_SIZE), backends, clock)
