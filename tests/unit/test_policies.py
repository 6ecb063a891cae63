"""The linear policy's graph against its formula."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.policies import OnnxPolicy, linear_policy_model

LOW, HIGH = np.array([-10.0, 0.0]), np.array([10.0, 4.0])


def test_is_the_clipped_affine_map() -> None:
    generator = np.random.default_rng(0)
    weights, bias = generator.normal(size=(2, 3)), generator.normal(size=2)
    mean, scale = generator.normal(size=3), generator.uniform(0.5, 2.0, size=3)
    policy = OnnxPolicy(linear_policy_model(weights, bias, mean, scale, LOW, HIGH))
    states = 0.5 * generator.normal(size=(100, 3))
    inner = ((states - mean) / scale) @ weights.T + bias
    expected = np.clip((HIGH + LOW) / 2 + (HIGH - LOW) / 2 * inner, LOW, HIGH)
    found = policy.act(states)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    clipped = (expected == LOW) | (expected == HIGH)
    assert clipped.any()
    assert not clipped.all()
    np.testing.assert_array_equal(found[clipped], expected[clipped])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros(3)}, "weights: expected a matrix"),
        ({"bias": np.zeros(3)}, r"bias: expected shape \(2,\), got \(3,\)"),
        ({"mean": np.zeros(2)}, r"mean: expected shape \(3,\)"),
        ({"scale": np.array([1.0, 0.0, 1.0])}, "scale: must be positive"),
        ({"weights": np.full((2, 3), np.nan)}, "must be finite"),
    ],
)
def test_refuses_what_does_not_fit(change: dict[str, np.ndarray], message: str) -> None:
    arguments = {"weights": np.zeros((2, 3)), "bias": np.zeros(2), "mean": np.zeros(3), "scale": np.ones(3)}
    with pytest.raises(ValueError, match=message):
        linear_policy_model(**{**arguments, **change}, action_minimum=LOW, action_maximum=HIGH)
