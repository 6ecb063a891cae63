"""Rollouts by the compiled kernel."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from demo_control.bundle import Bundle
from demo_control.rollout.bundle_engine import BundleEngine
from demo_control.rollout.engine import Floats, Rollouts, RolloutShape
from demo_control.rollout.native.compiler import BLOCKS, CompiledRollout, compile_rollout
from demo_control.rollout.native.library import Arrays, Kernel, KernelError, load_kernel
from demo_control.tasks import Task

Float32s = npt.NDArray[np.float32]

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
            self.variant.encode(), _address(dimensions), _address(rows), _address(lanes), _address(code), len(code),
            _address(layers), len(layers), _address(numbers), _address(constants),
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
        shape, task, lanes, rows = self._shape, self._task, self._num_lanes, np.shape(observations)[1]
        n, m, horizon = task.observation_dim, task.action_dim, shape.horizon
        if (feedback is not None) != shape.with_policy:
            raise ValueError(f"feedback: {'missing' if shape.with_policy else 'given'}, but with_policy is not")
        term_weights = self._counts * np.asarray(step_weights)[:, None]
        taken = {
            "observations": _with_strides("observations", observations, (lanes, rows, n)),
            "controls": _with_strides("controls", controls, (horizon, lanes, rows, m)),
            "step_weights": _checked("step_weights", term_weights, self._counts.shape),
            "change_scale": _checked("change_scale", change_scale, (rows, n)),
            "change_offset": _checked("change_offset", change_offset, (rows, n)),
        }
        if feedback is not None:
            taken["feedback"] = _checked("feedback", feedback, (horizon, lanes, rows, 1))
        made = {"term_costs": np.empty((lanes, rows, self._num_terms), np.float32)}
        if shape.with_controls:
            made["applied"] = np.empty((horizon, lanes, rows, m), np.float32)
        if shape.with_policy:
            made["policy_actions"] = np.empty((horizon, lanes, rows, m), np.float32)
        if shape.with_trajectory:
            made["trajectory"] = np.empty((horizon + 1, lanes, rows, n), np.float32)
            made["predictions"] = np.empty((horizon, self._num_members, rows, n), np.float32)
        addresses = {name: _address(array) for name, array in {**taken, **made}.items()}
        # The structure begins with the strides.
        arrays = Arrays(0, *taken["observations"].strides[:-1], *taken["controls"].strides[:-1], **addresses)
        if self._kernel.functions.demo_native_run(self._handle, ctypes.byref(arrays), rows, self.threads_for(rows)):
            raise MemoryError("native rollout: no memory for the workspace")
        return Rollouts(
            term_costs=made["term_costs"],
            controls=made.get("applied"),
            policy_actions=made.get("policy_actions"),
            observations=made.get("trajectory"),
            predictions=made.get("predictions"),
        )


def _address(array: Any) -> int:  # noqa: ANN401 - NumPy's arrays are not typed as the buffers that they are
    """Where an array's numbers lie; ``array.ctypes`` takes four times as long, which a short plan would notice."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # read-only, or empty
        return int(array.ctypes.data)


def _checked(name: str, array: Floats, shape: tuple[int, ...]) -> Float32s:
    """The array as float32 in C order.

    Raises:
        ValueError: It has another shape.
    """
    return np.ascontiguousarray(_of_shape(name, array, shape), np.float32)


def _with_strides(name: str, array: Floats, shape: tuple[int, ...]) -> Float32s:
    """The array as float32 with features side by side; the other axes stay as they are, as a copy takes its time.

    Raises:
        ValueError: It has another shape.
    """
    floats = _of_shape(name, array, shape)
    if floats.dtype == np.float32 and floats.strides[-1] == floats.itemsize and floats.flags.aligned:
        return floats
    return np.ascontiguousarray(floats, np.float32)


def _of_shape(name: str, array: Floats, shape: tuple[int, ...]) -> Floats:
    """The array.

    Raises:
        ValueError: It has another shape.
    """
    if np.shape(array) != shape:
        raise ValueError(f"{name}: shape {np.shape(array)}, expected {shape}")
    return array
