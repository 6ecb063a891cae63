"""Passes through networks side by side by the compiled kernel: all layers of a pass in one call.

PyTorch takes its place where there is no kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from demo_control.learning.precision import are_exact
from demo_control.rollout.native.library import Kernel, installed_kernel
from demo_control.rollout.native.products import Matrices, Products, Term


class Maker(NamedTuple):
    """Who makes the products of passes.

    Attributes:
        kernel: The compiled one.
        rounded: Whether factors may be rounded to bfloat16 (``precision.py``).
    """

    kernel: Kernel
    rounded: bool


def maker_of_passes() -> Maker | None:
    """The kernel, if there is one."""
    kernel = installed_kernel()
    return None if kernel is None else Maker(kernel, not are_exact())


@dataclass(frozen=True)
class Layers:
    """Networks as a pass finds them.

    Attributes:
        weights: By layer. Shape=(num_networks, inputs, outputs).
        biases: Shape=(num_networks, 1, outputs).
        weight_gradients: Written by a backward pass; shapes as those of the weights.
        bias_gradients: The same, of the biases.
        activation: Of the hidden layers.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    weight_gradients: Sequence[Tensor]
    bias_gradients: Sequence[Tensor]
    activation: str


@dataclass(frozen=True)
class Room:
    """Memory of a pass.

    Attributes:
        sums: x W + b of each layer.
        outputs: Activations of the hidden layers.
        gradients: By the sums of the hidden layers.
    """

    sums: Sequence[Tensor]
    outputs: Sequence[Tensor]
    gradients: Sequence[Tensor]


class NativePass:
    """The products of a pass, ready to be made again and again.

    Args:
        maker: Makes them.
        layers: Of the networks.
        room: Results and gradients; both must live as long as this.
    """

    def __init__(self, maker: Maker, layers: Layers, room: Room) -> None:
        self._maker, self._layers, self._room = maker, layers, room
        self._forward: Products | None = None
        self._backward: Products | None = None
        self._by_inputs: dict[tuple[int | None, ...], tuple[Products, Tensor]] = {}
        # Sums over a batch are products with ones.
        self._ones = torch.ones((1, room.sums[-1].shape[1]))

    def within(self, room: Room) -> NativePass:
        """A pass of the same networks in other memory."""
        return NativePass(self._maker, self._layers, room)

    def forward(self, x: Tensor) -> None:
        """From the inputs to the last sums. Shape=(num_networks, batch_size, inputs)."""
        inputs = _matrices(x)
        if self._forward is None:
            self._forward = self._products(self._forward_terms(inputs))
        self._forward.set_left(0, inputs)
        self._forward.make()

    def backward(self, x: Tensor, gradient: Tensor) -> None:
        """From the gradient by the last sums to those by the parameters. Shape=(num_networks, batch_size, outputs)."""
        inputs, by_output = _matrices(x), _matrices(gradient)
        if self._backward is None:
            self._backward = self._products(self._backward_terms(inputs, by_output))
        for number in (0, 1):
            self._backward.set_right(number, by_output)
        if len(self._layers.weights) > 1:
            self._backward.set_left(2, by_output)
        self._backward.set_left(3 * (len(self._layers.weights) - 1), inputs.transposed)
        self._backward.make()

    def input_gradient(self, gradient: Tensor, inputs: slice) -> Tensor:
        """From the gradient by the last sums to that by some inputs. Shape=(num_networks, batch_size, such inputs).

        It is overwritten by the next one of the same inputs.
        """
        by_output, key = _matrices(gradient), (inputs.start, inputs.stop, inputs.step)
        if key not in self._by_inputs:
            rows = self._layers.weights[0][:, inputs]
            made = torch.empty((*gradient.shape[:2], rows.shape[1]))
            self._by_inputs[key] = (self._products(self._through_terms(by_output, rows, made)), made)
        products, made = self._by_inputs[key]
        products.set_left(0, by_output)
        products.make()
        return made

    def _products(self, terms: Sequence[Term]) -> Products:
        return Products(self._maker.kernel, terms, rounded=self._maker.rounded)

    def _forward_terms(self, inputs: Matrices) -> list[Term]:
        layers, room, terms, hidden = self._layers, self._room, list[Term](), inputs
        for layer, (weight, bias) in enumerate(zip(layers.weights, layers.biases, strict=True)):
            last = layer == len(room.outputs)
            out = _matrices(room.sums[-1] if last else room.outputs[layer])
            kept = _matrices(room.sums[layer]) if layers.activation == "silu" and not last else None
            finish = "none" if last else layers.activation
            terms.append(Term(hidden, _matrices(weight), out, finish, _matrices(bias), kept))
            hidden = out
        return terms

    def _backward_terms(self, inputs: Matrices, gradient: Matrices) -> list[Term]:
        layers, terms = self._layers, list[Term]()
        num_networks, batch_size, _ = gradient.shape
        ones = _matrices(self._ones.expand(num_networks, 1, batch_size))
        for layer in reversed(range(len(layers.weights))):
            hidden = _matrices(self._room.outputs[layer - 1]) if layer else inputs
            terms.append(Term(hidden.transposed, gradient, _matrices(layers.weight_gradients[layer])))
            terms.append(Term(ones, gradient, _matrices(layers.bias_gradients[layer])))
            if layer:
                terms.append(self._through_layer(layer, gradient))
                gradient = terms[-1].out
        return terms

    def _through_terms(self, gradient: Matrices, first_weights: Tensor, made: Tensor) -> list[Term]:
        terms = list[Term]()
        for layer in reversed(range(1, len(self._layers.weights))):
            terms.append(self._through_layer(layer, gradient))
            gradient = terms[-1].out
        return [*terms, Term(gradient, _matrices(first_weights).transposed, _matrices(made))]

    def _through_layer(self, layer: int, gradient: Matrices) -> Term:
        """From the gradient by a layer's outputs to that by the sums of the layer before."""
        activation, room = self._layers.activation, self._room
        applied = room.sums if activation == "silu" else room.outputs
        return Term(
            left=gradient,
            right=_matrices(self._layers.weights[layer]).transposed,
            out=_matrices(room.gradients[layer - 1]),
            finish=f"{activation}_slope",
            applied=_matrices(applied[layer - 1]),
        )


def _matrices(tensor: Tensor) -> Matrices:
    """A tensor as the kernel sees it.

    Raises:
        TypeError: Not of single precision.
    """
    if tensor.dtype is not torch.float32:
        raise TypeError(f"networks have single precision, not {tensor.dtype}")
    networks, rows, columns = tensor.shape
    network, row, column = tensor.stride()
    return Matrices(tensor.data_ptr(), (networks, rows, columns), (network, row, column))
