"""Shift models Φ: where the search for the next plan starts (method: dynamic mirror descent, Hall & Willett 2013).

A shift model says which candidates are proposed before any sample is drawn:

* ``policy``: μ̃_h = π_θ(x_h) along a rollout of the model from the current state (the DeMo layer of the thesis).
* ``remembered``: the previous plan, moved on by the time that has passed; a *tail* fills the steps at its end that are
  then missing.

The cheaper candidate becomes the mean μ̃, and the samples are spread evenly around all candidates. A shift model of your
own is one entry of :data:`SHIFT_MODELS`, with one of the tails below or a function of your own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from demo_control.tasks import Array

Tail = Callable[[Array, Array], Array]
"""Maps the previous plan, Shape=(horizon, action_dim), and the middle of the action range, Shape=(action_dim,), to the
control that fills its end. At the start, the plan is the middle alone."""


def repeat_last(plan: Array, _middle: Array) -> Array:
    """The plan's last control."""
    return np.asarray(plan[-1])


def plan_mean(plan: Array, _middle: Array) -> Array:
    """The mean of the plan's controls."""
    return np.asarray(plan.mean(axis=0))


def range_middle(_plan: Array, middle: Array) -> Array:
    """The middle of the action range."""
    return middle


def zero(_plan: Array, middle: Array) -> Array:
    """Zero."""
    return np.zeros_like(middle)


@dataclass(frozen=True)
class ShiftModel:
    """What is proposed.

    Attributes:
        name: For configuration.
        proposes_policy: The policy's rollout is a candidate.
        proposes_remembered: The previous plan is a candidate.
        tail: What fills the end of the previous plan; None: the policy does.
        samples_follow_policy: Every sample adds its noise to the policy's action on the sample's own path,
            u⁽ⁱ⁾_h = π_θ(x⁽ⁱ⁾_h) + ε⁽ⁱ⁾_h, instead of to a fixed sequence.
        text: One sentence for people.
    """

    name: str
    proposes_policy: bool
    proposes_remembered: bool
    tail: Tail | None
    samples_follow_policy: bool
    text: str


SHIFT_MODELS = {
    model.name: model
    for model in (
        ShiftModel("policy", True, False, None, False, "The policy's rollout; the thesis's DeMo layer."),
        ShiftModel("policy_feedback", True, False, None, True,
                   "The policy's rollout, and every sample follows the policy on its own path."),
        ShiftModel("shift_and_repeat", False, True, repeat_last, False,
                   "The previous plan moved on, its last step repeated (classical)."),
        ShiftModel("shift_and_mean", False, True, plan_mean, False,
                   "The previous plan moved on, the mean of its steps appended."),
        ShiftModel("shift_and_zero", False, True, zero, False, "The previous plan moved on, zero appended."),
        ShiftModel("shift_and_middle", False, True, range_middle, False,
                   "The previous plan moved on, the middle of the action range appended."),
        ShiftModel("policy_tail", False, True, None, False,
                   "The previous plan moved on, its last steps from the policy."),
        ShiftModel("hybrid", True, True, None, False,
                   "The cheaper of policy and policy_tail, with samples around both."),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Previous:
    """What the search remembers of the plan made before.

    Attributes:
        controls: Its μ. Shape=(horizon, action_dim).
        elapsed: Steps since its first.
        deviation: σ that was learned with it, or None. Shape=(horizon, action_dim).
        elites: Cheap samples that are tried again, or None. Shape=(num_elites, horizon, action_dim).
        plans: How many plans the search has made, this one included.
    """

    controls: Array
    elapsed: int
    deviation: Array | None = None
    elites: Array | None = None
    plans: int = 1


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
    rest = np.empty((0, middle.size)) if previous is None else previous.controls[previous.elapsed :][:horizon]
    plan = middle[None] if previous is None or not len(rest) else previous.controls
    end = np.zeros_like(middle) if model.tail is None else model.tail(plan, middle)
    controls, feedback = np.empty((horizon, middle.size)), np.zeros((horizon, 1))
    controls[: len(rest)], controls[len(rest) :] = rest, end
    if model.tail is None:
        feedback[len(rest) :] = 1.0
    return controls, feedback


def continued(sequence: Array, end: Array) -> Array:
    """A sequence cut or continued to the length of another, from which the missing steps are taken.

    Args:
        sequence: Shape=(..., num_steps, action_dim).
        end: Shape=(horizon, action_dim).

    Returns:
        Shape=(..., horizon, action_dim).
    """
    horizon = len(end)
    kept = min(sequence.shape[-2], horizon)
    result: Array = np.broadcast_to(end, (*sequence.shape[:-2], *end.shape)).copy()
    result[..., :kept, :] = sequence[..., :kept, :]
    return result
