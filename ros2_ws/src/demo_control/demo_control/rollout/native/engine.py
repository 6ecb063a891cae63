"""Rollouts by the compiled kernel."""

from __future__ import annotations

import weakref

import numpy as np

from demo_control.bundle import Bundle
from demo_control.rollout.bundle_engine import BundleEngine
from demo_control.rollout.engine import Floats, Rollouts, RolloutShape
from demo_control.rollout.native import matrix_unit
from demo_control.rollout.native.call import Call, Layout, layout
from demo_control.rollout.native.compiler import BLOCKS, CompiledRollout, compile_rollout
from demo_control.rollout.native.library import Kernel, KernelError, address, load_kernel
from demo_control.tasks import Task

_MOST_CALLS = 16
"""Layouts of arguments that an engine is ready for."""

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
        variant: Instruction set; by default the fastest for the program.

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
        self.kernel = load_kernel() if kernel is None else kernel
        if variant is not None and variant not in self.kernel.variants:
            raise KernelError(
                f"the kernel has no instruction set '{variant}' here, only {', '.join(self.kernel.variants)}"
            )
        self._task, self.observation_dim = task, task.observation_dim
        compiled = compile_rollout(task, shape, bundle.dynamics, self._num_members, self._policy, bundle.value)
        matrix_share = compiled.time_with_matrix_unit(shape.horizon)
        self.variant = self._best_variant(matrix_share) if variant is None else variant
        self._num_lanes = compiled.num_lanes
        self._counts = task.cost_counts(shape.horizon + 1)
        self.operations = compiled.operations(shape.horizon)
        rate = self.kernel.multiply_add_rate(self.variant, 20_000)
        share = matrix_share if self.variant == matrix_unit.VARIANT else 1.0
        self._seconds_per_row = share * self.operations / rate
        self.handle = self._create(compiled)
        self._run = self.kernel.functions.demo_native_run
        self._calls: dict[tuple[Layout, ...], Call] = {}

    def _best_variant(self, matrix_share: float) -> str:
        """The instruction set that is fastest for this program.

        The mean over members is asked for a few rows. They take as long as their weights take to come, of which the
        matrix unit needs half as many bytes again.
        """
        variants = self.kernel.variants
        if variants[0] != matrix_unit.VARIANT:
            return variants[0]
        pays = matrix_share <= matrix_unit.WORTH and not self._shape.average_members
        return variants[0] if pays else variants[1]

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
        handle = self.kernel.functions.demo_native_create(
            self.variant.encode(), address(dimensions), address(rows), address(lanes), address(code), len(code),
            address(layers), len(layers), address(numbers), address(constants),
        )  # fmt: skip
        if not handle:
            raise KernelError("no memory for the kernel's program")
        # Not when the interpreter ends: a thread that is still planning then would run on freed memory.
        weakref.finalize(self, self.kernel.functions.demo_native_destroy, handle).atexit = False
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
        # Every microsecond is one of a plan of a millisecond, and after a kernel that has used all caches Python's are
        # slow. The call is taken out while it is used: other threads may make theirs meanwhile.
        given = [observations, controls, change_scale, change_offset]
        if feedback is not None:
            given.append(feedback)
        key = tuple(map(layout, given))
        call = self._calls.pop(key, None) or self.prepare(*given)
        call.take(step_weights, *given)
        rollouts = call.make_room()
        if self._run(self.handle, call.reference, call.rows, self.threads_for(call.rows)):
            raise MemoryError("native rollout: no memory for the workspace")
        if len(self._calls) >= _MOST_CALLS:
            self._calls.clear()
        self._calls[key] = call
        return rollouts

    def prepare(
        self, observations: Floats, controls: Floats, scale: Floats, offset: Floats, feedback: Floats | None = None
    ) -> Call:
        """Make ready for a call with arrays like these.

        Raises:
            ValueError: An array of another shape than the engine's.
        """
        shape, task, lanes, rows = self._shape, self._task, self._num_lanes, controls.shape[2]
        n, m, horizon = task.observation_dim, task.action_dim, shape.horizon
        if (feedback is not None) != shape.with_policy:
            raise ValueError(f"feedback: {'missing' if shape.with_policy else 'given'}, but with_policy is not")
        call = Call(rows, self._counts)
        call.expect("observations", observations, (lanes, rows, n))
        call.expect("controls", controls, (horizon, lanes, rows, m))
        call.expect("change_scale", scale, (rows, n))
        call.expect("change_offset", offset, (rows, n))
        if feedback is not None:
            call.expect_in_order("feedback", feedback, (horizon, lanes, rows, 1))
        actions, trajectory = (horizon, lanes, rows, m), shape.with_trajectory
        call.report("term_costs", (lanes, rows, self._num_terms))
        call.report("applied", actions if shape.with_controls else None)
        call.report("policy_actions", actions if shape.with_policy else None)
        call.report("trajectory", (horizon + 1, lanes, rows, n) if trajectory else None)
        call.report("predictions", (horizon, self._num_members, rows, n) if trajectory else None)
        return call
