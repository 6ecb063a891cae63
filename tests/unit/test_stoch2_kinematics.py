"""The five-bar kinematics: published values, exact round trips, and what lies outside the workspace."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stoch2_sim.robots.stoch2 import geometry as g
from stoch2_sim.robots.stoch2.kinematics import (
    WorkspaceError,
    feet_in_body,
    foot_jacobians,
    foot_velocities,
    forward,
    inverse,
    inverse_clipped,
    link_directions,
    reachable,
)
from stoch2_sim.simulators.protocol import Array


def points_of_the_workspace(count: int = 100_000) -> Array:
    """Random reachable points from a box that is larger than the workspace."""
    generator = np.random.default_rng(0)
    points = generator.uniform([-0.3, -0.35, -0.25], [0.3, 0.05, 0.25], (count, 3))
    return points[reachable(points)]


def test_the_stance_of_the_public_robot() -> None:
    abduction, hip, knee = inverse(np.array([0.0, -0.244, 0.0]))
    assert (abduction, hip, knee) == (0.0, pytest.approx(0.0019, abs=5e-5), pytest.approx(0.2051, abs=5e-5))


def test_the_zero_pose_of_the_public_robot() -> None:
    # Its foot is at (-0.045, -0.262) from the abduction axis, with motors 3.5 mm lower than ours.
    x, y, z = forward(np.zeros(3))
    assert (x + g.HIP_MOTOR_X_M, y - 0.0035, z) == pytest.approx((-0.045, -0.262, 0.0), abs=1.5e-3)


def test_round_trips_are_exact_over_the_whole_workspace() -> None:
    points = points_of_the_workspace()
    assert len(points) > 10_000
    joints = inverse(points)
    assert np.abs(forward(joints) - points).max() < 1e-9
    assert np.abs(inverse(forward(joints)) - joints).max() < 1e-6


def test_bars_keep_their_lengths_and_meet_at_the_pin() -> None:
    joints = inverse(points_of_the_workspace(20_000))
    shank, coupler = link_directions(joints)
    thigh, crank = joints[:, 1] + g.THIGH_ZERO_RAD, joints[:, 2] + g.CRANK_ZERO_RAD
    by_shank = g.THIGH_M * np.exp(1j * thigh) + g.SHANK_PIN_M * np.exp(1j * (shank - g.SHANK_BEND_RAD))
    by_coupler = g.MOTOR_SPACING_M + g.CRANK_M * np.exp(1j * crank) + g.COUPLER_M * np.exp(1j * coupler)
    assert np.abs(by_shank - by_coupler).max() < 1e-9


@pytest.mark.parametrize(
    "target",
    [
        (0.0, -0.32, 0.0),  # too far down
        (0.0, -0.05, 0.0),  # too near
        (0.25, -0.2, 0.0),  # too far forward
        (0.0, 0.244, 0.0),  # above
        (0.0, -0.244, math.nan),
    ],
)
def test_targets_outside_the_workspace_name_leg_and_target(target: tuple[float, float, float]) -> None:
    targets = np.tile(g.NEUTRAL_FOOT_M, (3, 4, 1))
    targets[1, 2] = target
    assert not reachable(targets)[1, 2]
    assert reachable(targets).sum() == 11
    with pytest.raises(WorkspaceError, match=rf"^back_right: .* x = {target[0]:.4f} m, y = {target[1]:.4f} m"):
        inverse(targets)
    with pytest.raises(WorkspaceError, match=r"^leg: the foot cannot reach"):
        inverse(np.array(target))
    if not math.isnan(target[2]):
        assert np.isfinite(inverse_clipped(targets)).all()


def test_feet_stand_where_the_legs_are() -> None:
    feet = feet_in_body(inverse(np.tile(g.NEUTRAL_FOOT_M, (4, 1))))
    x, y = [0.13405 - 0.0175, -0.13675 - 0.0175], 0.11512
    expected = [[x[0], -y], [x[0], y], [x[1], -y], [x[1], y]]
    np.testing.assert_allclose(feet[:, :2], expected, atol=1e-12)
    np.testing.assert_allclose(feet[:, 2], 0.0074 - 0.244, atol=1e-12)


def test_positive_abduction_leads_outward_on_both_sides() -> None:
    feet = feet_in_body(np.tile([0.2, 0.0, 0.2], (4, 1)))
    straight = feet_in_body(np.tile([0.0, 0.0, 0.2], (4, 1)))
    assert (g.OUTWARD_SIGNS * (feet - straight)[:, 1] > 0.03).all()


def test_jacobians_are_the_derivatives_of_the_feet() -> None:
    points = points_of_the_workspace(60_000)
    # Away from stretched legs, where the derivatives of any function of the angles grow without bound.
    points = points[np.hypot(points[:, 0], np.hypot(points[:, 1], points[:, 2])) < 0.27]
    joints = inverse(points)[:2000].reshape(-1, 4, 3)
    step = 1e-6
    numeric = [
        (feet_in_body(joints + step * unit) - feet_in_body(joints - step * unit)) / (2.0 * step) for unit in np.eye(3)
    ]
    np.testing.assert_allclose(foot_jacobians(joints), np.stack(numeric, axis=-1), atol=1e-6)
    rates = np.random.default_rng(1).normal(size=joints.shape)
    expected = np.einsum("rlij,rlj->rli", foot_jacobians(joints), rates)
    np.testing.assert_allclose(foot_velocities(joints, rates), expected, atol=1e-12)


def test_single_legs_and_batches_agree() -> None:
    points = points_of_the_workspace(2_000)[:48]
    batch = inverse(points.reshape(-1, 4, 3))
    np.testing.assert_array_equal(batch.reshape(-1, 3), [inverse(point) for point in points])
