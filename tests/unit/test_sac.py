"""Soft actor-critic against the papers' losses under automatic differentiation, and what follows from the method."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from demo_control.learning.sac import ReplayBuffer, RowLayout, SacSettings, SoftActorCritic  # noqa: E402
from demo_control.learning.sac.export import policy_model, value_model  # noqa: E402
from demo_control.onnx_graph import make_session  # noqa: E402

LAYOUT = RowLayout(3, 2)
SMALL = SacSettings(hidden_units=16, batch_size=32, learning_rate=1e-3)


def batch(seed: int, size: int = 32, layout: RowLayout = LAYOUT) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    rows = layout.rows(
        generator.normal(size=(size, layout.observation_dim)),
        generator.uniform(-1, 1, (size, layout.action_dim)),
        generator.normal(size=(size, layout.observation_dim)),
        generator.normal(size=size),
        generator.random(size) < 0.3,
    )
    return rows, generator.standard_normal((2, size, layout.action_dim), np.float32)


class ByAutograd:
    """One update, from the papers' losses: critics, then temperature, then policy, then targets."""

    def __init__(self, learner: SoftActorCritic) -> None:
        self.settings, self.layout = learner.settings, learner.layout
        stacks = (learner.policy, learner.critics, learner.targets)
        self.policy, self.critics, self.targets = (
            [p.clone().requires_grad_() for pair in zip(s.weights, s.biases, strict=True) for p in pair] for s in stacks
        )
        self.log_temperature = torch.tensor([math.log(learner.settings.initial_temperature)], requires_grad=True)
        rate = learner.settings.learning_rate
        parts = (self.policy, self.critics, [self.log_temperature])
        self.optimisers = [torch.optim.Adam(part, lr=rate) for part in parts]

    @staticmethod
    def network(parameters: list, x: object) -> object:
        for layer in range(0, len(parameters), 2):
            x = x @ parameters[layer] + parameters[layer + 1]
            x = torch.relu(x) if layer < len(parameters) - 2 else x
        return x

    def draw(self, x: object, noise: object) -> tuple[object, object]:
        mean, log_deviation = self.network(self.policy, x)[0].chunk(2, dim=-1)
        normal = torch.distributions.Normal(mean, log_deviation.clamp(-20.0, 2.0).exp())
        number = mean + normal.scale * noise
        slope = torch.distributions.TanhTransform().log_abs_det_jacobian(number, torch.tanh(number))
        return torch.tanh(number), (normal.log_prob(number) - slope).sum(dim=-1)

    def values(self, parameters: list, x: object, u: object) -> object:
        return self.network(parameters, torch.cat([x, u], dim=-1))[..., 0]

    def update(self, rows: np.ndarray, noise: np.ndarray) -> None:
        layout, rows, noise = self.layout, torch.from_numpy(rows), torch.from_numpy(noise)
        x, u, following = (rows[:, part] for part in (layout.observation, layout.action, layout.next_observation))
        temperature = self.log_temperature.exp().detach()
        with torch.no_grad():
            actions, log_probability = self.draw(following, noise[0])
            soft = self.values(self.targets, following, actions).min(dim=0).values - temperature * log_probability
            goes_on = 1.0 - rows[:, layout.terminated]
            wanted = rows[:, layout.reward] + self.settings.discount * goes_on * soft
        critic_loss = 0.5 * (self.values(self.critics, x, u) - wanted).square().mean(dim=1).sum()
        self.step(1, critic_loss)
        actions, log_probability = self.draw(x, noise[1])
        target = self.settings.target_entropy_per_action * layout.action_dim
        self.step(2, -(self.log_temperature * (log_probability.detach() + target)).mean())
        value = self.values(self.critics, x, actions).min(dim=0).values
        self.step(0, (self.log_temperature.exp().detach() * log_probability - value).mean())
        with torch.no_grad():
            for target_part, part in zip(self.targets, self.critics, strict=True):
                target_part.lerp_(part, self.settings.target_step)

    def step(self, index: int, loss: object) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        self.optimisers[index].step()


def test_updates_are_those_of_the_papers() -> None:
    learner = SoftActorCritic(LAYOUT, SMALL, 0)
    reference = ByAutograd(learner)
    for seed in range(3):
        rows, noise = batch(seed)
        learner.update(rows, noise)
        reference.update(rows, noise)
        for name in ("policy", "critics", "targets"):
            stack = getattr(learner, name)
            ours = [p for pair in zip(stack.weights, stack.biases, strict=True) for p in pair]
            for mine, theirs in zip(ours, getattr(reference, name), strict=True):
                torch.testing.assert_close(mine, theirs.detach(), rtol=0, atol=1e-5)
        assert learner.temperature == pytest.approx(float(reference.log_temperature.detach().exp()), abs=1e-5)


def test_densities_integrate_to_one() -> None:
    learner = SoftActorCritic(RowLayout(1, 1), SMALL, 0)
    for mean, log_deviation in ((0.0, 0.0), (0.8, -1.5), (-1.5, 0.5)):
        output = torch.tensor([mean, log_deviation]).expand(1, 20001, 2)
        numbers = torch.linspace(-9.0, 9.0, 20001)
        noise = ((numbers - mean) / math.exp(log_deviation))[None, :, None]
        sampled = learner._sample(output, noise)
        density = sampled.log_probability[0, :, 0].double().exp().numpy()
        actions = torch.tanh(numbers.double()).numpy()
        assert np.trapezoid(density, actions) == pytest.approx(1.0, abs=1e-3)


def test_a_clamped_deviation_is_not_learned() -> None:
    learner = SoftActorCritic(LAYOUT, SMALL, 0)
    learner.policy.biases[-1][..., LAYOUT.action_dim :] = 50.0
    rows, noise = batch(0)
    learner.update(rows, noise)
    _, bias_gradients = learner.policy._views(learner.policy.gradient)
    assert (bias_gradients[-1][..., LAYOUT.action_dim :] == 0.0).all()
    assert (bias_gradients[-1][..., : LAYOUT.action_dim] != 0.0).all()


@pytest.mark.parametrize(("target", "rises"), [(5.0, True), (-20.0, False)])
def test_temperature_goes_where_the_entropy_is_missing(target: float, rises: bool) -> None:
    settings = SacSettings(hidden_units=8, target_entropy_per_action=target)
    learner = SoftActorCritic(LAYOUT, settings, 0)
    learner.update(*batch(0))
    assert (learner.temperature > 1.0) is rises


def test_actions_stay_as_they_were_when_the_next_are_asked_for() -> None:
    learner = SoftActorCritic(LAYOUT, SMALL, 0)
    x, noise = np.random.default_rng(0).normal(size=(2, 5, 3)), np.zeros((5, 2))
    for draws in (None, noise):
        first = learner.act(x[0], draws)
        kept = first.copy()
        learner.act(x[1], draws)
        np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(learner.act(x[0], noise), learner.act(x[0]))


def test_figures_change_nothing() -> None:
    learner = SoftActorCritic(LAYOUT, SMALL, 0)
    before = learner.state()
    assert np.isfinite(list(vars(learner.figures(*batch(1))).values())).all()
    for name, value in learner.state().items():
        assert torch.equal(value, before[name])


def test_learns_to_answer_with_what_it_sees() -> None:
    layout = RowLayout(1, 1)
    settings = SacSettings(hidden_units=32, batch_size=64, learning_rate=3e-3, initial_temperature=0.1)
    learner, generator = SoftActorCritic(layout, settings, 0), np.random.default_rng(0)
    for _ in range(1000):
        x, u = generator.uniform(-0.8, 0.8, (64, 1)), generator.uniform(-1, 1, (64, 1))
        rows = layout.rows(x, u, x, -np.square(u - x)[:, 0], np.ones(64, dtype=bool))
        learner.update(rows, generator.standard_normal((2, 64, 1), np.float32))
    x = np.linspace(-0.8, 0.8, 17)[:, None]
    assert np.abs(learner.act(x) - x).max() < 0.1


def test_exported_graphs_are_the_learner() -> None:
    learner = SoftActorCritic(LAYOUT, SMALL, 0)
    for seed in range(20):
        learner.update(*batch(seed))
    x = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    x[:, 4] = np.arange(50) % 2
    low, high = np.array([-2.0, 0.0]), np.array([2.0, 5.0])
    (actions,) = make_session(policy_model(learner, low, high, 5)).run(["action"], {"observation": x})
    share = learner.act(x[:, :3])
    np.testing.assert_allclose(actions, (low + high) / 2 + (high - low) / 2 * share, atol=1e-5)
    joined = torch.from_numpy(np.hstack([x[:, :3], share]))[None]
    values = learner.critics.forward(joined).sums[-1].amin(dim=0).numpy()
    for alive, factor in ((None, 1.0), (4, x[:, 4:])):
        (told,) = make_session(value_model(learner, 5, alive)).run(["value"], {"observation": x})
        np.testing.assert_allclose(told, values * factor, atol=1e-5)


def test_goes_on_from_its_state_bit_for_bit() -> None:
    one, other = SoftActorCritic(LAYOUT, SMALL, 0), SoftActorCritic(LAYOUT, SMALL, 9)
    one.update(*batch(0))
    other.restore(one.state())
    for learner in (one, other):
        learner.update(*batch(1))
    theirs = other.state()
    for name, value in one.state().items():
        assert torch.equal(value, theirs[name]), name


def test_same_seed_same_weights() -> None:
    one, same, other = (SoftActorCritic(LAYOUT, SMALL, seed).policy.parameters for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@given(
    capacity=st.integers(1, 3000),
    counts=st.lists(st.integers(0, 2500), max_size=6),
    interrupted_after=st.integers(0, 6),
)
def test_the_buffer_holds_the_latest_rows(capacity: int, counts: list[int], interrupted_after: int) -> None:
    layout = RowLayout(1, 1)
    buffer, added = ReplayBuffer(layout, capacity), 0
    for number, count in enumerate(counts):
        if number == interrupted_after:
            state = buffer.state()
            buffer = ReplayBuffer(layout, capacity)
            buffer.restore(*state)
        rows = np.repeat(np.arange(added, added + count, dtype=np.float32)[:, None], layout.width, axis=1)
        buffer.add(rows)
        added += count
        assert len(buffer) == min(added, capacity)
        expected = np.arange(added - len(buffer), added)
        np.testing.assert_array_equal(np.sort(buffer.rows[:, 0]), expected)
        # In a ring: from where the next row goes, the oldest first.
        _, first = buffer.state()
        np.testing.assert_array_equal(np.roll(buffer.rows[:, 0], -first if len(buffer) == capacity else 0), expected)
    if len(buffer):
        out = np.empty((1, layout.width), np.float32)
        buffer.take(np.array([len(buffer) - 1]), out)
        np.testing.assert_array_equal(out[0], buffer.rows[-1])
