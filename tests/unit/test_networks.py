"""Networks side by side: their gradients by hand are those of automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from demo_control.configuration import ConfigurationError  # noqa: E402 - needs torch
from demo_control.learning.networks import ACTIVATIONS, Adam, StackedNetworks  # noqa: E402

pytestmark = pytest.mark.train

FUNCTIONS = {"relu": torch.relu, "silu": torch.nn.functional.silu, "tanh": torch.tanh}


def make_networks(num_networks: int, activation: str, outputs: int = 3) -> StackedNetworks:
    return StackedNetworks(num_networks, [4, 6, 5, outputs], activation, torch.Generator().manual_seed(1))


def reference(networks: StackedNetworks, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What the networks say, by automatic differentiation, and the parameters in the order of their vector."""
    parameters = []
    for layer, (weight, bias) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        parameters += [weight.clone().requires_grad_(), bias.clone().requires_grad_()]
        x = x @ parameters[-2] + parameters[-1]
        if layer < len(networks.weights) - 1:
            x = FUNCTIONS[networks.activation](x)
    return x, parameters


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("num_networks", [1, 2, 7])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_those_of_automatic_differentiation(activation: str, num_networks: int, outputs: int) -> None:
    networks = make_networks(num_networks, activation, outputs)
    x = torch.randn((num_networks, 8, 4), generator=torch.Generator().manual_seed(2), requires_grad=True)
    direction = torch.randn((num_networks, 8, outputs), generator=torch.Generator().manual_seed(3))
    wanted, parameters = reference(networks, x)
    gradients = torch.autograd.grad((wanted * direction).sum(), [*parameters, x])

    with torch.no_grad():
        run = networks.forward(x.detach())
        networks.backward(run, direction)
        by_input = networks.input_gradient(run, direction, slice(1, 3))
    torch.testing.assert_close(run.sums[-1], wanted.detach())
    torch.testing.assert_close(networks.gradient, torch.cat([g.flatten() for g in gradients[:-1]]))
    torch.testing.assert_close(by_input, gradients[-1][..., 1:3])


def test_one_input_serves_all_networks() -> None:
    networks = make_networks(3, "relu")
    x = torch.randn((1, 8, 4), generator=torch.Generator().manual_seed(2))
    shared = networks.forward(x).sums[-1].clone()
    torch.testing.assert_close(shared, networks.forward(x.repeat(3, 1, 1)).sums[-1])


def test_a_pass_lasts_until_the_next_of_the_same_use() -> None:
    networks = make_networks(1, "relu")
    first = networks.forward(torch.ones((1, 8, 4)), "first").sums[-1]
    kept = first.clone()
    networks.forward(torch.zeros((1, 8, 4)), "second")
    assert torch.equal(first, kept)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_is_pytorchs(weight_decay: float) -> None:
    networks = make_networks(2, "relu")
    parameter = torch.nn.Parameter(networks.parameters.clone())
    ours = Adam(networks, 1e-2, weight_decay)
    theirs = torch.optim.AdamW([parameter], lr=1e-2, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(4)
    for _ in range(20):
        networks.gradient.normal_(generator=generator)
        parameter.grad = networks.gradient.clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(networks.parameters, parameter.detach(), rtol=1e-5, atol=1e-6)


def test_adam_goes_on_from_its_state() -> None:
    one, other = make_networks(1, "relu"), make_networks(1, "relu")
    first, second = Adam(one, 1e-2), Adam(other, 1e-2)
    one.gradient.fill_(0.5)
    first.step()
    other.copy_from(one)
    second.restore(first.state())
    for networks, adam in ((one, first), (other, second)):
        networks.gradient.fill_(-0.25)
        adam.step()
    assert torch.equal(one.parameters, other.parameters)


def test_copies_some_members_only() -> None:
    networks = make_networks(3, "relu")
    to = torch.zeros_like(networks.parameters)
    networks.copy_members(to, np.array([False, True, False]))
    copy = make_networks(3, "relu")
    copy.parameters.copy_(to)
    for copied, weight in zip(copy.weights, networks.weights, strict=True):
        assert torch.equal(copied[1], weight[1])
        assert not copied[[0, 2]].any()


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="activation = 'gelu': must be one of relu, silu, tanh"):
        StackedNetworks(1, [1, 1], "gelu")
