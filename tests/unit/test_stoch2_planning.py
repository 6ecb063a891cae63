"""Stoch2's planning problem: known kinematics, the same for NumPy and ONNX, and exact where nothing is learned."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.onnx_graph import GraphBuilder, make_session
from demo_control.rollout.cost_graph import GraphNamespace, GraphValue
from demo_control.tasks import BEFORE, Array
from stoch2_sim.robots.stoch2.gait_correction import CORRECTION
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.planning import (
    COST_TERMS,
    DECISION_S,
    DECISION_TICKS,
    OBSERVATION,
    OUTPUTS,
    PLANNING,
)

NAMES = (*OBSERVATION, *(quantity.name + BEFORE for quantity in CORRECTION))
BATCH = 32


def random_states(generator: np.random.Generator) -> Array:
    states = generator.normal(scale=0.3, size=(BATCH, len(NAMES)))
    phase = generator.uniform(0.0, 2.0 * np.pi, BATCH)
    states[:, NAMES.index("phase_sine")], states[:, NAMES.index("phase_cosine")] = np.sin(phase), np.cos(phase)
    return states


def columns(values: Array, names: tuple[str, ...]) -> dict[str, Array]:
    return {name: values[:, index] for index, name in enumerate(names)}


def apply(states: Array, outputs: Array, corrections: Array) -> Array:
    names = tuple(quantity.name for quantity in CORRECTION)
    following = PLANNING.transition.apply(
        columns(states, NAMES), columns(outputs, OUTPUTS), columns(corrections, names), np
    )
    return np.stack([np.broadcast_to(following[name], (BATCH,)) for name in NAMES], axis=1)


@pytest.fixture
def example() -> tuple[Array, Array, Array]:
    generator = np.random.default_rng(0)
    return (
        random_states(generator),
        generator.normal(scale=0.2, size=(BATCH, len(OUTPUTS))),
        generator.normal(scale=0.2, size=(BATCH, len(CORRECTION))),
    )


def test_targets_are_what_apply_needs(example: tuple[Array, Array, Array]) -> None:
    states, outputs, corrections = example
    following = apply(states, outputs, corrections)
    np.testing.assert_allclose(PLANNING.transition.targets(states, following, corrections), outputs, atol=1e-12)


def test_errors_follow_the_moving_reference() -> None:
    """Against 1000 small steps of robot and reference, both turning, seen in the reference's frame."""
    forward, lateral, turn_rate, steps = 0.4, -0.1, 0.5, 1000
    period = DECISION_S / steps
    yaw, position = 0.2, np.array([0.03, -0.02])
    reference_yaw, reference = 0.0, np.zeros(2)
    start_yaw, start = yaw, position.copy()
    for _ in range(steps):
        reference_yaw += turn_rate * period / 2.0
        reference += _turn(np.array([forward, lateral]), reference_yaw) * period
        reference_yaw += turn_rate * period / 2.0
        yaw += 0.3 * period
        position += _turn(np.array([0.25, 0.05]), yaw) * period
    state = np.zeros((BATCH, len(NAMES)))
    for name, value in {
        "yaw_error": start_yaw, "forward_error": start[0], "lateral_error": start[1],
        "forward_command": forward, "lateral_command": lateral, "yaw_rate_command": turn_rate,
    }.items():  # fmt: skip
        state[:, NAMES.index(name)] = value
    outputs = np.zeros((BATCH, len(OUTPUTS)))
    outputs[:, OUTPUTS.index("yaw_change")] = yaw - start_yaw
    displacement = _turn(position - start, -start_yaw)
    outputs[:, OUTPUTS.index("forward_displacement")] = displacement[0]
    outputs[:, OUTPUTS.index("lateral_displacement")] = displacement[1]
    found = columns(apply(state, outputs, np.zeros((BATCH, len(CORRECTION)))), NAMES)
    expected = _turn(position - reference, -reference_yaw)
    np.testing.assert_allclose(found["yaw_error"], yaw - reference_yaw, atol=1e-9)
    np.testing.assert_allclose(found["forward_error"], expected[0], atol=1e-6)
    np.testing.assert_allclose(found["lateral_error"], expected[1], atol=1e-6)


def _turn(vector: Array, angle: float) -> Array:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]]) @ vector


def test_the_clock_runs_as_the_gait(example: tuple[Array, Array, Array]) -> None:
    states = example[0]
    found = columns(apply(*example), NAMES)
    before = np.arctan2(states[:, NAMES.index("phase_sine")], states[:, NAMES.index("phase_cosine")])
    after = np.arctan2(found["phase_sine"], found["phase_cosine"])
    turned = (after - before) % (2.0 * np.pi)
    np.testing.assert_allclose(turned, 2.0 * np.pi * 2.5 * CONTROL_PERIOD_S * DECISION_TICKS)


def test_the_correction_is_remembered(example: tuple[Array, Array, Array]) -> None:
    np.testing.assert_array_equal(apply(*example)[:, len(OBSERVATION) :], example[2])


def test_onnx_computes_what_numpy_does(example: tuple[Array, Array, Array]) -> None:
    states, outputs, corrections = example
    names = tuple(quantity.name for quantity in CORRECTION)
    graph = GraphBuilder("transition")
    parts = {}
    for label, labels in (("x", NAMES), ("y", OUTPUTS), ("u", names)):
        value = graph.input(label, ["batch", len(labels)])
        split = graph.split_node("Split", [value], len(labels), axis=1)
        parts[label] = {name: GraphValue(graph, part) for name, part in zip(labels, split, strict=True)}
    following = PLANNING.transition.apply(parts["x"], parts["y"], parts["u"], GraphNamespace())
    graph.output("next", graph.node("Concat", *(following[name].name for name in NAMES), axis=1), ["batch", len(NAMES)])
    feeds = {"x": states, "y": outputs, "u": corrections}
    (found,) = make_session(graph.build()).run(
        None, {name: values.astype(np.float32) for name, values in feeds.items()}
    )
    np.testing.assert_allclose(found, apply(*example), atol=1e-6)


def test_a_perfect_walk_costs_nothing() -> None:
    state = dict.fromkeys(NAMES, 0.0) | {"height": 0.22, "forward_velocity": 0.3, "forward_command": 0.3}
    correction = {quantity.name: 0.0 for quantity in CORRECTION}
    for term in COST_TERMS:
        assert term.function(state, correction, np) == 0.0
