"""A mirror step of one robot by the compiled kernel: samples, rollouts, weights and the step itself in one call."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from demo_control.rollout.engine import Floats
from demo_control.rollout.native.engine import NativeEngine
from demo_control.rollout.native.library import Pointer, address
from demo_control.rollout.native.perturbation import Noise, Perturbation
from demo_control.rollout.native.weighing import SCALES, Selecting, Weighing

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

_PATTERN = 64
"""'kPattern' in kernel/mirror_step.cpp."""


class _Arrays(ctypes.Structure):
    """One call's arrays; 'MirrorStep' in kernel/mirror_step.cpp."""

    _fields_ = [
        (name, ctypes.c_int64) for name in ("steps", "samples", "actions", "terms", "rows", "threads")
    ] + [
        ("step_size", ctypes.c_double), ("sample_size", ctypes.c_double),
    ] + [
        (name, Pointer)
        for name in (
            "perturbation", "rollout", "arrays", "selecting", "weighing", "term_weights", "sampled", "term_costs",
            "costs", "weights", "factors", "sums", "lowest", "highest", "mean",
        )
    ]  # fmt: skip


class MirrorStep:
    """Mirror steps with the same numbers of steps and samples.

    Args:
        engine: Rolls the samples out, each on one member; no policy, and nothing but costs is reported.
        num_samples: M, a multiple of the engine's members.
        limits: Least and greatest control. Shape=(action_dim,) each.

    Attributes:
        samples: Those of the last step. Shape=(horizon, 1, num_samples, action_dim).
        costs: Theirs. Shape=(1, num_samples).
        weights: Theirs. Shape=(1, num_samples).
    """

    def __init__(self, engine: NativeEngine, num_samples: int, limits: tuple[Float64s, Float64s]) -> None:
        horizon, action_dim, members = engine.shape.horizon, len(limits[0]), engine.num_members
        self.samples: Float32s = np.empty((horizon, 1, num_samples, action_dim), np.float32)
        self.costs, self.weights = np.empty((1, num_samples)), np.empty((1, num_samples))
        self._function = engine.kernel.functions.demo_native_mirror_step
        self._mean = np.empty((horizon, 1, action_dim))
        one = np.zeros((1, engine.observation_dim))
        self._rows = self.samples.reshape(horizon, members, num_samples // members, action_dim)
        # The kernel is handed addresses: all that they point to lives as long as this, the engine's program included.
        self._engine, self._call = engine, engine.prepare(one[None], self._rows, one, one)
        self._term_costs = self._call.make_room().term_costs
        self._term_weights = np.empty(engine.num_terms)
        self._limits = [np.ascontiguousarray(limit, np.float64) for limit in limits]
        self._limits32 = [limit.astype(np.float32) for limit in self._limits]
        self._workspace = [
            np.empty(num_samples * action_dim, np.float32), np.empty(_PATTERN + action_dim, np.float32),
        ]  # fmt: skip
        self._perturbation = Perturbation(
            samples_stride=self.samples.strides[0], steps=horizon, samples=num_samples, actions=action_dim,
            lowest=address(self._limits32[0]), highest=address(self._limits32[1]),
            out=address(self.samples),
        )  # fmt: skip
        costs, weights = address(self.costs), address(self.weights)
        self._weighing = Weighing(rows=1, samples=num_samples, costs=costs, weights=weights)
        self._selecting = Selecting(rows=1, samples=num_samples, costs=costs, weights=weights)
        self._arrays = _Arrays(
            steps=horizon, samples=num_samples, actions=action_dim, terms=engine.num_terms,
            rows=self._call.rows, threads=engine.threads_for(self._call.rows),
            perturbation=ctypes.addressof(self._perturbation), rollout=engine.handle,
            arrays=ctypes.addressof(self._call.arrays), term_weights=address(self._term_weights),
            sampled=address(self.samples), term_costs=address(self._term_costs), costs=costs, weights=weights,
            factors=address(self._workspace[0]), sums=address(self._workspace[1]),
            lowest=address(self._limits[0]), highest=address(self._limits[1]), mean=address(self._mean),
        )  # fmt: skip
        self._reference = ctypes.byref(self._arrays)

    @property
    def sample_size(self) -> float:
        """Effective sample size of the weights."""
        return float(self._arrays.sample_size)

    def use_exponential(self, temperature: float, scale: str) -> None:
        """Weigh as :func:`demo_control.mpc.utilities.exponential` does."""
        self._weighing.temperature, self._weighing.scale = temperature, SCALES.index(scale)
        self._arrays.weighing, self._arrays.selecting = ctypes.addressof(self._weighing), None

    def use_elites(self, num_elites: int, weighting: str) -> None:
        """Weigh as :func:`demo_control.mpc.utilities.elite_fraction` does."""
        self._selecting.elites, self._selecting.by_return = num_elites, weighting == "return"
        self._arrays.selecting, self._arrays.weighing = ctypes.addressof(self._selecting), None

    def __call__(
        self,
        mean: Float64s,
        noise: Noise,
        centres: Float32s,
        start: tuple[Floats, Floats, Floats],
        step_weights: Floats,
        term_weights: Floats,
        step_size: Float64s | float,
    ) -> Float64s:
        """One step.

        Args:
            mean: μ̃. Shape=(horizon, 1, action_dim).
            noise: Of the samples.
            centres: Shape=(horizon, num_centres, action_dim).
            start: State, change scale and change offset. Shape=(1, observation_dim) each.
            step_weights: See :class:`RolloutEngine`. Shape=(horizon + 1,).
            term_weights: Of the cost terms. Shape=(num_terms,).
            step_size: α. One number, or Shape=(1,).

        Returns:
            μ, within the limits, to be overwritten by the next step. Shape=(horizon, 1, action_dim).

        Raises:
            MemoryError: No memory for the workspace.
        """
        self._mean[...], self._term_weights[...] = mean, term_weights
        self._call.take(step_weights, start[0][None], self._rows, *start[1:])
        needed = self._perturbation.take(noise, centres)
        self._arrays.step_size = np.asarray(step_size).item()
        if self._function(self._reference):
            raise MemoryError("mirror step: no memory for the workspace")
        del needed
        return self._mean
