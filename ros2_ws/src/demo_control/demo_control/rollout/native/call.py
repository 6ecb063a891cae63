"""One call of the kernel: what follows from the shapes of its arrays is found out once, and the next call finds it."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import numpy.typing as npt

from demo_control.rollout.engine import Floats, Rollouts
from demo_control.rollout.native.library import Arrays, address

Float32s = npt.NDArray[np.float32]
Shape = tuple[int, ...]
Layout = tuple[Shape, Shape, bool]
"""Shape and strides of an array, and whether its numbers can be read as they are: aligned float32."""

_FLOAT32 = np.dtype(np.float32)


def layout(array: Floats) -> Layout:
    """What a prepared call depends on."""
    return (array.shape, array.strides, array.dtype is _FLOAT32 and array.flags.aligned)


def _check(name: str, array: Floats, shape: Shape) -> None:
    """Compare shapes.

    Raises:
        ValueError: They differ otherwise than by axes of one.
    """
    if array.ndim != len(shape) or any(size not in (1, full) for size, full in zip(array.shape, shape, strict=True)):
        raise ValueError(f"{name}: shape {array.shape}, expected {shape}")


class Call:
    """Arguments and results of calls whose arrays have the same layouts.

    Args:
        rows: Samples of each lane.
        counts: How often each term counts at each step. Shape=(horizon + 1, num_terms).
    """

    def __init__(self, rows: int, counts: Floats) -> None:
        self.rows = rows
        self.arrays = Arrays()
        self.reference = ctypes.byref(self.arrays)
        self._counts, self._weights_seen = counts, b""
        self._step_weights = np.empty(counts.shape, np.float32)
        self.arrays.step_weights = address(self._step_weights)
        self._given: list[tuple[str, Float32s | None]] = []
        self._made: list[tuple[str, Shape, int] | None] = []
        self._size = 0

    def expect(self, name: str, array: Floats, shape: Shape) -> None:
        """Make ready for an argument. float32 with features side by side is read where it is, all else is copied.

        Args:
            name: In :class:`Arrays`.
            array: An argument of the layout that is expected; an axis of one stands for any size.
            shape: Of (step, lane, row, feature) or the last of them.

        Raises:
            ValueError: The array has another shape.
        """
        _check(name, array, shape)
        if array.shape[-1] != shape[-1]:  # features are not repeated
            raise ValueError(f"{name}: shape {array.shape}, expected {shape}")
        in_place = layout(array)[2] and array.strides[-1] == _FLOAT32.itemsize
        copy = None if in_place else np.empty(array.shape, np.float32)
        self._add(name, copy)
        strides = array.strides if copy is None else copy.strides
        steps = [0 if size == 1 else stride for size, stride in zip(array.shape, strides, strict=True)]
        for axis, step in zip(("row", "lane", "step"), steps[-2::-1], strict=False):
            setattr(self.arrays, f"{name.removesuffix('s')}_{axis}_stride", step)

    def expect_in_order(self, name: str, array: Floats, shape: Shape) -> None:
        """Make ready for an argument that the kernel takes in C order only; axes of one are repeated.

        Raises:
            ValueError: The array has another shape.
        """
        _check(name, array, shape)
        in_place = layout(array)[2] and array.shape == shape and array.flags.c_contiguous
        self._add(name, None if in_place else np.empty(shape, np.float32))

    def _add(self, name: str, copy: Float32s | None) -> None:
        self._given.append((name, copy))
        if copy is not None:
            setattr(self.arrays, name, address(copy))

    def report(self, name: str, shape: Shape | None) -> None:
        """Make ready for a result, or for its absence; in the order of :class:`Rollouts`."""
        self._made.append(None if shape is None else (name, shape, self._size))
        self._size += 0 if shape is None else math.prod(shape) * _FLOAT32.itemsize

    def take(self, step_weights: Floats, *given: Floats) -> None:
        """Take over arguments, in the order in which they were expected; they must live until the call is over."""
        seen = step_weights.tobytes()
        if seen != self._weights_seen:
            np.multiply(self._counts, step_weights[:, None], out=self._step_weights, casting="same_kind")
            self._weights_seen = seen
        for (name, copy), array in zip(self._given, given, strict=True):
            if copy is None:
                setattr(self.arrays, name, address(array))
            else:
                copy[...] = array

    def make_room(self) -> Rollouts:
        """Arrays for the results, all in one piece, which is the caller's."""
        memory = np.empty(self._size, np.uint8)
        start = address(memory)
        results: list[Float32s | None] = []
        for made in self._made:
            if made is None:
                results.append(None)
                continue
            name, shape, offset = made
            setattr(self.arrays, name, start + offset)
            results.append(np.ndarray(shape, np.float32, memory, offset))
        return Rollouts(*results)  # type: ignore[arg-type]
