"""A probabilistic ensemble of dynamics models, computed as one batch.

Source: K. Chua, R. Calandra, R. McAllister, S. Levine, *Deep reinforcement learning in a handful of
trials using probabilistic dynamics models*, NeurIPS 2018 (PETS): every member is a network that
predicts mean and variance of the change of the observation, or of what the task's transition names, each fitted to
its own bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.learning.dataset import Windows
from demo_control.learning.storage import save_tensors
from demo_control.learning.transitions import next_tensors
from demo_control.tasks import Array, Quantity, Task
from demo_control.transitions import learned_entries, learned_outputs, num_outputs, sensitivities

_INITIAL_LOG_VARIANCE_BOUNDS = (-12.0, 1.0)
"""In units of the change's variance: from a noise-free simulator to a useless model."""

_INPUT_FLOOR = 0.05
"""Of a quantity's range: no input lies further than some 20 deviations from the data, where float32
would lose what folding the scaling into the weights costs."""

_OUTPUT_FLOOR = 1e-4
"""Of a quantity's range."""

_SMALLEST_DEVIATION = 1e-9
"""Of a learned quantity that is not the change of an entry, and so has no range."""

SMALLEST_NORM = 1e-6
"""A (cosine, sine) shorter than this has no direction; it is divided by this instead."""


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """Shape of the ensemble."""

    num_members: int = setting(5, "Networks that are trained.", minimum=1)
    num_elites: int = setting(4, "Members with the lowest hold-out loss that are exported.", minimum=1)
    hidden_layers: int = setting(2, "Hidden layers of a member.", minimum=1, maximum=8)
    hidden_units: int = setting(64, "Units of a hidden layer.", minimum=1, maximum=4096)
    activation: str = setting("silu", "Activation function.", choices=("tanh", "silu"))

    def __post_init__(self) -> None:
        """Validate, also across fields."""
        super().__post_init__()
        if self.num_elites > self.num_members:
            raise ConfigurationError(
                f"NetworkSettings.num_elites = {self.num_elites}: must be at most num_members = {self.num_members}"
            )


@dataclass(frozen=True)
class Scaling:
    """Units in which the networks see their inputs and outputs.

    Attributes:
        input_mean: Of the visible observation entries and the actions. Shape=(num_inputs,).
        input_scale: Shape=(num_inputs,).
        output_mean: Of what is learned, per default the change of the observation in one step.
            Shape=(num_outputs,).
        output_scale: Shape=(num_outputs,).
    """

    input_mean: Array
    input_scale: Array
    output_mean: Array
    output_scale: Array

    @classmethod
    def of(cls, windows: Windows, task: Task) -> Scaling:
        """Mean and deviation of the data.

        Deviations are floored at a share of the quantity's range: an entry that hardly moves in the
        data (a constraint force that is zero until a rail is hit) must not dominate once it does.
        """
        rows = np.unique(windows.starts[:, np.newaxis] + np.arange(windows.length))
        x, u = windows.observations[rows], windows.actions[rows]
        outputs = learned_outputs(task, x, windows.observations[rows + 1], u)
        inputs = np.hstack([x[:, visible_entries(task)], u])
        visible = [task.observation[i] for i in visible_entries(task)]
        return cls(
            inputs.mean(axis=0),
            np.maximum(inputs.std(axis=0), _INPUT_FLOOR * _ranges((*visible, *task.action))),
            outputs.mean(axis=0),
            np.maximum(outputs.std(axis=0), _output_floor(task)),
        )


def visible_entries(task: Task) -> list[int]:
    """Indices of the observation entries the model may look at."""
    return [i for i, quantity in enumerate(task.observation) if quantity.name in task.model_inputs]


def _ranges(quantities: Sequence[Quantity]) -> Array:
    return np.array([quantity.maximum - quantity.minimum for quantity in quantities])


def _output_floor(task: Task) -> Array:
    if task.transition is None:
        return _OUTPUT_FLOOR * _ranges(task.observation)
    return np.full(num_outputs(task), _SMALLEST_DEVIATION)


class Ensemble:
    """Members side by side: a weight has the shape (num_members, inputs, outputs).

    Attributes:
        parameters: Trained tensors by name: ``weight_i``, ``bias_i`` for the hidden layers,
            ``mean_weight`` and so on for the heads, ``lower``, ``upper`` for the log variance.
        scaling: Units of inputs and outputs.
        settings: Shape of the networks.
        task: Gives dimensions, visible entries and unit circles.
    """

    def __init__(
        self,
        task: Task,
        settings: NetworkSettings,
        scaling: Scaling,
        parameters: dict[str, Tensor],
    ) -> None:
        """Put an ensemble together from its parts; see :meth:`initial` and :meth:`load`."""
        self.task, self.settings, self.scaling, self.parameters = (
            task,
            settings,
            scaling,
            parameters,
        )
        self._visible = torch.tensor(visible_entries(task))
        self._input_mean = torch.tensor(scaling.input_mean, dtype=torch.float32)
        self._input_scale = torch.tensor(scaling.input_scale, dtype=torch.float32)
        self.output_mean = torch.tensor(scaling.output_mean, dtype=torch.float32)
        self.output_scale = torch.tensor(scaling.output_scale, dtype=torch.float32)
        projection, offset = circle_projection(task)
        self._circles = bool(task.unit_circles)
        self._projection = torch.tensor(projection, dtype=torch.float32)
        self._offset = torch.tensor(offset, dtype=torch.float32)
        # Errors of the next observation are judged in units of what the networks decide of it.
        self._learned = torch.tensor(learned_entries(task))
        scales = np.sqrt(scaling.output_scale**2 @ sensitivities(task) ** 2)
        self._error_scale = torch.tensor(scales, dtype=torch.float32)[self._learned]

    @classmethod
    def initial(cls, task: Task, settings: NetworkSettings, scaling: Scaling, generator: torch.Generator) -> Ensemble:
        """Random weights, different in every member."""
        k, width = settings.num_members, settings.hidden_units
        sizes, count = [len(scaling.input_mean)] + [width] * settings.hidden_layers, num_outputs(task)
        parameters: dict[str, Tensor] = {}
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            weight = torch.randn((k, inputs, outputs), generator=generator) / inputs**0.5
            parameters[f"weight_{i}"] = weight
            parameters[f"bias_{i}"] = torch.zeros((k, 1, outputs))
        for head in ("mean", "spread"):
            weight = torch.randn((k, width, count), generator=generator)
            parameters[f"{head}_weight"] = 0.1 * weight / width**0.5
            parameters[f"{head}_bias"] = torch.zeros((k, 1, count))
        lower, upper = _INITIAL_LOG_VARIANCE_BOUNDS
        parameters["lower"] = torch.full((k, 1, count), lower)
        parameters["upper"] = torch.full((k, 1, count), upper)
        return cls(task, settings, scaling, parameters)

    @property
    def num_members(self) -> int:
        """Members held (fewer than trained once only the elites are left)."""
        return int(self.parameters["mean_weight"].shape[0])

    def standardised(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of what is learned, in units of its mean and deviation.

        Args:
            observations: Shape=(num_members, batch, observation_dim).
            actions: Shape=(num_members, batch, action_dim).

        Returns:
            Two tensors of Shape=(num_members, batch, num_outputs).
        """
        p = self.parameters
        hidden = torch.cat([observations[..., self._visible], actions], dim=-1)
        hidden = (hidden - self._input_mean) / self._input_scale
        for i in range(self.settings.hidden_layers):
            hidden = torch.baddbmm(p[f"bias_{i}"], hidden, p[f"weight_{i}"])
            hidden = _activated(hidden, self.settings.activation)
        mean = torch.baddbmm(p["mean_bias"], hidden, p["mean_weight"])
        share = torch.sigmoid(torch.baddbmm(p["spread_bias"], hidden, p["spread_weight"]))
        return mean, p["lower"] + (p["upper"] - p["lower"]) * share

    def moved(self, observations: Tensor, actions: Tensor, standardised_outputs: Tensor) -> Tensor:
        """The next observations; pairs of cosine and sine are put back on the unit circle.

        Without that, rounding and model error leave the circle a little at every step of a rollout.
        """
        outputs = standardised_outputs * self.output_scale + self.output_mean
        if self.task.transition is not None:
            return next_tensors(self.task, observations, outputs, actions)
        following = observations + outputs
        if not self._circles:
            return following
        norm = torch.sqrt((following * following) @ self._projection + self._offset)
        return following / torch.clamp(norm, min=SMALLEST_NORM)

    def squared_errors(self, predicted: Tensor, observed: Tensor) -> Tensor:
        """Squared errors of the entries that depend on the networks, in units of the learned quantities' deviation.

        Shape=(..., number of such entries).
        """
        if self.task.transition is None:
            return ((predicted - observed) / self.output_scale) ** 2
        return ((predicted - observed)[..., self._learned] / self._error_scale) ** 2

    def predict(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Next observations and log variance of what is learned, physical units.

        Args:
            observations: Shape=(num_members, batch, observation_dim).
            actions: Shape=(num_members, batch, action_dim).

        Returns:
            Tensors of Shape=(num_members, batch, observation_dim) and Shape=(num_members, batch, num_outputs).
        """
        mean, log_variance = self.standardised(observations, actions)
        return self.moved(observations, actions, mean), log_variance + 2.0 * torch.log(self.output_scale)

    def members(self, chosen: Sequence[int]) -> Ensemble:
        """An ensemble of some of the members."""
        index = torch.tensor(list(chosen))
        parameters = {name: tensor[index].clone() for name, tensor in self.parameters.items()}
        return Ensemble(self.task, self.settings, self.scaling, parameters)

    def save(self, path: Path) -> None:
        """Write tensors and scaling, atomically; loading executes no code."""
        scaling = {f"scaling.{k}": torch.from_numpy(v.copy()) for k, v in asdict(self.scaling).items()}
        content = {k: v.detach() for k, v in self.parameters.items()} | scaling
        save_tensors(path, content)

    @classmethod
    def load(cls, path: Path, task: Task, settings: NetworkSettings) -> Ensemble:
        """Read what :meth:`save` wrote.

        Raises:
            OSError, RuntimeError, KeyError: The file is missing or is not such a file.
        """
        content: dict[str, Tensor] = torch.load(path, weights_only=True)
        names = ("input_mean", "input_scale", "output_mean", "output_scale")
        scaling = Scaling(*(content.pop(f"scaling.{name}").numpy() for name in names))
        return cls(task, settings, scaling, content)


def _activated(value: Tensor, activation: str) -> Tensor:
    if activation == "tanh":
        return torch.tanh(value)
    return value * torch.sigmoid(value)


def circle_projection(task: Task) -> tuple[Array, Array]:
    """P and o with norm² = x² P + o: the squared length for pairs on a unit circle, 1 for the rest.

    Returns:
        Shape=(observation_dim, observation_dim) and Shape=(observation_dim,).
    """
    names = [quantity.name for quantity in task.observation]
    projection, offset = np.zeros((len(names), len(names))), np.ones(len(names))
    for pair in task.unit_circles:
        indices = [names.index(name) for name in pair]
        projection[np.ix_(indices, indices)] = 1.0
        offset[indices] = 0.0
    return projection, offset
