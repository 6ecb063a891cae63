"""Rollouts by the compiled kernel."""

from __future__ import annotations

import ctypes
import weakref

import numpy as np
import numpy.typing as npt

from demo_control.bundle import Bundle
from demo_control.rollout.bundle_engine import BundleEngine
from demo_control.rollout.engine import Floats, Rollouts, RolloutShape
from demo_control.rollout.native.compiler import BLOCKS, CompiledRollout, compile_rollout
from demo_control.rollout.native.library import Arrays, Kernel, KernelError, address, load_kernel
from demo_control.tasks import Task

Float32s = npt.NDArray[np.float32]

_FLOAT32 = np.dtype(np.float32)
_NONE = (0, 0, 0)

WORK_PER_THREAD_S = 0.001
"""Another thread is worth its start where it takes over at least that much: plans over 2 ms are shared."""


class NativeEngine(BundleEngine):
    """A :class:`RolloutEngine` that runs the kernel and releases the GIL meanwhile.

    A sample's results depend neither on the other samples of a call nor on the number of threads.

    Args:
        task: The planning problem: names, limits and cost terms.
        bundle: Policy, dynamics and value.
        shape: What kind of rollouts to make.
        threads: At most that many threads per call; 0 for one per core that this process may use. Either way a call
            takes no more than its work is worth; see :data:`WORK_PER_THREAD_S`.
        kernel: The compiled kernel; by default that of this installation.
        variant: Instruction set; by default the best.

    Raises:
        KernelError: There is no kernel here.
        UnsupportedGraphError: The kernel does not know something in the bundle's graphs or the cost terms.
    """

    def __init__(
        self,
        task: Task,
        bundle: Bundle,
        shape: RolloutShape,
        threads: int = 0,
        kernel: Kernel | None = None,
        variant: str | None = None,
    ) -> None:
        super().__init__(task, bundle, shape, threads)
        self._kernel = load_kernel() if kernel is None else kernel
        self.variant = self._kernel.variants[0] if variant is None else variant
        if self.variant not in self._kernel.variants:
            raise KernelError(
                f"the kernel has no instruction set '{self.variant}' here, only {', '.join(self._kernel.variants)}"
            )
        self._task = task
        compiled = compile_rollout(task, shape, bundle.dynamics, self._num_members, self._policy, bundle.value)
        self._num_lanes = compiled.num_lanes
        self._counts = task.cost_counts(shape.horizon + 1)
        self.operations = compiled.operations(shape.horizon)
        rate = self._kernel.multiply_add_rate(self.variant, 20_000)
        self._seconds_per_row = self.operations / rate
        self._handle = self._create(compiled)

    def _create(self, compiled: CompiledRollout) -> int:
        """Hand the program over to the kernel, which copies it."""
        program, shape, task = compiled.program, self._shape, self._task
        num_terms, num_constants = len(task.cost_terms), len(program.constants)
        dimensions = np.array(
            [
                self._num_lanes, shape.horizon, task.observation_dim, task.action_dim, num_terms, compiled.predictions,
                shape.with_policy, shape.with_trajectory, shape.with_controls, self._num_terms > num_terms,
                program.num_rows, num_constants,
            ],
            np.int32,
        )  # fmt: skip
        blocks = program.blocks
        rows = np.array([*(blocks[name] for name in BLOCKS), blocks["value"] + 1], np.int32)
        lanes = np.ascontiguousarray(program.tapes[np.array(compiled.lane_tapes)], np.int32)
        arrays = (program.code, program.layers, program.numbers, program.constants)
        code, layers, numbers, constants = (np.ascontiguousarray(array) for array in arrays)
        handle = self._kernel.functions.demo_native_create(
            self.variant.encode(), address(dimensions), address(rows), address(lanes), address(code), len(code),
            address(layers), len(layers), address(numbers), address(constants),
        )  # fmt: skip
        if not handle:
            raise KernelError("no memory for the kernel's program")
        # Not when the interpreter ends: a thread that is still planning then would run on freed memory.
        weakref.finalize(self, self._kernel.functions.demo_native_destroy, handle).atexit = False
        return int(handle)

    def threads_for(self, rows: int) -> int:
        """How many threads a call with that many rows takes."""
        return max(1, min(self._threads, int(rows * self._seconds_per_row / WORK_PER_THREAD_S)))

    def roll_out(
        self,
        observations: Floats,
        controls: Floats,
        feedback: Floats | None,
        step_weights: Floats,
        change_scale: Floats,
        change_offset: Floats,
    ) -> Rollouts:
        """See :class:`RolloutEngine`.

        Raises:
            ValueError: An array of another shape than the engine's.
            MemoryError: No memory for the workspace.
        """
        shape, task, lanes, rows = self._shape, self._task, self._num_lanes, np.shape(controls)[2]
        n, m, horizon = task.observation_dim, task.action_dim, shape.horizon
        if (feedback is not None) != shape.with_policy:
            raise ValueError(f"feedback: {'missing' if shape.with_policy else 'given'}, but with_policy is not")
        # Every microsecond is one of a plan of a millisecond: what can be handed over as it is, is.
        starts, starts_at = _with_strides("observations", observations, (1, lanes, rows, n), 1)
        sequences, sequences_at = _with_strides("controls", controls, (horizon, lanes, rows, m))
        scale, scale_at = _with_strides("change_scale", change_scale, (1, 1, rows, n), 2)
        offset, offset_at = _with_strides("change_offset", change_offset, (1, 1, rows, n), 2)
        weights = np.multiply(self._counts, np.asarray(step_weights)[:, None], dtype=np.float32, casting="same_kind")
        followed = None
        if feedback is not None:
            followed = _in_order("feedback", feedback, (horizon, lanes, rows, 1))
        costs = np.empty((lanes, rows, self._num_terms), np.float32)
        applied = np.empty((horizon, lanes, rows, m), np.float32) if shape.with_controls else None
        actions = np.empty((horizon, lanes, rows, m), np.float32) if shape.with_policy else None
        trajectory, predictions = None, None
        if shape.with_trajectory:
            trajectory = np.empty((horizon + 1, lanes, rows, n), np.float32)
            predictions = np.empty((horizon, self._num_members, rows, n), np.float32)
        # In the structure's order.
        given = (starts, sequences, followed, weights, scale, offset)
        made = (costs, applied, actions, trajectory, predictions)
        addresses = [None if array is None else address(array) for array in (*given, *made)]
        arrays = Arrays(*starts_at, *sequences_at, *scale_at, *offset_at, *addresses)
        if self._kernel.functions.demo_native_run(self._handle, ctypes.byref(arrays), rows, self.threads_for(rows)):
            raise MemoryError("native rollout: no memory for the workspace")
        return Rollouts(costs, applied, actions, trajectory, predictions)


def _in_order(name: str, array: Floats, shape: tuple[int, ...]) -> Float32s:
    """The array as float32 in C order, axes of one repeated.

    Raises:
        ValueError: It has another shape.
    """
    if array.shape != shape:
        _strides(name, array, shape, 0)
        array = np.broadcast_to(array, shape)
    return np.ascontiguousarray(array, np.float32)


def _with_strides(
    name: str, array: Floats, shape: tuple[int, ...], missing: int = 0
) -> tuple[Float32s, tuple[int, ...]]:
    """The array as float32 with features side by side, and its strides, 0 along axes that are repeated.

    The other axes stay as they are, as a copy takes its time.

    Args:
        name: For messages.
        array: Without the first ``missing`` axes of ``shape``; an axis of one stands for any size.
        shape: Of (step, lane, row, feature).
        missing: How many axes the array lacks.

    Raises:
        ValueError: It has another shape.
    """
    if not (array.dtype is _FLOAT32 and array.strides[-1] == _FLOAT32.itemsize and array.flags.aligned):
        array = np.ascontiguousarray(array, np.float32)
    return array, _strides(name, array, shape, missing)


def _strides(name: str, array: Floats, shape: tuple[int, ...], missing: int) -> tuple[int, ...]:
    """See :func:`_with_strides`; those of all axes but the last.

    Raises:
        ValueError: The array has another shape.
    """
    expected = shape[missing:]
    if array.shape == expected:
        return (*_NONE[:missing], *array.strides[:-1])
    same = len(array.shape) == len(expected) and array.shape[-1] == expected[-1]
    if not same or any(size not in (1, wanted) for size, wanted in zip(array.shape, expected, strict=True)):
        raise ValueError(f"{name}: shape {array.shape}, expected {expected}")
    repeated = (0 if size == 1 else stride for size, stride in zip(array.shape, array.strides, strict=True))
    return (*_NONE[:missing], *list(repeated)[:-1])
