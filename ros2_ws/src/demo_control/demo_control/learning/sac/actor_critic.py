"""Soft actor-critic (Haarnoja et al. 2018, with the learned temperature of their second paper).

Sources: T. Haarnoja, A. Zhou, P. Abbeel, S. Levine, *Soft actor-critic*, ICML 2018; T. Haarnoja et al., *Soft
actor-critic algorithms and applications*, arXiv:1812.05905. Gradients are by hand (:mod:`..networks`); a test compares
them with automatic differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from demo_control.learning.networks import Adam, StackedNetworks
from demo_control.learning.sac.replay import Float32s, RowLayout
from demo_control.learning.sac.settings import SacSettings

Floats = npt.NDArray[np.floating]

_LOG_DEVIATION_BOUNDS = (-20.0, 2.0)
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_LOG_TWO = math.log(2.0)


@dataclass(frozen=True)
class UpdateFigures:
    """What a gradient step saw.

    Attributes:
        critic_loss: Mean squared error of both critics.
        value: Mean of the smaller critic at the policy's own actions.
        entropy: −E[log π].
        temperature: Weight of the entropy.
    """

    critic_loss: float
    value: float
    entropy: float
    temperature: float


@dataclass(frozen=True)
class _Sampled:
    """Actions drawn from the policy: u = tanh(mean + deviation · noise)."""

    actions: Tensor
    log_probability: Tensor
    spread: Tensor  # deviation · noise
    within: Tensor  # 1 where the log deviation is not at its bounds


class _Drawn:
    """Memory for actions drawn at the next observations of a batch, and behind them at the present ones.

    Args:
        layout: Of the transitions.
        size: Of a batch.
        policy: Draws; has a pass of its own for this.
        use: Name of that pass.

    Attributes:
        following: (x', u'). Shape=(1, size, observation_dim + action_dim)
        present: (x, u), u being the policy's. Shape as that of ``following``.
        sampled: Of both. Shape=(1, 2 size, ·).
        present_run: The policy's pass at the present observations.
        by_output: For the gradient by the output of that. Shape=(1, size, 2 action_dim).
    """

    def __init__(self, layout: RowLayout, size: int, policy: StackedNetworks, use: str) -> None:
        joined = torch.zeros((2, size, layout.observation_dim + layout.action_dim))
        together = joined.view(1, 2 * size, -1)
        self.size, self.following, self.present = size, joined[:1], joined[1:]
        self._policy, self._use = policy, use
        self._next_observations, self._observations = joined[..., layout.observation]
        self._inputs, self._actions = together[..., layout.observation], together[..., layout.action]
        self.present_run = policy.forward(self._inputs, use).rows(size)
        self.by_output = torch.empty((1, size, 2 * layout.action_dim))
        self.by_mean, self.by_log_deviation = self.by_output.chunk(2, dim=-1)
        self.sampled: _Sampled

    def draw(self, rows: Tensor, layout: RowLayout, sample: Callable[[Tensor], _Sampled]) -> None:
        """Take the observations of a batch of transitions, and draw."""
        self._next_observations.copy_(rows[:, layout.next_observation])
        self._observations.copy_(rows[:, layout.observation])
        self.sampled = sample(self._policy.forward(self._inputs, self._use).sums[-1])
        self._actions.copy_(self.sampled.actions)


class SoftActorCritic:
    """Policy, two critics with their targets, and temperature.

    Args:
        layout: Of the transitions.
        settings: How it learns.
        seed: Of the initial weights.
    """

    def __init__(self, layout: RowLayout, settings: SacSettings, seed: int) -> None:
        self.layout, self.settings = layout, settings
        hidden = [settings.hidden_units] * settings.hidden_layers
        n, m = layout.observation_dim, layout.action_dim
        generator = torch.Generator().manual_seed(seed)
        self.policy = StackedNetworks(1, [n, *hidden, 2 * m], "relu", generator)
        self.critics = StackedNetworks(2, [n + m, *hidden, 1], "relu", generator)
        self.targets = StackedNetworks(2, [n + m, *hidden, 1], "relu")
        self.targets.copy_from(self.critics)
        self._policy_adam = Adam(self.policy, settings.learning_rate)
        self._critic_adam = Adam(self.critics, settings.learning_rate)
        # One number with the interface of a network: the same optimiser serves it.
        self._log_temperature = StackedNetworks(1, [0, 1], "relu")
        self._log_temperature.parameters.fill_(math.log(settings.initial_temperature))
        self._temperature_adam = Adam(self._log_temperature, settings.learning_rate)
        self._target_entropy = settings.target_entropy_per_action * m
        self._drawn: dict[str, _Drawn] = {}

    @property
    def temperature(self) -> float:
        """Weight of the entropy, α in the papers."""
        return float(self._log_temperature.parameters.exp())

    def act(self, observations: Floats, noise: Floats | None = None) -> Float32s:
        """Actions between -1 and 1.

        Args:
            observations: Shape=(batch, observation_dim).
            noise: Standard normal numbers for a draw from the policy, Shape=(batch, action_dim); None for the
                deterministic action.
        """
        x = torch.from_numpy(np.asarray(observations, np.float32))[None]
        output = self.policy.forward(x, "act").sums[-1][0]
        m = self.layout.action_dim
        before = output[:, :m]
        if noise is not None:
            deviation = output[:, m:].clamp(*_LOG_DEVIATION_BOUNDS).exp()
            before = before + deviation * torch.from_numpy(np.asarray(noise, np.float32))
        actions: Float32s = torch.tanh(before).numpy()
        return actions

    def update(self, batch: Float32s, noise: Float32s) -> None:
        """One gradient step of critics, policy and temperature.

        Args:
            batch: Transitions. Shape=(batch_size, layout.width).
            noise: Standard normal numbers, for the next and for the present actions.
                Shape=(2, batch_size, action_dim).
        """
        size = len(batch)
        rows = torch.from_numpy(batch)
        drawn = self._draw(rows, noise, "update")
        self._step_critics(rows, self._wanted(rows, drawn))
        sampled = drawn.sampled
        self._step_temperature(sampled.log_probability[:, size:])
        # ∂/∂u of E[α log π − min Q], u being the number before the tanh, and on to mean and log deviation.
        by_action, actions = self._value_gradient(drawn.present, -1.0 / size), sampled.actions[:, size:]
        temperature = self.temperature / size
        torch.ops.aten.tanh_backward.grad_input(by_action, actions, grad_input=drawn.by_mean)
        by_number = drawn.by_mean.add_(actions, alpha=2.0 * temperature)
        torch.mul(by_number, sampled.spread[:, size:], out=drawn.by_log_deviation)
        drawn.by_log_deviation.sub_(temperature).mul_(sampled.within[:, size:])
        self.policy.backward(drawn.present_run, drawn.by_output)
        self._policy_adam.step()
        self.targets.parameters.lerp_(self.critics.parameters, self.settings.target_step)

    def figures(self, batch: Float32s, noise: Float32s) -> UpdateFigures:
        """How critics and policy stand on a batch; nothing is changed. Arguments as in :meth:`update`."""
        rows, size = torch.from_numpy(batch), len(batch)
        drawn = self._draw(rows, noise, "look")
        wanted = self._wanted(rows, drawn)
        values = self.critics.forward(rows[None, :, self.layout.observation_and_action], "look").sums[-1]
        loss = float((values - wanted).square().mean())
        value = self.critics.forward(drawn.present, "look").sums[-1]
        entropy = -float(drawn.sampled.log_probability[:, size:].mean())
        return UpdateFigures(loss, float(value.amin(dim=0).mean()), entropy, self.temperature)

    def _draw(self, rows: Tensor, noise: Float32s, use: str) -> _Drawn:
        """Actions of the policy at the next and the present observations, in one pass."""
        if use not in self._drawn or self._drawn[use].size != len(rows):
            self._drawn[use] = _Drawn(self.layout, len(rows), self.policy, use)
        draws = torch.from_numpy(noise).view(1, 2 * len(rows), -1)
        self._drawn[use].draw(rows, self.layout, lambda output: self._sample(output, draws))
        return self._drawn[use]

    def _wanted(self, rows: Tensor, drawn: _Drawn) -> Tensor:
        """Targets r + γ (min Q'(x', u') − α log π(u' | x')), u' drawn from π. Shape=(1, batch_size, 1)."""
        layout, size = self.layout, len(rows)
        values = self.targets.forward(drawn.following).sums[-1]
        soft = values.amin(dim=0, keepdim=True)
        soft.sub_(drawn.sampled.log_probability[:, :size], alpha=self.temperature)
        soft.addcmul_(soft, rows[None, :, layout.terminated, None], value=-1.0)
        return torch.add(rows[None, :, layout.reward, None], soft, alpha=self.settings.discount)

    def _step_critics(self, rows: Tensor, wanted: Tensor) -> None:
        """A step down half the mean squared error."""
        run = self.critics.forward(rows[None, :, self.layout.observation_and_action])
        self.critics.backward(run, (run.sums[-1] - wanted).div_(len(rows)))
        self._critic_adam.step()

    def _step_temperature(self, log_probability: Tensor) -> None:
        """A step down −log α (log π + H̄), the mean over the batch; α is kept by its logarithm."""
        self._log_temperature.gradient.fill_(-float(log_probability.mean()) - self._target_entropy)
        self._temperature_adam.step()

    def _value_gradient(self, joined: Tensor, factor: float) -> Tensor:
        """∂ min Q / ∂ action times a factor, at observations with actions. Shape=(1, batch_size, action_dim)."""
        run = self.critics.forward(joined)
        values = run.sums[-1]
        chosen = values.eq(values.amin(dim=0)).mul(factor)
        return self.critics.input_gradient(run, chosen, self.layout.action).sum(dim=0, keepdim=True)

    def _sample(self, output: Tensor, noise: Tensor) -> _Sampled:
        """Draw from the policy. Shape=(1, batch_size, action_dim) each, the probability's last axis 1."""
        m = self.layout.action_dim
        mean, raw = output[..., :m], output[..., m:]
        low, high = _LOG_DEVIATION_BOUNDS
        log_deviation = raw.clamp(low, high)
        spread = log_deviation.exp().mul_(noise)
        number = mean + spread
        # −log(1 − tanh²) in a form that is exact far out: 2 (u + softplus(−2u) − log 2).
        steepness = torch.sub(number, torch.nn.functional.softplus(number, beta=-2.0), alpha=2.0)
        density = torch.sub(steepness, log_deviation, alpha=0.5).mul_(2.0).addcmul_(noise, noise, value=-0.5)
        log_probability = density.sum(dim=-1, keepdim=True).sub_(m * (2.0 * _LOG_TWO + _HALF_LOG_TWO_PI))
        return _Sampled(torch.tanh(number), log_probability, spread, raw.eq(log_deviation))

    def state(self) -> dict[str, Tensor]:
        """All that decides what follows: for a checkpoint."""
        found: dict[str, Tensor] = {}
        for name, networks, adam in self._parts():
            found[f"{name}.parameters"] = networks.parameters.clone()
            if adam is not None:
                found |= {f"{name}.adam.{key}": tensor for key, tensor in adam.state().items()}
        return found

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a :meth:`state`."""
        for name, networks, adam in self._parts():
            networks.parameters.copy_(state[f"{name}.parameters"])
            if adam is not None:
                prefix = f"{name}.adam."
                adam.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})

    def _parts(self) -> list[tuple[str, StackedNetworks, Adam | None]]:
        return [
            ("policy", self.policy, self._policy_adam),
            ("critics", self.critics, self._critic_adam),
            ("targets", self.targets, None),
            ("log_temperature", self._log_temperature, self._temperature_adam),
        ]
