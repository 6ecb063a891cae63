"""Corrections of the gait: what each entry does to the legs, and that none of them disturbs another."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.tasks import Array
from stoch2_sim.robots.stoch2.gait import MAXIMUM_STEP_M, foot_targets, steps
from stoch2_sim.robots.stoch2.gait_correction import CORRECTION, GaitCorrection
from stoch2_sim.robots.stoch2.geometry import OUTWARD_SIGNS

NAMES = [quantity.name for quantity in CORRECTION]
FRONT = np.array([1.0, 1.0, -1.0, -1.0])
LEFT = np.array([-1.0, 1.0, -1.0, 1.0])


def corrected(nominal: Array | None = None, **entries: float) -> Array:
    nominal = np.zeros(20) if nominal is None else nominal
    correction = np.zeros(len(CORRECTION))
    for name, value in entries.items():
        correction[NAMES.index(name)] = value
    return GaitCorrection()(nominal[None], correction[None])


def step_vectors(actions: Array) -> tuple[Array, Array]:
    """Forward and leftward step of each leg, as shares of the longest."""
    step = steps(actions)
    outward = -step.length_m * np.sin(step.steer_rad)
    return step.length_m[0] * np.cos(step.steer_rad[0]) / MAXIMUM_STEP_M, (OUTWARD_SIGNS * outward)[0] / MAXIMUM_STEP_M


def step_centres(actions: Array) -> Array:
    """Where each leg's step has its middle, in the leg frames, m. Shape=(4, 3)."""
    halves = foot_targets(np.repeat(actions, 2, axis=0), np.array([0.5, 1.0]))
    return np.asarray(halves.mean(axis=0))


def test_no_correction_changes_nothing() -> None:
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (500, 20))
    np.testing.assert_allclose(GaitCorrection()(actions, np.zeros((500, len(CORRECTION)))), actions, atol=1e-12)


@pytest.mark.parametrize("nominal_seed", [None, 0, 1])
def test_step_entries_add_vectors(nominal_seed: int | None) -> None:
    nominal = np.zeros(20)
    if nominal_seed is not None:
        nominal[:8] = np.random.default_rng(nominal_seed).uniform(-0.3, 0.3, 8)
    before = step_vectors(nominal[None])
    after = step_vectors(corrected(nominal, forward_step=-0.1, lateral_step=0.1, turning_step=0.15))
    np.testing.assert_allclose(after[0] - before[0], -0.1, atol=1e-9)
    np.testing.assert_allclose(after[1] - before[1], 0.1 + 0.15 * FRONT, atol=1e-9)


def test_turns_on_the_spot() -> None:
    """Without a forward step all legs go sideways, front and back opposite ways."""
    forward, left = step_vectors(corrected(forward_step=-1.0, turning_step=0.4))
    np.testing.assert_allclose(forward, 0.0, atol=1e-9)
    np.testing.assert_allclose(left, 0.4 * FRONT, atol=1e-9)


@pytest.mark.parametrize("turning", [-0.5, -0.1, 0.1, 0.5])
def test_a_turned_step_stays_where_it_was_sideways(turning: float) -> None:
    """The generator turns the forward shift with the step; the correction turns it back."""
    nominal = np.zeros(20)
    nominal[12:16] = [-0.8, -0.6, 0.7, -0.8]
    centres = [step_centres(actions) for actions in (nominal[None], corrected(nominal, turning_step=turning))]
    np.testing.assert_allclose(centres[1][:, 2], centres[0][:, 2], atol=1e-12)


def test_short_steps_have_no_jumps() -> None:
    """Where the forward step vanishes, a little to either side must make little difference."""
    nominal = np.random.default_rng(0).uniform(-0.5, 0.5, 20)
    nominal[:4] = 0.3
    phases = np.linspace(0.0, 1.0, 9)
    targets = [
        foot_targets(np.repeat(corrected(nominal, forward_step=-0.65, lateral_step=step), 9, axis=0), phases)
        for step in np.linspace(-0.05, 0.05, 101)
    ]
    # 0.001 of the longest step is 0.14 mm.
    assert np.abs(np.diff(targets, axis=0)).max() < 0.002


def test_a_step_of_hardly_any_length_points_forward() -> None:
    """Half a short step to the left is turned forward as far as it is short."""
    forward, left = step_vectors(corrected(forward_step=-1.0, lateral_step=0.1))
    np.testing.assert_allclose(forward, 0.1 / np.sqrt(2.0), atol=1e-9)
    np.testing.assert_allclose(left, 0.1 / np.sqrt(2.0), atol=1e-9)
    forward, left = step_vectors(corrected(forward_step=-1.0, lateral_step=0.2))
    np.testing.assert_allclose(forward, 0.0, atol=1e-9)
    np.testing.assert_allclose(left, 0.2, atol=1e-9)


def test_no_leg_steps_backward() -> None:
    forward, left = step_vectors(corrected(forward_step=-1.0))
    np.testing.assert_allclose([forward, left], 0.0, atol=1e-9)


def test_shifts() -> None:
    actions = corrected(forward_shift=0.3, lateral_shift=0.2, width=0.1, lean=0.4, crouch=0.25).reshape(5, 4)
    rest = np.zeros((2, 4))
    np.testing.assert_allclose(actions[:2], rest, atol=1e-12)
    np.testing.assert_allclose(actions[2], 0.25 + 0.4 * LEFT)
    np.testing.assert_allclose(actions[3], 0.3)
    # The action's z-shift is to the right.
    np.testing.assert_allclose(actions[4], -0.2 - 0.1 * LEFT)
    outward = steps(actions.reshape(1, 20)).z_shift_m[0] * OUTWARD_SIGNS
    assert outward[LEFT > 0.0].mean() > outward[LEFT < 0.0].mean()
