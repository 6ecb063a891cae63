"""Soft actor-critic in plain PyTorch, the way CleanRL writes it: modules, automatic differentiation, three optimisers.

Its updates are in the order of ours (critics, temperature, policy), so that one of them gives the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from demo_control.learning.networks import StackedNetworks
from demo_control.learning.sac import RowLayout, SacSettings, SoftActorCritic
from demo_control.learning.sac.replay import Float32s


class AutogradActorCritic:
    """The same learner as another one, from the same weights.

    Args:
        other: Gives settings and weights.
    """

    def __init__(self, other: SoftActorCritic) -> None:
        self.layout: RowLayout = other.layout
        self.settings: SacSettings = other.settings
        self.policy = _network(other.policy, 0)
        self.critics = nn.ModuleList(_network(other.critics, i) for i in range(2))
        self.targets = nn.ModuleList(_network(other.targets, i) for i in range(2))
        self.log_temperature = torch.tensor(math.log(other.temperature), requires_grad=True)
        self._optimisers = [
            torch.optim.Adam(parameters, lr=self.settings.learning_rate)
            for parameters in (self.critics.parameters(), [self.log_temperature], self.policy.parameters())
        ]

    def update(self, batch: Float32s, noise: Float32s) -> None:
        """One gradient step; arguments as in :meth:`SoftActorCritic.update`."""
        rows, draws, layout, settings = torch.from_numpy(batch), torch.from_numpy(noise), self.layout, self.settings
        x, x_next = rows[:, layout.observation], rows[:, layout.next_observation]
        critics_step, temperature_step, policy_step = self._optimisers
        with torch.no_grad():
            actions, log_probability = self._sample(x_next, draws[0])
            following = torch.min(*_values(self.targets, x_next, actions))
            soft = following - self.log_temperature.exp() * log_probability
            wanted = rows[:, layout.reward] + settings.discount * (1 - rows[:, layout.terminated]) * soft
        values = _values(self.critics, x, rows[:, layout.action])
        _descend(critics_step, sum(0.5 * nn.functional.mse_loss(value, wanted) for value in values))
        actions, log_probability = self._sample(x, draws[1])
        target_entropy = settings.target_entropy_per_action * layout.action_dim
        excess = (log_probability + target_entropy).mean().detach()
        _descend(temperature_step, -self.log_temperature * excess)
        temperature = self.log_temperature.detach().exp()
        value = torch.min(*_values(self.critics, x, actions))
        _descend(policy_step, (temperature * log_probability - value).mean())
        with torch.no_grad():
            for target, parameter in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                target.lerp_(parameter, settings.target_step)

    def parameters(self) -> dict[str, Tensor]:
        """All weights in the order of ours, by network."""
        return {
            "policy": _flat([self.policy]),
            "critics": _flat(list(self.critics)),
            "targets": _flat(list(self.targets)),
            "temperature": self.log_temperature.detach().reshape(1),
        }

    def _sample(self, observations: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_deviation = self.policy(observations).chunk(2, dim=-1)
        normal = torch.distributions.Normal(mean, log_deviation.clamp(-20, 2).exp())
        number = mean + normal.scale * noise
        # The form of log(1 − tanh²) that does not need CleanRL's 1e-6 against log 0.
        log_slope = 2 * (math.log(2) - number - nn.functional.softplus(-2 * number))
        return torch.tanh(number), (normal.log_prob(number) - log_slope).sum(dim=-1)


def parameters_of(ours: SoftActorCritic) -> dict[str, Tensor]:
    """Our weights, as :meth:`AutogradActorCritic.parameters` has them."""
    networks = {"policy": ours.policy, "critics": ours.critics, "targets": ours.targets}
    found = {name: network.parameters.clone() for name, network in networks.items()}
    return {**found, "temperature": ours.state()["log_temperature.parameters"]}


def _network(stack: StackedNetworks, member: int) -> nn.Sequential:
    """One of the stack's networks as a module of its own."""
    modules: list[nn.Module] = []
    for (inputs, outputs), weight, bias in zip(pairwise(stack.sizes), stack.weights, stack.biases, strict=True):
        linear = nn.Linear(inputs, outputs)
        with torch.no_grad():
            linear.weight.copy_(weight[member].T)
            linear.bias.copy_(bias[member, 0])
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def _flat(networks: Sequence[nn.Module]) -> Tensor:
    """Layer by layer, first the weights of all networks, then their biases; inputs before outputs."""
    parts = []
    for layers in zip(
        *([m for m in network.modules() if isinstance(m, nn.Linear)] for network in networks), strict=True
    ):
        parts += [layer.weight.detach().T.reshape(-1) for layer in layers]
        parts += [layer.bias.detach() for layer in layers]
    return torch.cat(parts).clone()


def _values(critics: nn.ModuleList, observations: Tensor, actions: Tensor) -> list[Tensor]:
    inputs = torch.cat([observations, actions], dim=-1)
    return [critic(inputs)[:, 0] for critic in critics]


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def random_rows(layout: RowLayout, count: int, seed: int) -> Float32s:
    """Transitions of no environment, of the size of standardised ones."""
    generator = np.random.default_rng(seed)
    n, m = layout.observation_dim, layout.action_dim
    return layout.rows(
        generator.standard_normal((count, n)),
        generator.uniform(-1, 1, (count, m)),
        generator.standard_normal((count, n)),
        generator.standard_normal(count),
        generator.random(count) < 0.01,
    )
