"""The ensemble: scaling, bootstraps, fitting, calibration, and parity of its export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.learning.dataset import Dataset, Windows, split
from demo_control.learning.episodes import Episode
from demo_control.tasks import CostTerm, Plants, Quantity, Score, Task

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from demo_control.learning.ensemble import Ensemble, NetworkSettings, Scaling  # noqa: E402
from demo_control.learning.export import (  # noqa: E402
    PARITY_TOLERANCE,
    ParityError,
    check_parity,
    dynamics_model,
)
from demo_control.learning.fitting import FitSettings, bootstraps, fit  # noqa: E402
from demo_control.learning.model_metrics import measure  # noqa: E402
from demo_control.onnx_graph import make_session  # noqa: E402


def no_plants(simulator: str, num_plants: int, settings: Mapping[str, Scalar]) -> Plants:
    raise NotImplementedError


def no_score() -> Score:
    raise NotImplementedError


def pendulum_task() -> Task:
    """A driven pendulum on a sliding base; the base's position is hidden from the model."""
    return Task(
        name="pendulum",
        observation=(
            Quantity("base", "m", -5.0, 5.0),
            Quantity("cosine", "1", -1.0, 1.0),
            Quantity("sine", "1", -1.0, 1.0),
            Quantity("velocity", "rad/s", -10.0, 10.0),
            Quantity("constant", "1", 0.0, 4.0),
        ),
        action=(Quantity("torque", "N m", -2.0, 2.0),),
        control_period_s=0.05,
        episode_s=5.0,
        cost_terms=(CostTerm("upright", 1.0, lambda x, u, _: 1.0 - x["cosine"], "Not up."),),
        model_inputs=("cosine", "sine", "velocity", "constant"),
        simulators=("none",),
        make_plants=no_plants,
        make_score=no_score,
        unit_circles=(("cosine", "sine"),),
    )


def pendulum_episode(generator: np.random.Generator, steps: int = 60, noise: float = 0.0) -> Episode:
    """Random torques on the pendulum; ``noise`` disturbs the velocity."""
    base, angle, velocity = generator.normal(size=3)
    observations, actions = [], generator.uniform(-2.0, 2.0, size=(steps, 1))
    for torque in [*actions[:, 0], 0.0]:
        observations.append([base, np.cos(angle), np.sin(angle), velocity, 2.0])
        velocity += 0.05 * (3.0 * np.sin(angle) + torque) + noise * generator.normal()
        angle += 0.05 * velocity
        base += 0.02 * velocity
    return Episode(np.array(observations), actions)


def dataset(seed: int = 0, count: int = 40, noise: float = 0.0) -> Dataset:
    generator = np.random.default_rng(seed)
    return split([pendulum_episode(generator, noise=noise) for _ in range(count)], 0.2)


SMALL = NetworkSettings(num_members=3, num_elites=2, hidden_units=32)


def fitted(data: Dataset, seed: int = 0, **settings: float) -> tuple[Ensemble, object]:
    chosen = FitSettings.from_mapping({"steps": 400, "evaluation_interval": 50, "unroll_steps": 1, **settings})
    generator = np.random.default_rng(seed)
    return fit(pendulum_task(), data, network=SMALL, settings=chosen, generator=generator)


@pytest.mark.parametrize("activation", ["tanh", "silu"])
@pytest.mark.parametrize("unroll_steps", [1, 4])
def test_learns_the_pendulum_and_exports_it_exactly(activation: str, unroll_steps: int) -> None:
    task, data = pendulum_task(), dataset()
    network = replace(SMALL, activation=activation)
    settings = FitSettings(steps=500, unroll_steps=unroll_steps)
    generator = np.random.default_rng(1)
    ensemble, report = fit(task, data, network=network, settings=settings, generator=generator)
    assert ensemble.num_members == 2
    assert report.curve[-1][2] < 0.1 * report.curve[0][2]

    model = dynamics_model(ensemble)
    windows = Windows.of(data.training, 1)
    assert check_parity(ensemble, model, windows, generator) <= PARITY_TOLERANCE

    metrics = measure(task, model, dataset(seed=9, count=5).training, 10, generator)
    for entry in range(4):
        assert metrics.errors[0, entry] < 0.15 * metrics.no_change[0, entry]
        assert metrics.errors[-1, entry] < 0.3 * metrics.no_change[-1, entry]


def test_graph_uses_plain_operators_and_ignores_hidden_entries() -> None:
    ensemble, _ = fitted(dataset())
    model = dynamics_model(ensemble)
    assert {node.op_type for node in model.graph.node} <= {
        "Concat", "MatMul", "Add", "Mul", "Tanh", "Sigmoid", "Sqrt", "Max", "Div", "Identity",
    }  # fmt: skip
    session = make_session(model)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 7, 5)).astype(np.float32)
    u = np.zeros((2, 7, 1), np.float32)
    moved = x.copy()
    moved[..., 0] += 2.0
    names = ["next_observation", "log_variance"]
    here, there = (session.run(names, {"observation": v, "action": u}) for v in (x, moved))
    np.testing.assert_allclose(there[0] - moved, here[0] - x, atol=1e-6)
    np.testing.assert_array_equal(there[1], here[1])
    circle = here[0][..., 1] ** 2 + here[0][..., 2] ** 2
    np.testing.assert_allclose(circle, 1.0, atol=1e-6)


def test_centre_of_the_circle_gives_finite_numbers() -> None:
    ensemble, _ = fitted(dataset(), steps=1)
    for parameter in ensemble.parameters.values():
        parameter.data.zero_()
    ensemble.output_mean.zero_()
    scaling = replace(ensemble.scaling, output_mean=np.zeros(5))
    still = Ensemble(ensemble.task, ensemble.settings, scaling, ensemble.parameters)
    feeds = {"observation": np.zeros((2, 1, 5), np.float32), "action": np.zeros((2, 1, 1), np.float32)}
    (following,) = make_session(dynamics_model(still)).run(["next_observation"], feeds)
    assert np.isfinite(following).all()


def test_same_generator_same_ensemble() -> None:
    data = dataset(count=8)
    first, again, other = (fitted(data, seed=s, steps=60)[0] for s in (1, 1, 2))
    for name, parameter in first.parameters.items():
        assert torch.equal(parameter, again.parameters[name])
    assert not torch.equal(first.parameters["weight_0"], other.parameters["weight_0"])


def test_saved_and_loaded_ensembles_are_equal(tmp_path: Path) -> None:
    ensemble, _ = fitted(dataset(count=8), steps=20)
    ensemble.save(tmp_path / "ensemble.pt")
    loaded = Ensemble.load(tmp_path / "ensemble.pt", ensemble.task, ensemble.settings)
    x, u = torch.rand((2, 3, 5)), torch.rand((2, 3, 1))
    for one, two in zip(ensemble.predict(x, u), loaded.predict(x, u), strict=True):
        assert torch.equal(one, two)


def test_bootstraps_of_members_are_independent() -> None:
    samples = bootstraps(np.arange(1000), 4, np.random.default_rng(0))
    shares = [len(np.unique(sample)) / 1000 for sample in samples]
    assert all(0.58 < share < 0.68 for share in shares), "with replacement, 1 - 1/e are drawn"
    for other in samples[1:]:
        assert not np.array_equal(samples[0], other)


def test_constant_entries_get_a_floor_and_a_finite_model() -> None:
    task, data = pendulum_task(), dataset()
    scaling = Scaling.of(Windows.of(data.training, 1), task)
    assert scaling.input_scale[3] == pytest.approx(0.05 * 4.0)
    assert (scaling.output_scale > 0.0).all()
    ensemble, _ = fitted(data, steps=50)
    x = torch.zeros((2, 1, 5))
    x[..., 4] = 4.0  # far from the constant seen in training
    following, log_variance = ensemble.predict(x, torch.zeros((2, 1, 1)))
    assert torch.isfinite(following).all()
    assert torch.isfinite(log_variance).all()


def test_elites_are_the_members_with_the_lowest_held_out_error() -> None:
    ensemble, report = fitted(dataset(), steps=100)
    errors = report.held_out_errors
    assert len(errors) == 3
    assert ensemble.num_members == 2
    everyone, _ = fit(
        pendulum_task(), dataset(), network=replace(SMALL, num_elites=3),
        settings=FitSettings(steps=100, evaluation_interval=50, unroll_steps=1), generator=np.random.default_rng(0),
    )  # fmt: skip
    for name, parameter in ensemble.parameters.items():
        assert torch.equal(parameter, everyone.parameters[name][:2]), "sorted, best first"


def test_predicted_deviation_covers_the_noise() -> None:
    data = dataset(count=60, noise=0.05)
    ensemble, _ = fitted(data, steps=600)
    held_back = dataset(seed=5, count=10, noise=0.05).training
    generator = np.random.default_rng(0)
    metrics = measure(ensemble.task, dynamics_model(ensemble), held_back, 1, generator)
    velocity = metrics.names.index("velocity")
    assert 0.6 < metrics.within[0, velocity] < 0.76
    assert 0.92 < metrics.within[1, velocity] < 0.98


def test_fit_stops_early_once_the_hold_out_no_longer_improves() -> None:
    data = dataset(count=6, noise=0.5)
    _, report = fitted(data, steps=20000, patience=2, evaluation_interval=25)
    assert report.steps < 20000


def test_a_fit_that_diverges_says_so() -> None:
    settings = FitSettings(steps=40, batch_size=16, evaluation_interval=10, learning_rate=1e30)
    with pytest.raises(ConfigurationError, match=r"diverged within 10 gradient steps .*learning_rate = 1e\+30 must be"):
        fit(pendulum_task(), dataset(), network=SMALL, settings=settings, generator=np.random.default_rng(0))


def test_parity_check_refuses_another_model() -> None:
    data = dataset(count=8)
    ensemble, other = (fitted(data, seed=s, steps=20)[0] for s in (1, 2))
    windows = Windows.of(data.training, 1)
    with pytest.raises(ParityError, match="differs from the trained ensemble"):
        check_parity(ensemble, dynamics_model(other), windows, np.random.default_rng(0))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="num_elites = 3"):
        NetworkSettings(num_members=2, num_elites=3)
