"""Soft actor-critic (Haarnoja et al. 2018, with the learned temperature of their second paper).

Sources: T. Haarnoja, A. Zhou, P. Abbeel, S. Levine, *Soft actor-critic*, ICML 2018; T. Haarnoja et al., *Soft
actor-critic algorithms and applications*, arXiv:1812.05905. Gradients are by hand (:mod:`..networks`); a test compares
them with automatic differentiation.
"""

from __future__ import annotations

import math
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
        layout, rows, draws = self.layout, torch.from_numpy(batch)[None], torch.from_numpy(noise)
        self._step_critics(rows, self._targets_of(rows, draws[:1]))
        observations = rows[..., layout.observation]
        run = self.policy.forward(observations, "update")
        sampled = self._sample(run.sums[-1], draws[1:])
        self._step_temperature(sampled)
        by_action = self._value_gradient(observations, sampled.actions)
        # ∂/∂u of E[α log π − min Q], u being the number before the tanh, and on to mean and log deviation.
        temperature, actions = self.temperature, sampled.actions
        by_number = (
            torch.addcmul(by_action, by_action, actions.square(), value=-1.0)
            .neg_()
            .add_(actions, alpha=2.0 * temperature)
        )
        by_log_deviation = (by_number * sampled.spread).sub_(temperature).mul_(sampled.within)
        self.policy.backward(run, torch.cat([by_number, by_log_deviation], dim=-1).div_(batch.shape[0]))
        self._policy_adam.step()
        self.targets.parameters.lerp_(self.critics.parameters, self.settings.target_step)

    def figures(self, batch: Float32s, noise: Float32s) -> UpdateFigures:
        """How critics and policy stand on a batch; nothing is changed. Arguments as in :meth:`update`."""
        rows, draws = torch.from_numpy(batch)[None], torch.from_numpy(noise)
        wanted = self._targets_of(rows, draws[:1])
        values = self.critics.forward(rows[..., self.layout.observation_and_action], "look").sums[-1]
        loss = float((values - wanted).square().mean())
        observations = rows[..., self.layout.observation]
        sampled = self._sample(self.policy.forward(observations, "look").sums[-1], draws[1:])
        value = self.critics.forward(torch.cat([observations, sampled.actions], dim=-1), "look").sums[-1]
        entropy = -float(sampled.log_probability.mean())
        return UpdateFigures(loss, float(value.amin(dim=0).mean()), entropy, self.temperature)

    def _targets_of(self, rows: Tensor, noise: Tensor) -> Tensor:
        """Targets r + γ (min Q'(x', u') − α log π(u' | x')), u' drawn from π. Shape=(1, batch_size, 1)."""
        layout = self.layout
        following = rows[..., layout.next_observation]
        sampled = self._sample(self.policy.forward(following, "next").sums[-1], noise)
        values = self.targets.forward(torch.cat([following, sampled.actions], dim=-1)).sums[-1]
        soft = values.amin(dim=0, keepdim=True).sub_(sampled.log_probability, alpha=self.temperature)
        soft.addcmul_(soft, rows[..., layout.terminated, None], value=-1.0)
        return torch.add(rows[..., layout.reward, None], soft, alpha=self.settings.discount)

    def _step_critics(self, rows: Tensor, wanted: Tensor) -> None:
        """A step down half the mean squared error."""
        run = self.critics.forward(rows[..., self.layout.observation_and_action])
        self.critics.backward(run, (run.sums[-1] - wanted).div_(rows.shape[1]))
        self._critic_adam.step()

    def _step_temperature(self, sampled: _Sampled) -> None:
        """A step down −log α (log π + H̄), the mean over the batch; α is kept by its logarithm."""
        self._log_temperature.gradient.fill_(-float(sampled.log_probability.mean()) - self._target_entropy)
        self._temperature_adam.step()

    def _value_gradient(self, observations: Tensor, actions: Tensor) -> Tensor:
        """∂ min Q / ∂ action. Shape=(1, batch_size, action_dim)."""
        run = self.critics.forward(torch.cat([observations, actions], dim=-1))
        values = run.sums[-1]
        chosen = values.eq(values.amin(dim=0)).to(values.dtype)
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
        steepness = torch.nn.functional.softplus(number * -2.0).add_(number)
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
