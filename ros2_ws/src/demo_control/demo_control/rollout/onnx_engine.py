"""Rollouts by ONNX Runtime on the composed graph."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx

from demo_control.bundle import Bundle
from demo_control.onnx_graph import make_session
from demo_control.rollout.bundle_engine import BundleEngine
from demo_control.rollout.composition import ROLLOUT_OUTPUTS, compose_rollout
from demo_control.rollout.engine import Floats, Rollouts, RolloutShape
from demo_control.tasks import Task

WORK_PER_THREAD = 50_000_000
"""Floating-point operations that are worth another thread: one or two milliseconds of a robot's computer."""

Feeds = dict[str, Floats]

_ROW_AXES = {"observation": 1, "controls": 2, "feedback": 2, "change_scale": 0, "change_offset": 0}
_LANE_AXES = {"observation": 0, "controls": 1, "feedback": 1}
_RESULT_AXES = {"term_costs": 1}  # 2 for all others


class OnnxEngine(BundleEngine):
    """A :class:`RolloutEngine` that runs one composed graph per call and releases the GIL meanwhile.

    Long plans are shared among threads by rows, one call of the graph each: ONNX Runtime's own threads meet at every
    operator instead. How many there are changes sums in their last bits, so it depends on the plan's size only.

    Args:
        task: The planning problem: names, limits and cost terms.
        bundle: Policy, dynamics and value.
        shape: What kind of rollouts to make.
        threads: At most that many; 0 for one per core that this process may use.
    """

    def __init__(self, task: Task, bundle: Bundle, shape: RolloutShape, threads: int = 1) -> None:
        super().__init__(task, bundle, shape, threads)
        self._pool: ThreadPoolExecutor | None = None
        self._operations_per_row = 2 * shape.horizon * _num_weights(bundle.dynamics)
        model = compose_rollout(task, shape, bundle.dynamics, self._num_members, self._policy, bundle.value)
        self._session = make_session(model)
        self._outputs = [
            *ROLLOUT_OUTPUTS["always"],
            *(ROLLOUT_OUTPUTS["with_controls"] if shape.with_controls else ()),
            *(ROLLOUT_OUTPUTS["with_policy"] if shape.with_policy else ()),
            *(ROLLOUT_OUTPUTS["with_trajectory"] if shape.with_trajectory else ()),
        ]

    def threads_for(self, rows: int) -> int:
        """How many threads a call with that many rows takes."""
        return max(1, min(self._threads, rows, rows * self._operations_per_row // WORK_PER_THREAD))

    def _run(self, feeds: Feeds, threads: int) -> Feeds:
        """The graph's outputs by name; rows are shared among threads."""
        if threads == 1:
            return self._call(feeds)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="rollout")
        parts = [
            dict(zip(feeds, shares, strict=True))
            for shares in zip(*(_shares(name, array, threads) for name, array in feeds.items()), strict=True)
        ]
        results = list(self._pool.map(self._call, parts))
        return {
            name: np.concatenate([result[name] for result in results], axis=_RESULT_AXES.get(name, 2))
            for name in self._outputs
        }

    def _call(self, feeds: Feeds) -> Feeds:
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))

    def roll_out(
        self,
        observations: Floats,
        controls: Floats,
        feedback: Floats | None,
        step_weights: Floats,
        change_scale: Floats,
        change_offset: Floats,
    ) -> Rollouts:
        """See :class:`RolloutEngine`."""
        feeds = {
            "observation": np.asarray(observations, np.float32),
            "controls": np.asarray(controls, np.float32),
            "step_weights": np.asarray(step_weights, np.float32)[None, :],
            "change_scale": np.asarray(change_scale, np.float32),
            "change_offset": np.asarray(change_offset, np.float32),
        }
        if feedback is not None:
            feeds["feedback"] = np.asarray(feedback, np.float32)
        rows = feeds["controls"].shape[_ROW_AXES["controls"]]
        lanes = 1 if self._shape.average_members else self._num_members
        feeds = {name: _for_all(name, array, lanes, rows) for name, array in feeds.items()}
        results = self._run(feeds, self.threads_for(rows))
        return Rollouts(
            term_costs=results["term_costs"],
            controls=results.get("applied_controls"),
            policy_actions=results.get("policy_actions"),
            observations=results.get("observations"),
            predictions=results.get("predictions"),
        )


def _for_all(name: str, array: Floats, lanes: int, rows: int) -> Floats:
    """An input with all lanes and rows, repeated where it has one for all."""
    shape = list(array.shape)
    for axes, size in ((_LANE_AXES, lanes), (_ROW_AXES, rows)):
        if name in axes:
            shape[axes[name]] = size
    return array if array.shape == tuple(shape) else np.broadcast_to(array, shape)


def _shares(name: str, array: Floats, count: int) -> Sequence[Floats]:
    """An input's rows in ``count`` parts; all of it for each where it has no rows."""
    if name not in _ROW_AXES:
        return [array] * count
    return np.array_split(array, count, axis=_ROW_AXES[name])


def _num_weights(model: onnx.ModelProto) -> int:
    """Numbers in a model's matrices: the multiplications per sample of all its members."""
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer if len(tensor.dims) > 1)
