"""Noise of the sampled control sequences: kinds, and a pool that is drawn once.

Drawing fresh noise costs a tenth of a plan's time. A plan takes a window of a table instead, at a random place and with
a random sign, from the robot's own generator.

A kind of your own is one function and one entry of :data:`NOISES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from demo_control.tasks import Array

if TYPE_CHECKING:
    from demo_control.mpc.settings import PlannerSettings

Float32s = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

Noise = Callable[[np.random.Generator, tuple[int, int, int], "PlannerSettings"], Float32s]
"""Draws sequences, Shape=(num_sequences, horizon, action_dim), each entry with mean 0 and variance 1."""

_POOL_NUMBERS = 1 << 20
_POOL_SEQUENCES = 1 << 16
_GOLDEN_RATIO = (np.sqrt(5.0) - 1.0) / 2.0


def white(generator: np.random.Generator, shape: tuple[int, int, int], _settings: PlannerSettings) -> Float32s:
    """Independent at every step."""
    return generator.standard_normal(shape, np.float32)


def coloured(generator: np.random.Generator, shape: tuple[int, int, int], settings: PlannerSettings) -> Float32s:
    """Power spectrum ∝ 1/f^β over the horizon, β = ``noise_colour_exponent`` (Pinneri et al. 2020, iCEM).

    β = 0 is white; the larger β, the smoother. The constant part has the power of the lowest frequency.
    """
    horizon = shape[1]
    frequencies = np.maximum(np.fft.rfftfreq(horizon), 1.0 / horizon)
    filter_ = frequencies ** (-settings.noise_colour_exponent / 2.0)
    # White noise through this filter has the mean of the squares over the whole spectrum as its variance.
    mirrored = np.concatenate([filter_, filter_[1 : (horizon + 1) // 2]])
    filter_ /= np.sqrt(np.square(mirrored).mean())
    spectrum = np.fft.rfft(generator.standard_normal(shape, np.float32), axis=1)
    return np.fft.irfft(spectrum * filter_[:, None], horizon, axis=1).astype(np.float32)


def knots(generator: np.random.Generator, shape: tuple[int, int, int], settings: PlannerSettings) -> Float32s:
    """Straight lines between ``noise_knots`` independent values."""
    horizon = shape[1]
    count = min(settings.noise_knots, horizon)
    places = np.linspace(0.0, count - 1.0, horizon)
    shares = np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(count)))
    # Between two knots their mean varies less than each.
    shares /= np.sqrt(np.square(shares).sum(axis=1, keepdims=True))
    values = generator.standard_normal((shape[0], count, shape[2]), np.float32)
    lines: Float32s = np.matmul(shares.astype(np.float32), values)
    return lines


NOISES: dict[str, Noise] = {"white": white, "coloured": coloured, "knots": knots}
"""By name; ``PlannerSettings.noise`` is one of these."""


class Window(NamedTuple):
    """Noise of one plan and robot: three factors of each number.

    Attributes:
        noise: Not to be written to. Shape=(horizon, num_samples, action_dim).
        scales: Shape=(horizon, action_dim), or (horizon, 1) where all entries have the same.
        sizes: Of each sample. Shape=(num_samples, action_dim), or None where all are 1.
        held: Samples whose noise is at every step that of the first, in rising order; or None.
    """

    noise: Float32s
    scales: Float32s
    sizes: Float32s | None
    held: Indices | None


class NoisePool:
    """A table of noise from which plans take windows.

    Args:
        settings: Kind of noise, horizon, number of samples and the table's seed.
        unit: What a deviation of one means for each entry of a control. Shape=(action_dim,).
    """

    def __init__(self, settings: PlannerSettings, unit: Array) -> None:
        horizon, action_dim = settings.horizon, len(unit)
        self._count = max(min(_POOL_NUMBERS // (horizon * action_dim), _POOL_SEQUENCES), settings.num_samples)
        generator = np.random.default_rng(settings.noise_pool_seed)
        table = NOISES[settings.noise](generator, (self._count, horizon, action_dim), settings)
        # A window that reaches the end goes on at the start. Steps come first, as in the rollouts.
        table = np.concatenate([table, table[: settings.num_samples]]).swapaxes(0, 1)
        self._table: Float32s = np.multiply(table, unit, dtype=np.float32, casting="same_kind", order="C")
        self._sizes: tuple[tuple[int, float], Float32s] = ((0, 0.0), np.empty(0, np.float32))
        self._held: tuple[tuple[int, int], Indices | None] = ((0, 0), None)

    def window(
        self, num_samples: int, deviation: Array, settings: PlannerSettings, generator: np.random.Generator
    ) -> Window:
        """Noise of one plan and robot.

        Args:
            num_samples: Number of sequences.
            deviation: σ in units. Shape=(horizon, action_dim), or (horizon, 1) where it is the same for all entries.
            settings: ``noise_held_share`` of the sequences have the same noise at every step: what is only worth its
                price when kept up is not found by independent draws. Sequences are scaled by factors from
                ``noise_smallest_share`` to 1, evenly in their logarithm: wild ones find a way out of trouble, calm
                ones settle the plan when there is none.
            generator: Chooses the window and its sign.
        """
        # One number for both: the sign doubles the windows and makes every entry's mean zero.
        place = int(generator.integers(2 * self._count))
        start, sign = place // 2, 1.0 - 2.0 * (place % 2)
        window = self._table[:, start : start + num_samples]
        held = self._held_of(num_samples, round(settings.noise_held_share * num_samples))
        smallest = settings.noise_smallest_share
        sizes = self._sizes_of(num_samples, smallest) if smallest < 1.0 else None
        return Window(window, (sign * deviation).astype(np.float32), sizes, held)

    def _held_of(self, num_samples: int, num_held: int) -> Indices | None:
        """Which samples are held: as many, evenly among the others."""
        if self._held[0] != (num_samples, num_held):
            places = np.linspace(0, num_samples - 1, num_held).round().astype(np.int64)
            self._held = ((num_samples, num_held), places if num_held else None)
        return self._held[1]

    def _sizes_of(self, num_samples: int, smallest: float) -> Float32s:
        """Factors between the smallest and 1. Shape=(num_samples, action_dim)."""
        if self._sizes[0] != (num_samples, smallest):
            # Multiples of the golden ratio: any part of the samples has all sizes of noise.
            places = np.arange(num_samples) * _GOLDEN_RATIO % 1.0
            # Written out for all entries: NumPy is slow where only the few entries of a control lie side by side.
            sizes = np.repeat(np.power(smallest, places).astype(np.float32)[:, None], self._table.shape[2], axis=1)
            self._sizes = ((num_samples, smallest), sizes)
        return self._sizes[1]
