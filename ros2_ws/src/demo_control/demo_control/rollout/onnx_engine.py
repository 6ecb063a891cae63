"""Rollouts by ONNX Runtime on the composed graph."""

from __future__ import annotations

import numpy as np

from demo_control.bundle import Bundle
from demo_control.onnx_graph import make_session
from demo_control.rollout.composition import ROLLOUT_OUTPUTS, compose_rollout
from demo_control.rollout.engine import Floats, Rollouts, RolloutShape
from demo_control.tasks import Task


class OnnxEngine:
    """A :class:`RolloutEngine` that runs one composed graph per call and releases the GIL meanwhile.

    Args:
        task: The planning problem: names, limits and cost terms.
        bundle: Policy, dynamics and value.
        shape: What kind of rollouts to make.
    """

    def __init__(self, task: Task, bundle: Bundle, shape: RolloutShape) -> None:
        self._shape = shape
        self._num_members = bundle.contract.members
        self._num_terms = len(task.cost_terms) + (bundle.value is not None)
        # A correction's nominal value is zero: the policy itself is inside the model.
        policy = bundle.policy if bundle.contract.planning is None else None
        model = compose_rollout(task, shape, bundle.dynamics, bundle.contract.members, policy, bundle.value)
        self._session = make_session(model)
        self._outputs = [
            *ROLLOUT_OUTPUTS["always"],
            *(ROLLOUT_OUTPUTS["with_policy"] if shape.with_policy else ()),
            *(ROLLOUT_OUTPUTS["with_trajectory"] if shape.with_trajectory else ()),
        ]

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
        results = dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))
        return Rollouts(
            term_costs=results["term_costs"],
            controls=results["applied_controls"],
            policy_actions=results.get("policy_actions"),
            observations=results.get("observations"),
            predictions=results.get("predictions"),
        )
