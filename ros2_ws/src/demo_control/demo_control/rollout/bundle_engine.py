"""What all engines share that roll out a bundle."""

from __future__ import annotations

import os

import onnx

from demo_control.bundle import Bundle
from demo_control.rollout.engine import RolloutShape
from demo_control.tasks import Task


class BundleEngine:
    """Base of the engines on a bundle's graphs.

    Args:
        task: The planning problem: names, limits and cost terms.
        bundle: Policy, dynamics and value.
        shape: What kind of rollouts to make.
        threads: At most that many per call; 0 for one per core that this process may use.
    """

    def __init__(self, task: Task, bundle: Bundle, shape: RolloutShape, threads: int) -> None:
        self._shape = shape
        self._num_members = bundle.contract.members
        self._num_terms = len(task.cost_terms) + (bundle.value is not None)
        self._threads = threads or len(os.sched_getaffinity(0))
        # A correction's nominal value is zero: the policy itself is inside the model.
        self._policy: onnx.ModelProto | None = bundle.policy if bundle.contract.planning is None else None

    @property
    def shape(self) -> RolloutShape:
        """What kind of rollouts this engine makes."""
        return self._shape

    @property
    def num_members(self) -> int:
        """Ensemble members of the model."""
        return self._num_members

    @property
    def num_terms(self) -> int:
        """Number of cost terms, a value function's included."""
        return self._num_terms
