"""Fitting the ensemble while data come in, with gradients by hand.

Source: K. Chua et al., *Deep reinforcement learning in a handful of trials using probabilistic dynamics models*,
NeurIPS 2018: members predict mean and variance, each learns from its own bootstrap. The likelihood's gradient by the
mean may be weighted with the variance (M. Seitzer et al., *On the pitfalls of heteroscedastic uncertainty estimation
with probabilistic neural networks*, ICLR 2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from demo_control.learning.ensemble import Ensemble, NetworkSettings, Scaling, visible_entries
from demo_control.learning.model_based.settings import ModelSettings
from demo_control.learning.networks import Adam, Pass, StackedNetworks
from demo_control.tasks import Array, Task
from demo_control.transitions import learned_outputs, num_outputs

LOG_VARIANCE_BOUNDS = (-10.0, 1.0)
"""In units of the outputs' variance: from a simulator without noise to a useless model."""

_LEVELS = np.arange(0.1, 0.95, 0.1)
_OUTPUT_FLOOR = 1e-6


@dataclass(frozen=True)
class FitFigures:
    """How a refit ended.

    Attributes:
        steps: Gradient steps taken.
        held_out_error: Mean squared error of the elites on held-out transitions, in units of the outputs' variance.
        calibration_error: Mean distance between the share of held-out outputs inside a central interval that the elites
            predict and the interval's probability, over intervals of 10 to 90 %.
        members_apart: Root mean square of the elites' distance from their mean on the held-out transitions.
    """

    steps: int
    held_out_error: float
    calibration_error: float
    members_apart: float


@dataclass(frozen=True)
class Examples:
    """Inputs and outputs in the networks' units.

    Attributes:
        inputs: Shape=(count, num_inputs).
        outputs: Shape=(count, num_outputs).
    """

    inputs: Tensor
    outputs: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


class EnsembleFitter:
    """Networks that go on from refit to refit.

    Args:
        task: The planning problem.
        settings: Shape and fit.
        seed: Of the initial weights.
    """

    def __init__(self, task: Task, settings: ModelSettings, seed: int) -> None:
        self._task, self._settings = task, settings
        inputs = len(task.model_inputs) + task.action_dim
        self._count = num_outputs(task)
        sizes = [inputs, *([settings.hidden_units] * settings.hidden_layers), 2 * self._count]
        generator = torch.Generator().manual_seed(seed)
        self.networks = StackedNetworks(settings.num_members, sizes, settings.activation, generator)
        self._adam = Adam(self.networks, settings.learning_rate, settings.weight_decay)
        self._fitted = False

    def refit(self, x: Array, u: Array, x_next: Array, generator: np.random.Generator) -> tuple[Ensemble, FitFigures]:
        """Go on learning from all transitions.

        Args:
            x: Planning observations. Shape=(count, planning observation_dim).
            u: Actions, physical units. Shape=(count, action_dim).
            x_next: Shape=(count, planning observation_dim).
            generator: Decides bootstraps and batches.

        Returns:
            The elites, best first, each with the weights of its best look at the hold-out, and figures.
        """
        scaling = self._scaling(x, u, x_next)
        # Fixed by the row's number: what a member once learned from is never held out later.
        held_out = _held_out(len(x), self._settings.held_out_share)
        training = self._examples(scaling, x[~held_out], u[~held_out], x_next[~held_out])
        few = slice(-self._settings.held_out_most, None)
        judged = self._examples(scaling, x[held_out][few], u[held_out][few], x_next[held_out][few])
        steps, best_errors = self._fit(training, judged, generator)
        elites = np.argsort(best_errors, kind="stable")[: self._settings.num_elites]
        figures = self._figures(judged, [int(i) for i in elites], steps, best_errors)
        return self._ensemble(scaling).members([int(i) for i in elites]), figures

    def _fit(self, training: Examples, judged: Examples, generator: np.random.Generator) -> tuple[int, Array]:
        """Gradient steps until the hold-out says enough; the weights are then those of each member's best look."""
        settings, networks = self._settings, self.networks
        most = settings.steps if self._fitted else settings.first_steps
        self._fitted = True
        samples = generator.integers(len(training), size=(settings.num_members, len(training)))
        best_errors = self._errors(judged)
        best, in_vain, step = networks.parameters.clone(), 0, 0
        while step < most and in_vain < settings.patience:
            self.step(training, _chosen(samples, settings.batch_size, generator))
            step += 1
            if step % settings.look_interval and step < most:
                continue
            errors = self._errors(judged)
            better = errors < best_errors
            best_errors = np.where(better, errors, best_errors)
            networks.copy_members(best, better)
            in_vain = 0 if better.any() else in_vain + 1
        networks.parameters.copy_(best)
        return step, best_errors

    def step(self, training: Examples, chosen: npt.NDArray[np.int64]) -> None:
        """One gradient step of every member on its own batch. Shape of ``chosen``=(num_members, batch_size)."""
        rows = torch.from_numpy(chosen)
        run = self.networks.forward(training.inputs[rows])
        self.networks.backward(run, self._gradient(run, training.outputs[rows]))
        self._adam.step()

    def _gradient(self, run: Pass, wanted: Tensor) -> Tensor:
        """Of the mean negative log likelihood by the outputs. Shape=(num_members, batch_size, 2 · outputs)."""
        mean, raw = run.sums[-1][..., : self._count], run.sums[-1][..., self._count :]
        low, high = LOG_VARIANCE_BOUNDS
        share = torch.sigmoid(raw)
        precision = torch.exp(-(low + (high - low) * share))
        error = mean - wanted
        weighted = error * precision
        by_log_variance = 0.5 * (1.0 - error * weighted)
        by_raw = by_log_variance * ((high - low) * share * (1.0 - share))
        beta = self._settings.variance_weighting
        by_mean = weighted if beta == 0.0 else error * precision.pow(1.0 - beta)
        return torch.cat([by_mean, by_raw], dim=-1).div_(wanted.shape[1] * self._count)

    def _errors(self, judged: Examples) -> Array:
        """Mean squared error of each member's mean. Shape=(num_members,)."""
        predicted = self.networks.forward(judged.inputs[None], "look").sums[-1][..., : self._count]
        errors: Array = (predicted - judged.outputs).square().mean(dim=(1, 2)).numpy().astype(float)
        return np.where(np.isfinite(errors), errors, np.inf)

    def _figures(self, judged: Examples, elites: list[int], steps: int, errors: Array) -> FitFigures:
        output = self.networks.forward(judged.inputs[None], "look").sums[-1][elites]
        mean, raw = output[..., : self._count], output[..., self._count :]
        low, high = LOG_VARIANCE_BOUNDS
        deviation = torch.exp(0.5 * (low + (high - low) * torch.sigmoid(raw)))
        distances = ((mean - judged.outputs).abs() / deviation).numpy()
        apart = (mean - mean.mean(dim=0)).square().mean().sqrt()
        return FitFigures(steps, float(errors[elites].mean()), calibration_error(distances), float(apart))

    def _scaling(self, x: Array, u: Array, x_next: Array) -> Scaling:
        """Mean and deviation of the data; an entry that hardly moves must not be blown up."""
        inputs = np.hstack([x[:, visible_entries(self._task)], u])
        outputs = learned_outputs(self._task, x, x_next, u)
        deviation = np.maximum(inputs.std(axis=0), self._settings.deviation_floor)
        output_deviation = np.maximum(outputs.std(axis=0), _OUTPUT_FLOOR)
        return Scaling(inputs.mean(axis=0), deviation, outputs.mean(axis=0), output_deviation)

    def _examples(self, scaling: Scaling, x: Array, u: Array, x_next: Array) -> Examples:
        inputs = (np.hstack([x[:, visible_entries(self._task)], u]) - scaling.input_mean) / scaling.input_scale
        outputs = (learned_outputs(self._task, x, x_next, u) - scaling.output_mean) / scaling.output_scale
        return Examples(torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(outputs.astype(np.float32)))

    def _ensemble(self, scaling: Scaling) -> Ensemble:
        """The members as they are now, as what is exported."""
        settings, count = self._settings, self._count
        parameters: dict[str, Tensor] = {}
        for layer in range(settings.hidden_layers):
            parameters[f"weight_{layer}"] = self.networks.weights[layer].clone()
            parameters[f"bias_{layer}"] = self.networks.biases[layer].clone()
        weight, bias = self.networks.weights[-1], self.networks.biases[-1]
        for head, columns in (("mean", slice(count)), ("spread", slice(count, None))):
            parameters[f"{head}_weight"] = weight[..., columns].clone()
            parameters[f"{head}_bias"] = bias[..., columns].clone()
        for name, bound in zip(("lower", "upper"), LOG_VARIANCE_BOUNDS, strict=True):
            parameters[name] = torch.full((settings.num_members, 1, count), bound)
        network = NetworkSettings(
            num_members=settings.num_members,
            num_elites=settings.num_elites,
            hidden_layers=settings.hidden_layers,
            hidden_units=settings.hidden_units,
            activation=settings.activation,
        )
        return Ensemble(self._task, network, scaling, parameters)

    def state(self) -> dict[str, Tensor]:
        """All that decides the next refit: for a checkpoint."""
        found = {"parameters": self.networks.parameters.clone(), "fitted": torch.tensor(self._fitted)}
        return found | {f"adam.{name}": tensor for name, tensor in self._adam.state().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a :meth:`state`."""
        self.networks.parameters.copy_(state["parameters"])
        self._fitted = bool(state["fitted"])
        self._adam.restore({k.removeprefix("adam."): v for k, v in state.items() if k.startswith("adam.")})


def calibration_error(distances: npt.NDArray[np.floating]) -> float:
    """How far the predicted intervals are off.

    Args:
        distances: |error| / predicted deviation, any shape.

    Returns:
        Mean over central intervals of 10 to 90 % of |share of errors inside − probability|: 0 for a Gaussian of just
        that deviation, at most 0.5.
    """
    ends = np.array([math.sqrt(2.0) * _inverse_error_function(level) for level in _LEVELS])
    shares = np.searchsorted(np.sort(distances, axis=None), ends) / distances.size
    return float(np.abs(shares - _LEVELS).mean())


def _inverse_error_function(value: float) -> float:
    return float(torch.erfinv(torch.tensor(value, dtype=torch.float64)))


def _held_out(count: int, share: float) -> npt.NDArray[np.bool_]:
    """Which rows are held out: evenly, with at least one of each kind."""
    places = np.floor(np.arange(1, count + 1) * share) > np.floor(np.arange(count) * share)
    if not places.any():
        places[-1:] = True
    return np.asarray(places)


def _chosen(samples: npt.NDArray[np.int64], batch_size: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """A batch of each member's bootstrap. Shape=(num_members, batch_size)."""
    columns = generator.integers(samples.shape[1], size=(len(samples), batch_size))
    return np.take_along_axis(samples, columns, axis=1)
