"""The ensemble that learns while data come in: what it recovers, and what it must not be fooled by."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from demo_control.learning.model_based.fitting import (  # noqa: E402
    EnsembleFitter,
    Examples,
    _held_out,
    calibration_error,
)
from demo_control.learning.model_based.planning_problem import planning_observations, planning_task  # noqa: E402
from demo_control.learning.model_based.settings import ModelSettings  # noqa: E402
from demo_control.tasks import Array  # noqa: E402

from .learning_problem import following, mass_problem  # noqa: E402

pytestmark = pytest.mark.train

SETTINGS = ModelSettings(
    num_members=3, num_elites=2, hidden_layers=2, hidden_units=32, first_steps=800, learning_rate=3e-3, patience=100
)


@pytest.fixture(autouse=True)
def no_graph() -> object:
    with torch.no_grad():
        yield


def make_data(count: int, generator: np.random.Generator, noise: bool = True) -> tuple[Array, Array, Array]:
    """Transitions of the mass, its speed with noise that is larger on one side of the line."""
    x, u = generator.uniform(-1, 1, (count, 2)), generator.uniform(-1, 1, (count, 1))
    x_next = following(x, u)
    if noise:
        x_next[:, 1] += noise_deviation(x) * generator.standard_normal(count)
    return planning_observations(x), u, planning_observations(x_next)


def noise_deviation(x: Array) -> Array:
    return np.asarray(np.where(x[:, 0] > 0.0, 0.2, 0.05))


def test_recovers_mean_and_variance_of_a_noisy_system() -> None:
    fitter = EnsembleFitter(planning_task(mass_problem()), SETTINGS, seed=0)
    ensemble, figures = fitter.refit(*make_data(4000, np.random.default_rng(0)), np.random.default_rng(1))
    x, u, x_next = make_data(500, np.random.default_rng(2), noise=False)
    tensors = [torch.from_numpy(np.tile(v, (ensemble.num_members, 1, 1)).astype(np.float32)) for v in (x, u)]
    predicted, log_variance = (tensor.numpy() for tensor in ensemble.predict(*tensors))
    np.testing.assert_allclose(predicted[..., :2].mean(axis=0), x_next[:, :2], atol=0.05)
    inner = np.abs(x[:, 0]) > 0.2
    deviation = np.exp(0.5 * log_variance[..., 1]).mean(axis=0)
    np.testing.assert_allclose(np.median((deviation / noise_deviation(x))[inner]), 1.0, atol=0.15)
    assert np.median(deviation[x[:, 0] > 0.2]) > 2.5 * np.median(deviation[x[:, 0] < -0.2])
    assert figures.calibration_error < 0.1


def test_members_differ_and_learn_from_samples_of_their_own() -> None:
    fitter = EnsembleFitter(planning_task(mass_problem()), ModelSettings(first_steps=50), seed=0)
    ensemble, figures = fitter.refit(*make_data(200, np.random.default_rng(0)), np.random.default_rng(1))
    assert figures.members_apart > 0.0
    weights = ensemble.parameters["weight_0"]
    assert not torch.equal(weights[0], weights[1])


def test_an_entry_that_never_moves_does_not_blow_up() -> None:
    """As the rail's force of the inverted double pendulum: constant for long, then suddenly large."""
    fitter = EnsembleFitter(planning_task(mass_problem()), ModelSettings(first_steps=50), seed=0)
    x, u, x_next = make_data(200, np.random.default_rng(0), noise=False)
    x[:, 1] = x_next[:, 1] = 0.5
    ensemble, _ = fitter.refit(x, u, x_next, np.random.default_rng(1))
    assert ensemble.scaling.input_scale[1] == pytest.approx(0.01)
    assert np.isfinite(ensemble.scaling.output_scale).all()


def test_what_was_learned_from_is_never_held_out_later() -> None:
    few, many = _held_out(60, 0.2), _held_out(1000, 0.2)
    assert np.array_equal(few, many[:60])
    assert many.sum() == 200
    assert _held_out(2, 0.2).sum() == 1


def test_a_refit_ends_at_its_cap_or_when_nothing_improves() -> None:
    settings = ModelSettings(first_steps=30, steps=20, look_interval=10, patience=100, hidden_units=8)
    fitter = EnsembleFitter(planning_task(mass_problem()), settings, seed=0)
    data = make_data(100, np.random.default_rng(0))
    steps = [fitter.refit(*data, np.random.default_rng(i))[1].steps for i in range(2)]
    assert steps == [30, 20]
    hopeless = ModelSettings(first_steps=10_000, look_interval=5, patience=2, learning_rate=1e-9, hidden_units=8)
    fitter = EnsembleFitter(planning_task(mass_problem()), hopeless, seed=0)
    assert fitter.refit(*data, np.random.default_rng(0))[1].steps < 10_000


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_gradient_is_that_of_the_likelihood(beta: float) -> None:
    settings = ModelSettings(num_members=2, num_elites=1, hidden_units=8, variance_weighting=beta)
    fitter = EnsembleFitter(planning_task(mass_problem()), settings, seed=0)
    generator = torch.Generator().manual_seed(0)
    examples = Examples(torch.randn((50, 3), generator=generator), torch.randn((50, 2), generator=generator))
    run = fitter.networks.forward(examples.inputs[None])
    output = run.sums[-1].clone().requires_grad_()
    with torch.enable_grad():
        mean, raw = output.chunk(2, dim=-1)
        log_variance = -10.0 + 11.0 * torch.sigmoid(raw)
        weight = log_variance.detach().exp() ** beta
        # The weight holds for the mean only.
        squares = (mean - examples.outputs).square() * torch.exp(-log_variance.detach()) * weight
        likelihood = (mean.detach() - examples.outputs).square() * torch.exp(-log_variance) + log_variance
        torch.autograd.backward(0.5 * (squares + likelihood).mean(dim=(1, 2)).sum())
    torch.testing.assert_close(fitter._gradient(run, examples.outputs.expand(2, -1, -1)), output.grad)


def test_goes_on_from_its_state_bit_for_bit() -> None:
    settings = ModelSettings(first_steps=20, steps=20, hidden_units=8)
    task, data = planning_task(mass_problem()), make_data(100, np.random.default_rng(0))
    one, other = EnsembleFitter(task, settings, seed=0), EnsembleFitter(task, settings, seed=5)
    one.refit(*data, np.random.default_rng(1))
    other.restore(one.state())
    ends = [fitter.refit(*data, np.random.default_rng(2))[0].parameters for fitter in (one, other)]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_calibration_error_of_known_cases() -> None:
    errors = np.abs(np.random.default_rng(0).standard_normal(200_000))
    assert calibration_error(errors) < 0.003
    assert calibration_error(np.full(10, 1e-6)) == pytest.approx(0.5)  # far too cautious
    assert calibration_error(np.full(10, 1e6)) == pytest.approx(0.5)  # far too bold
