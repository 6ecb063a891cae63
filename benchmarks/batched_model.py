"""A case's network and cost on whole arrays, for NumPy and PyTorch alike: what one would write without our engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rollout_cases import Case, Perceptron

from demo_control.rollout.engine import Floats

Evaluated = tuple[Floats, Floats]
"""Samples, Shape=(horizon, members, rows, action_dim), and what they cost, Shape=(members, rows)."""


@dataclass(frozen=True)
class Contender:
    """One way of evaluating a case's samples.

    Attributes:
        name: For tables.
        run: What is timed.
        evaluate: The same once, with what was evaluated.
    """

    name: str
    run: Callable[[], object]
    evaluate: Callable[[], Evaluated]


class BatchedModel:
    """A case's network and cost on whole arrays of a library that calls its functions as NumPy does.

    Args:
        case: With random networks.
        library: numpy or torch.
        convert: Makes the library's float32 arrays.
        linear: Multiplies with weights and adds a bias; gets (values, weights, bias).
        activations: By name.
    """

    def __init__(
        self,
        case: Case,
        library: Any,  # noqa: ANN401 - a module
        convert: Callable[[Any], Any],
        linear: Callable[[Any, Any, Any], Any],
        activations: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        if case.dynamics is None:
            raise ValueError("the peers know random networks only")
        self._library = library
        self._linear = linear
        self._activations = activations
        self._flat = len(case.dynamics.layers[0][0]) == 1
        self._dynamics = self._converted(case.dynamics, convert)
        self._value = None if case.value is None else self._converted(case.value, convert)
        self._weights = [float(weight) for weight in case.task.cost_weights]
        self._limits = convert(case.task.action_minimum), convert(case.task.action_maximum)
        self.start = convert(case.start)
        self._starts = convert(case.arguments[0][0] if self._flat else case.arguments[0])
        self.samples = convert(case.samples[:, 0] if self._flat else case.samples)
        self._resting = convert(np.zeros(case.task.action_dim))

    def _converted(self, network: Perceptron, convert: Callable[[Any], Any]) -> tuple[list[tuple[Any, Any]], str]:
        """A network's layers in the library's arrays, without the axis of members if there is but one."""
        layers = [
            (convert(weights[0]), convert(bias[0, 0])) if self._flat else (convert(weights), convert(bias))
            for weights, bias in network.layers
        ]
        return layers, network.activation

    def _applied(self, network: tuple[list[tuple[Any, Any]], str], values: Any) -> Any:  # noqa: ANN401 - arrays
        (*hidden, last), activation = network
        for weights, bias in hidden:
            values = self._activations[activation](self._linear(values, weights, bias))
        return self._linear(values, *last)

    def step(self, states: Any, controls: Any) -> Any:  # noqa: ANN401 - arrays of either library
        """The next states."""
        return states + self._applied(self._dynamics, self._library.concatenate((states, controls), -1))

    def stage_cost(self, states: Any, controls: Any) -> Any:  # noqa: ANN401 - arrays of either library
        """Costs of states and controls."""
        library, (state, effort, near, upright) = self._library, self._weights
        first, second = states[..., 0], states[..., 1]
        cost = state * library.square(states).sum(-1) + effort * library.square(controls).sum(-1)
        return cost + near * (1.0 - library.exp(-0.5 * first * first)) + upright * (1.0 - library.cos(second))

    def terminal_cost(self, states: Any) -> Any:  # noqa: ANN401 - arrays of either library
        """Minus the value of states; 0 where there is none."""
        return 0.0 if self._value is None else -self._applied(self._value, states)[..., 0]

    def start_cost(self) -> float:
        """What the first state costs: those who count a step's cost at its end leave it out."""
        return float(self.stage_cost(self.start, self._resting))

    def roll_out(self) -> Any:  # noqa: ANN401 - arrays of either library
        """Costs of the case's samples."""
        states, costs = self._starts, 0.0
        for controls in self.samples:
            bounded = self._library.clip(controls, *self._limits)
            costs = costs + self.stage_cost(states, bounded)
            states = self.step(states, bounded)
        return costs + self.stage_cost(states, self._resting) + self.terminal_cost(states)


def numpy_contender(case: Case) -> Contender:
    """A loop over the steps in float32."""

    def silu(values: Floats) -> Floats:
        result: Floats = values / (1.0 + np.exp(-values))
        return result

    activations: dict[str, Callable[[Any], Any]] = {
        "relu": lambda values: np.maximum(values, 0.0, out=values),
        "tanh": lambda values: np.tanh(values, out=values),
        "silu": silu,
    }

    def linear(values: Floats, weights: Floats, bias: Floats) -> Floats:
        product: Floats = values @ weights
        product += bias
        return product

    model = BatchedModel(case, np, partial(np.asarray, dtype=np.float32), linear, activations)
    return Contender("numpy", model.roll_out, lambda: of_samples(case, model.roll_out()))


def of_samples(case: Case, costs: Floats) -> Evaluated:
    """The case's own samples with their costs."""
    return case.samples, np.asarray(costs).reshape(case.samples.shape[1:3])
