"""Networks side by side, with gradients by hand.

PyTorch's automatic differentiation records a graph, allocates every intermediate result and computes gradients that
nobody asked for (those of the critics' weights in the actor's step, say). For the small networks of reinforcement
learning on a processor that takes as long as the products themselves. Here the chain rule is written out, once for all:
results and gradients lie in memory that is allocated once, and all parameters of a stack are one vector, so that Adam
and moving averages are one call. Every call of PyTorch costs a microsecond or more beside its arithmetic, and every
pass over memory about as much: biases are added within the products, activations are computed in place where the
gradient allows it. The compiled kernel, where there is one, makes all products of a pass in one call, with biases,
activations and their slopes (``native_passes.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from demo_control.configuration import ConfigurationError
from demo_control.learning.native_passes import Layers, NativePass, Room, maker_of_passes

_MEAN_DECAY, _SQUARE_DECAY, _EPSILON = 0.9, 0.999, 1e-8
"""Of Adam, as in the paper."""

ACTIVATIONS = ("relu", "silu", "tanh")


@dataclass
class Pass:
    """Intermediate results of a forward pass, and room for the gradients of a backward pass.

    Attributes:
        batch_size: Rows of each network.
        sums: x W + b of each layer; the last one is the networks' output. With ReLU the others hold activations.
        outputs: Activations of the hidden layers.
        gradients: Of the loss, by the outputs of each layer.
        x: The input of the pass.
        native: Makes the products, where the compiled kernel does.
    """

    batch_size: int
    sums: list[Tensor]
    outputs: list[Tensor]
    gradients: list[Tensor]
    x: Tensor
    native: NativePass | None = None

    def rows(self, first: int) -> Pass:
        """The part of the batch from a row on, in the same memory."""
        sums, outputs, gradients = (
            [tensor[:, first:] for tensor in tensors] for tensors in (self.sums, self.outputs, self.gradients)
        )
        native = None if self.native is None else self.native.within(Room(sums, outputs, gradients))
        return Pass(self.batch_size - first, sums, outputs, gradients, self.x[:, first:], native)


class StackedNetworks:
    """``num_networks`` networks of one shape, computed together.

    Args:
        num_networks: K.
        sizes: Of the input, of each hidden layer, of the output.
        activation: Of the hidden layers; one of :data:`ACTIVATIONS`.
        generator: Draws the initial weights; None leaves them at zero (for :meth:`copy_from`).

    Attributes:
        parameters: All weights and biases. Shape=(num_parameters,).
        gradient: Of the same shape; :meth:`backward` writes it.
        weights: Views of ``parameters`` by layer. Shape=(num_networks, inputs, outputs).
        biases: Shape=(num_networks, 1, outputs).
    """

    def __init__(
        self, num_networks: int, sizes: Sequence[int], activation: str, generator: torch.Generator | None = None
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ConfigurationError(f"activation = '{activation}': must be one of {', '.join(ACTIVATIONS)}")
        self.num_networks, self.sizes, self.activation = num_networks, tuple(sizes), activation
        count = sum(num_networks * (inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
        self.parameters, self.gradient = torch.zeros(count), torch.zeros(count)
        self.weights, self.biases = self._views(self.parameters)
        self._weight_gradients, self._bias_gradients = self._views(self.gradient)
        self._transposed = [weight.transpose(1, 2) for weight in self.weights]
        self._passes: dict[str, Pass] = {}
        if generator is not None:
            for weight, bias, inputs in zip(self.weights, self.biases, sizes[:-1], strict=True):
                # PyTorch's default for linear layers, which the published learning curves were made with.
                bound = inputs**-0.5
                weight.uniform_(-bound, bound, generator=generator)
                bias.uniform_(-bound, bound, generator=generator)

    def _views(self, vector: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Each layer's weights and biases in a vector of all parameters."""
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        first = 0
        for inputs, outputs in pairwise(self.sizes):
            for views, rows in ((weights, inputs), (biases, 1)):
                stop = first + self.num_networks * rows * outputs
                views.append(vector[first:stop].view(self.num_networks, rows, outputs))
                first = stop
        return weights, biases

    def copy_from(self, other: StackedNetworks) -> None:
        """Take over another stack's parameters."""
        self.parameters.copy_(other.parameters)

    def copy_members(self, to: Tensor, chosen: npt.NDArray[np.bool_]) -> None:
        """Copy the parameters of some networks into another vector of all parameters."""
        index = torch.from_numpy(chosen)
        for own, other in zip(self._views(self.parameters), self._views(to), strict=True):
            for source, target in zip(own, other, strict=True):
                target[index] = source[index]

    def forward(self, x: Tensor, use: str = "") -> Pass:
        """The networks' outputs, ``sums[-1]`` of the result.

        Args:
            x: Shape=(num_networks or 1, batch_size, inputs).
            use: A pass whose results are still needed is overwritten only by one of the same ``use``.
        """
        run = self._pass(x.shape[1], use)
        run.x = x.expand(self.num_networks, -1, -1)
        if run.native is not None:
            run.native.forward(run.x)
            return run
        hidden = run.x
        for layer, weight in enumerate(self.weights):
            _affine(self.biases[layer], hidden, weight, run.sums[layer])
            if layer < len(run.outputs):
                self._activate(run.sums[layer], run.outputs[layer])
                hidden = run.outputs[layer]
        return run

    def backward(self, run: Pass, gradient: Tensor) -> None:
        """Write the gradient of a loss by all parameters into :attr:`gradient`.

        Args:
            run: The forward pass.
            gradient: Of the loss by the outputs. Shape=(num_networks, batch_size, outputs).
        """
        if run.native is not None:
            run.native.backward(run.x, gradient)
            return
        for layer in reversed(range(len(self.weights))):
            hidden = run.outputs[layer - 1] if layer else run.x
            _multiply(hidden, gradient, self._weight_gradients[layer])
            torch.sum(gradient, 1, keepdim=True, out=self._bias_gradients[layer])
            if layer:
                gradient = self._through_layer(run, layer, gradient)

    def input_gradient(self, run: Pass, gradient: Tensor, inputs: slice) -> Tensor:
        """Gradient of a loss by some of the inputs; that by the parameters is not computed.

        Args:
            run: The forward pass.
            gradient: Of the loss by the outputs. Shape=(num_networks, batch_size, outputs).
            inputs: Which inputs.

        Returns:
            Shape=(num_networks, batch_size, number of these inputs).
        """
        if run.native is not None:
            return run.native.input_gradient(gradient, inputs)
        for layer in reversed(range(1, len(self.weights))):
            gradient = self._through_layer(run, layer, gradient)
        return torch.bmm(gradient, self._transposed[0][..., inputs])

    def _through_layer(self, run: Pass, layer: int, gradient: Tensor) -> Tensor:
        """From the gradient by a layer's outputs to that by the sums of the layer before."""
        before = run.gradients[layer - 1]
        if gradient.shape[2] == 1:
            torch.mul(gradient, self._transposed[layer], out=before)
        else:
            torch.bmm(gradient, self._transposed[layer], out=before)
        sums, outputs = run.sums[layer - 1], run.outputs[layer - 1]
        if self.activation == "relu":
            torch.ops.aten.threshold_backward.grad_input(before, outputs, 0.0, grad_input=before)
        elif self.activation == "silu":
            torch.ops.aten.silu_backward.grad_input(before, sums, grad_input=before)
        else:
            torch.ops.aten.tanh_backward.grad_input(before, outputs, grad_input=before)
        return before

    def _activate(self, sums: Tensor, out: Tensor) -> None:
        if self.activation == "relu":
            torch.relu_(sums)  # the same memory as out
        elif self.activation == "silu":
            torch.ops.aten.silu.out(sums, out=out)
        else:
            torch.tanh(sums, out=out)

    def _pass(self, batch_size: int, use: str) -> Pass:
        """Memory for a pass; kept while batches have the same size, and replaced by that for another."""
        if use not in self._passes or self._passes[use].batch_size != batch_size:
            made = [torch.empty((self.num_networks, batch_size, size)) for size in self.sizes[1:]]
            # ReLU's gradient needs no more than its output: it overwrites the sums.
            outputs = made[:-1] if self.activation == "relu" else [torch.empty_like(tensor) for tensor in made[:-1]]
            gradients = [torch.empty_like(tensor) for tensor in made[:-1]]
            native, maker = None, maker_of_passes()
            if maker is not None:
                weight_gradients, bias_gradients = self._weight_gradients, self._bias_gradients
                layers = Layers(self.weights, self.biases, weight_gradients, bias_gradients, self.activation)
                native = NativePass(maker, layers, Room(made, outputs, gradients))
            self._passes[use] = Pass(batch_size, made, outputs, gradients, torch.empty(0), native)
        return self._passes[use]


def _affine(bias: Tensor, left: Tensor, right: Tensor, out: Tensor) -> None:
    """``left @ right + bias``; a single column is taken as a row, which is the same memory and faster."""
    if right.shape[2] > 1:
        torch.baddbmm(bias, left, right, out=out)
    else:
        as_row = out.view(len(out), 1, -1)
        torch.baddbmm(bias, right.view(len(right), 1, -1), left.transpose(1, 2), out=as_row)


def _multiply(left: Tensor, right: Tensor, out: Tensor) -> None:
    """``leftᵀ @ right``, a single column as in :func:`_affine`."""
    if right.shape[2] > 1:
        torch.bmm(left.transpose(1, 2), right, out=out)
    else:
        torch.bmm(right.reshape(len(right), 1, -1), left, out=out.view(len(out), 1, -1))


class Adam:
    """Adam (Kingma & Ba 2015) on the parameters of a stack, one vector, in one pass over memory.

    PyTorch's own optimiser, called for three small networks at each update, takes a tenth of the update for its
    bookkeeping; the function behind it does not.

    Args:
        networks: What is optimised; its ``gradient`` is used.
        learning_rate: Step size.
        weight_decay: Decoupled (Loshchilov & Hutter 2019); 0 for none.
    """

    def __init__(self, networks: StackedNetworks, learning_rate: float, weight_decay: float = 0.0) -> None:
        self._networks, self._learning_rate, self._weight_decay = networks, learning_rate, weight_decay
        self._mean, self._square = torch.zeros_like(networks.parameters), torch.zeros_like(networks.parameters)
        self._steps = torch.zeros(())

    def step(self) -> None:
        """Take one step along the networks' gradient."""
        self._steps.add_(1.0)
        # The public function around it takes 20 µs longer, one part in ten of the update of small networks.
        torch._fused_adamw_(
            [self._networks.parameters], [self._networks.gradient], [self._mean], [self._square], [], [self._steps],
            lr=self._learning_rate, beta1=_MEAN_DECAY, beta2=_SQUARE_DECAY, weight_decay=self._weight_decay,
            eps=_EPSILON, amsgrad=False, maximize=False,
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """Moments and number of steps, as they are now."""
        return {"mean": self._mean.clone(), "square": self._square.clone(), "steps": torch.tensor(int(self._steps))}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a :meth:`state`."""
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._steps.fill_(int(state["steps"]))
