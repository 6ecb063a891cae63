"""Gradients by hand against automatic differentiation, and Adam against PyTorch's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from demo_control.learning import networks as networks_module  # noqa: E402
from demo_control.learning.native_passes import maker_of_passes  # noqa: E402
from demo_control.learning.networks import ACTIVATIONS, Adam, StackedNetworks  # noqa: E402
from demo_control.learning.precision import matrix_products  # noqa: E402

SIZES = (4, 9, 8, 3)
WIDE = (4, 160, 136, 3)
"""Wide enough, with as many rows, for the matrix unit where there is one."""


@pytest.fixture(params=["kernel", "pytorch"])
def maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who makes the products of passes."""
    if request.param == "pytorch":
        monkeypatch.setattr(networks_module, "maker_of_passes", lambda: None)
    elif maker_of_passes() is None:
        pytest.skip("no compiled kernel here")
    return str(request.param)


def stack(num_networks: int, activation: str = "relu", seed: int = 0, sizes: tuple[int, ...] = SIZES) -> object:
    return StackedNetworks(num_networks, sizes, activation, torch.Generator().manual_seed(seed))


def by_autograd(networks: object, x: object, parameters: object) -> object:
    """The outputs, from the flat vector, written down once more."""
    first, hidden = 0, x.expand(networks.num_networks, -1, -1)
    for layer, (inputs, outputs) in enumerate(pairwise(networks.sizes)):
        count = networks.num_networks * inputs * outputs
        weight = parameters[first : first + count].view(networks.num_networks, inputs, outputs)
        first += count
        bias = parameters[first : first + networks.num_networks * outputs].view(networks.num_networks, 1, outputs)
        first += networks.num_networks * outputs
        hidden = hidden @ weight + bias
        if layer < len(networks.sizes) - 2:
            hidden = getattr(torch.nn.functional, networks.activation)(hidden)
    assert first == len(parameters)
    return hidden


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("num_networks", [1, 2, 7])
@pytest.mark.parametrize("shared_input", [True, False])
@pytest.mark.parametrize(("sizes", "batch_size"), [((4, 9, 8, 1), 6), (SIZES, 6), (WIDE, 150), ((4, 2), 5)])
def test_passes_are_those_of_automatic_differentiation(
    maker: str, activation: str, num_networks: int, shared_input: bool, sizes: tuple[int, ...], batch_size: int
) -> None:
    networks = stack(num_networks, activation, sizes=sizes)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((1 if shared_input else num_networks, batch_size, sizes[0]), generator=generator)
    direction = torch.randn((num_networks, batch_size, sizes[-1]), generator=generator)
    parameters = networks.parameters.clone().requires_grad_()
    seen = x.expand(num_networks, -1, -1).clone().requires_grad_()
    expected = by_autograd(networks, seen, parameters)
    (expected * direction).sum().backward()

    run = networks.forward(x)
    assert (run.native is None) == (maker == "pytorch")
    torch.testing.assert_close(run.sums[-1], expected.detach())
    networks.backward(run, direction)
    torch.testing.assert_close(networks.gradient, parameters.grad)
    some = slice(1, 3)
    torch.testing.assert_close(networks.input_gradient(run, direction, some), seen.grad[..., some])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_is_pytorchs(weight_decay: float) -> None:
    networks = stack(2)
    parameters = networks.parameters.clone().requires_grad_()
    theirs = torch.optim.AdamW([parameters], lr=1e-2, weight_decay=weight_decay)
    ours = Adam(networks, 1e-2, weight_decay)
    for step in range(20):
        gradient = torch.randn(len(parameters), generator=torch.Generator().manual_seed(step)) * 10.0 ** (step % 5 - 3)
        parameters.grad = gradient
        networks.gradient.copy_(gradient)
        theirs.step()
        ours.step()
    torch.testing.assert_close(networks.parameters, parameters.detach(), rtol=1e-5, atol=1e-6)


def test_adam_goes_on_from_its_state() -> None:
    networks, other = stack(2), stack(2)
    adam, again = Adam(networks, 1e-2), Adam(other, 1e-2)
    for step in range(6):
        if step == 3:
            again.restore(adam.state())
            other.copy_from(networks)
        networks.gradient.fill_(0.1 * step)
        adam.step()
        if step >= 3:
            other.gradient.fill_(0.1 * step)
            again.step()
    assert torch.equal(networks.parameters, other.parameters)


def test_only_the_chosen_members_are_copied() -> None:
    networks = stack(5)
    to = torch.full_like(networks.parameters, 7.0)
    chosen = np.array([True, False, False, True, False])
    networks.copy_members(to, chosen)
    target = stack(5)
    target.parameters.copy_(to)
    views = zip([*networks.weights, *networks.biases], [*target.weights, *target.biases], strict=True)
    for own, copied in views:
        assert torch.equal(copied[chosen], own[chosen])
        assert (copied[~chosen] == 7.0).all()


def test_a_pass_serves_other_memory_and_a_part_of_its_batch(maker: str) -> None:
    """What is asked for later may lie elsewhere, and need not lie in one piece."""
    networks = stack(2, "silu")
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn((2, 3, 6, 8), generator=generator)[..., 2:6].unbind()
    direction = torch.randn((2, 3, 6), generator=generator).transpose(1, 2)
    networks.backward(networks.forward(first[:1]), direction)
    networks.input_gradient(networks.forward(first[:1]), direction, slice(0, 2))

    run = networks.forward(second[:2])
    values = run.sums[-1].clone()
    networks.backward(run, direction)
    gradient = networks.gradient.clone()
    by_input = networks.input_gradient(run, direction, slice(0, 2))
    again = stack(2, "silu")
    whole = again.forward(second[:2].contiguous())
    again.backward(whole, direction.contiguous())
    torch.testing.assert_close(values, whole.sums[-1])
    torch.testing.assert_close(gradient, again.gradient)
    torch.testing.assert_close(by_input, again.input_gradient(whole, direction.contiguous(), slice(0, 2)))

    part = run.rows(2)
    networks.backward(part, direction[:, 2:])
    few = again.forward(second[:2, 2:])
    again.backward(few, direction[:, 2:])
    torch.testing.assert_close(networks.gradient, again.gradient)


def test_rounded_products_are_nearly_the_exact_ones(maker: str) -> None:
    x = torch.randn((2, 150, 4), generator=torch.Generator().manual_seed(1))
    found = []
    for precision in ("float32", "bfloat16"):
        with matrix_products(precision):
            networks = stack(2, "silu", sizes=WIDE)
            run = networks.forward(x)
            networks.backward(run, torch.ones_like(run.sums[-1]))
        found.append((run.sums[-1], networks.gradient))
    for exact, rounded in zip(*found, strict=True):
        assert float((rounded - exact).norm() / exact.norm()) < 0.01


def test_other_numbers_than_single_precision_are_refused(maker: str) -> None:
    with pytest.raises((TypeError, RuntimeError)):
        stack(2).forward(torch.zeros((1, 6, 4), dtype=torch.float64))


def test_inputs_of_another_width_are_refused(maker: str) -> None:
    """In the first pass as in later ones, which find everything made ready."""
    networks = stack(2)
    for _ in range(2):
        with pytest.raises((ValueError, RuntimeError)):
            networks.forward(torch.zeros((1, 6, 5)))
        run = networks.forward(torch.zeros((1, 6, 4)))
        if maker == "kernel":
            with pytest.raises(ValueError, match=r"shape \(2, 6, 4\), expected \(2, 6, 3\)"):
                networks.backward(run, torch.zeros((2, 6, 4)))
        networks.backward(run, torch.zeros((2, 6, 3)))


def test_passes_of_different_use_do_not_overwrite_each_other(maker: str) -> None:
    networks = stack(2)
    x = torch.randn((1, 6, 4), generator=torch.Generator().manual_seed(1))
    kept = networks.forward(x, "kept")
    values = kept.sums[-1].clone()
    networks.forward(-x)
    networks.forward(2.0 * x, "other")
    assert torch.equal(kept.sums[-1], values)
    networks.backward(kept, torch.ones_like(values))
    gradient = networks.gradient.clone()
    fresh = networks.forward(x)
    networks.backward(fresh, torch.ones_like(values))
    assert torch.equal(networks.gradient, gradient)


def test_a_pass_of_another_size_leaves_no_memory_behind(maker: str) -> None:
    """Held-out sets grow from refit to refit: a pass of each size ever seen would fill the memory."""
    networks = stack(2)
    for size in range(1, 20):
        assert networks.forward(torch.zeros((1, size, 4)), "look").sums[-1].shape == (2, size, 3)
    assert len(networks._passes) == 1


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'gelu': must be one of relu, silu, tanh"):
        StackedNetworks(1, SIZES, "gelu")
