"""Shift models Φ: where the search for the next plan starts (method: dynamic mirror descent, Hall & Willett 2013).

A shift model says which candidates are proposed before any sample is drawn:

* ``policy``: μ̃_h = π_θ(x_h) along a rollout of the model from the current state (the DeMo layer of the thesis).
* ``remembered``: the previous plan, moved on by the time that has passed; the steps at its end that are then missing
  come from repeating the last one, from the middle of the action range, or from the policy.

The cheaper candidate becomes the mean μ̃, and the samples are spread evenly around all candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.tasks import Array


@dataclass(frozen=True)
class ShiftModel:
    """What is proposed.

    Attributes:
        name: For configuration.
        proposes_policy: The policy's rollout is a candidate.
        proposes_remembered: The previous plan is a candidate.
        tail: What fills the end of the previous plan: 'repeat', 'middle' or 'policy'.
        samples_follow_policy: Every sample adds its noise to the policy's action on the sample's own path,
            u⁽ⁱ⁾_h = π_θ(x⁽ⁱ⁾_h) + ε⁽ⁱ⁾_h, instead of to a fixed sequence.
        text: One sentence for people.
    """

    name: str
    proposes_policy: bool
    proposes_remembered: bool
    tail: str
    samples_follow_policy: bool
    text: str


SHIFT_MODELS = {
    model.name: model
    for model in (
        ShiftModel("policy", True, False, "policy", False, "The policy's rollout; the thesis's DeMo layer."),
        ShiftModel("policy_feedback", True, False, "policy", True,
                   "The policy's rollout, and every sample follows the policy on its own path."),
        ShiftModel("shift_and_repeat", False, True, "repeat", False,
                   "The previous plan moved on, its last step repeated (classical)."),
        ShiftModel("shift_and_middle", False, True, "middle", False,
                   "The previous plan moved on, the middle of the action range appended."),
        ShiftModel("policy_tail", False, True, "policy", False,
                   "The previous plan moved on, its last steps from the policy."),
        ShiftModel("hybrid", True, True, "policy", False,
                   "The cheaper of policy and policy_tail, with samples around both."),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Previous:
    """The plan made before: its controls, Shape=(horizon, action_dim), and the steps since its first."""

    controls: Array
    elapsed: int


def moved_on(previous: Previous | None, horizon: int, model: ShiftModel, middle: Array) -> tuple[Array, Array]:
    """The previous plan, moved on by the steps that have passed.

    Args:
        previous: The previous plan, or None at the start.
        horizon: H of the new plan.
        model: Decides what fills the end.
        middle: Middle of the action range. Shape=(action_dim,).

    Returns:
        Controls, Shape=(horizon, action_dim), and 1 where the policy's action is to be added (the controls are then
        0), Shape=(horizon, 1).
    """
    controls = np.zeros((horizon, middle.size))
    feedback = np.zeros((horizon, 1))
    kept = 0
    if previous is not None:
        rest = previous.controls[previous.elapsed :][:horizon]
        kept = len(rest)
        controls[:kept] = rest
    if model.tail == "policy":
        feedback[kept:] = 1.0
    elif model.tail == "repeat" and previous is not None and kept > 0:
        controls[kept:] = previous.controls[-1]
    else:
        controls[kept:] = middle
    return controls, feedback
