"""Soft actor-critic: its update is that of the papers, it learns, and its graphs say what it says."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from demo_control.learning.networks import StackedNetworks  # noqa: E402 - needs torch
from demo_control.learning.sac import ReplayBuffer, RowLayout, SacSettings, SoftActorCritic  # noqa: E402
from demo_control.learning.sac.export import policy_model, value_model  # noqa: E402
from demo_control.onnx_graph import make_session  # noqa: E402

pytestmark = pytest.mark.train

LAYOUT = RowLayout(5, 2)
SETTINGS = SacSettings(hidden_units=16, batch_size=32, learning_rate=1e-3)
Float32s = npt.NDArray[np.float32]
Pairs = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture(autouse=True)
def no_graph() -> object:
    with torch.no_grad():
        yield


def make_batch(generator: np.random.Generator, layout: RowLayout = LAYOUT, size: int = 32) -> tuple[Float32s, Float32s]:
    batch = generator.standard_normal((size, layout.width), np.float32)
    batch[:, layout.action] = np.tanh(batch[:, layout.action])
    batch[:, layout.terminated] = batch[:, layout.terminated] > 0.8
    return batch, generator.standard_normal((2, size, layout.action_dim), np.float32)


class Reference:
    """The same learner by automatic differentiation, written from the papers."""

    def __init__(self, learner: SoftActorCritic) -> None:
        self.policy, self.critics, self.targets = map(self.pairs, (learner.policy, learner.critics, learner.targets))
        self.log_temperature = torch.tensor(0.0, requires_grad=True)
        groups = (self.flat(self.policy), self.flat(self.critics), [self.log_temperature])
        self.adams = [torch.optim.Adam(group, lr=1e-3) for group in groups]

    @staticmethod
    def pairs(networks: StackedNetworks) -> Pairs:
        parts = zip(networks.weights, networks.biases, strict=True)
        return [(weight.clone().requires_grad_(), bias.clone().requires_grad_()) for weight, bias in parts]

    @staticmethod
    def flat(pairs: Pairs) -> list[torch.Tensor]:
        return [tensor for pair in pairs for tensor in pair]

    @staticmethod
    def say(pairs: Pairs, x: torch.Tensor) -> torch.Tensor:
        for weight, bias in pairs[:-1]:
            x = torch.relu(x @ weight + bias)
        return x @ pairs[-1][0] + pairs[-1][1]

    def sample(self, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, raw = self.say(self.policy, x).chunk(2, dim=-1)
        normal = torch.distributions.Normal(mean, raw.clamp(-20, 2).exp())
        number = mean + normal.scale * noise
        action = torch.tanh(number)
        return action, (normal.log_prob(number) - torch.log(1 - action**2)).sum(-1, keepdim=True)

    def update(self, batch: Float32s, noise: Float32s) -> None:
        rows, draws = torch.from_numpy(batch)[None], torch.from_numpy(noise)
        x, following = rows[..., LAYOUT.observation], rows[..., LAYOUT.next_observation]
        with torch.no_grad():
            action, density = self.sample(following, draws[:1])
            value = self.say(self.targets, torch.cat([following, action], -1)).amin(0, keepdim=True)
            soft = value - self.log_temperature.exp() * density
            wanted = rows[..., LAYOUT.reward, None] + 0.99 * (1 - rows[..., LAYOUT.terminated, None]) * soft
        with torch.enable_grad():
            values = self.say(self.critics, rows[..., LAYOUT.observation_and_action])
            self.step(1, 0.5 * (values - wanted).square().mean(1).sum())
            action, density = self.sample(x, draws[1:])
            self.step(2, -self.log_temperature * (density.detach().mean() - 2.0))
            value = self.say(self.critics, torch.cat([x, action], -1)).amin(0, keepdim=True)
            self.step(0, (self.log_temperature.exp().detach() * density - value).mean())
        for target, critic in zip(self.flat(self.targets), self.flat(self.critics), strict=True):
            target.lerp_(critic, 0.005)

    def step(self, which: int, loss: torch.Tensor) -> None:
        self.adams[which].zero_grad()
        torch.autograd.backward(loss)
        self.adams[which].step()


def test_updates_are_those_of_the_papers() -> None:
    learner = SoftActorCritic(LAYOUT, SETTINGS, seed=0)
    reference = Reference(learner)
    generator = np.random.default_rng(0)
    for _ in range(20):
        batch, noise = make_batch(generator)
        learner.update(batch, noise)
        reference.update(batch, noise)
    for networks, pairs in (
        (learner.policy, reference.policy),
        (learner.critics, reference.critics),
        (learner.targets, reference.targets),
    ):
        wanted = torch.cat([tensor.detach().flatten() for tensor in reference.flat(pairs)])
        torch.testing.assert_close(networks.parameters, wanted, rtol=1e-4, atol=1e-6)
    assert learner.temperature == pytest.approx(float(reference.log_temperature.detach().exp()), rel=1e-6)


def test_the_density_of_actions_integrates_to_one() -> None:
    layout = RowLayout(1, 1)
    learner = SoftActorCritic(layout, SETTINGS, seed=3)
    noise = torch.linspace(-6.0, 6.0, 4001)[None, :, None]
    sampled = learner._sample(torch.tensor([0.3, -0.5]).expand(1, 4001, 2), noise)  # mean, log deviation
    density, actions = sampled.log_probability.exp()[0, :, 0], sampled.actions[0, :, 0]
    assert float(torch.trapezoid(density, actions)) == pytest.approx(1.0, abs=1e-3)


def test_a_deviation_at_its_bound_is_left_there() -> None:
    learner = SoftActorCritic(RowLayout(1, 1), SETTINGS, seed=0)
    sampled = learner._sample(torch.tensor([[[0.0, 3.0], [0.0, 0.0], [0.0, -30.0]]]), torch.ones(1, 3, 1))
    assert sampled.within[0, :, 0].tolist() == [False, True, False]


def test_solves_a_task_of_one_step() -> None:
    """The best action is the observation itself; 1000 updates find it."""
    layout = RowLayout(1, 1)
    settings = SacSettings(hidden_units=32, batch_size=64, learning_rate=3e-3, initial_temperature=0.1)
    learner = SoftActorCritic(layout, settings, seed=1)
    generator = np.random.default_rng(1)
    for _ in range(1000):
        x, u = generator.uniform(-0.8, 0.8, (64, 1)), generator.uniform(-1.0, 1.0, (64, 1))
        batch = layout.rows(x, u, x, -np.square(u - x)[:, 0], np.ones(64, dtype=bool))
        learner.update(batch, generator.standard_normal((2, 64, 1), np.float32))
    x = np.linspace(-0.8, 0.8, 9)[:, None]
    assert np.abs(learner.act(x) - x).max() < 0.1


def test_the_temperature_follows_the_entropy() -> None:
    learner = SoftActorCritic(LAYOUT, SETTINGS, seed=0)
    batch, noise = make_batch(np.random.default_rng(0))
    # A fresh policy is far more random than the target of -1 per entry: its entropy is worth less from then on.
    assert learner.figures(batch, noise).entropy > -2.0
    learner.update(batch, noise)
    assert learner.temperature < 1.0


def test_actions_given_out_are_not_overwritten() -> None:
    learner = SoftActorCritic(LAYOUT, SETTINGS, seed=0)
    generator = np.random.default_rng(0)
    first = learner.act(generator.standard_normal((3, 5)))
    kept = first.copy()
    learner.act(generator.standard_normal((3, 5)), np.ones((3, 2), np.float32))
    assert np.array_equal(first, kept)


def test_goes_on_from_its_state_bit_for_bit() -> None:
    one, other = SoftActorCritic(LAYOUT, SETTINGS, seed=0), SoftActorCritic(LAYOUT, SETTINGS, seed=9)
    generator = np.random.default_rng(0)
    one.update(*make_batch(generator))
    other.restore(one.state())
    batch, noise = make_batch(generator)
    for learner in (one, other):
        learner.update(batch, noise)
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in one.state().items())


def test_graphs_say_what_the_learner_says() -> None:
    learner = SoftActorCritic(LAYOUT, SETTINGS, seed=0)
    generator = np.random.default_rng(0)
    for _ in range(5):
        learner.update(*make_batch(generator))
    x = generator.standard_normal((7, 6)).astype(np.float32)
    x[:, 5] = [1, 1, 1, 1, 0, 0, 0]
    low, high = np.array([-2.0, 0.0]), np.array([2.0, 3.0])
    action = make_session(policy_model(learner, low, high, 6)).run(["action"], {"observation": x})[0]
    share = learner.act(x[:, :5])
    np.testing.assert_allclose(action, (low + high) / 2 + (high - low) / 2 * share, rtol=1e-5, atol=1e-6)
    value = make_session(value_model(learner, 6, alive_entry=5)).run(["value"], {"observation": x})[0]
    joined = torch.from_numpy(np.hstack([x[:, :5], share]))[None]
    wanted = learner.critics.forward(joined).sums[-1].amin(dim=0).numpy() * x[:, 5:]
    np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


def test_rows_hold_their_parts() -> None:
    x, u, x_next = np.arange(5.0)[None], np.array([[0.5, -0.5]]), np.arange(5.0)[None] + 10
    row = LAYOUT.rows(x, u, x_next, np.array([7.0]), np.array([True]))[0]
    assert len(row) == LAYOUT.width
    assert row[LAYOUT.observation].tolist() == x[0].tolist()
    assert row[LAYOUT.action].tolist() == u[0].tolist()
    assert row[LAYOUT.next_observation].tolist() == x_next[0].tolist()
    assert (row[LAYOUT.reward], row[LAYOUT.terminated]) == (7.0, 1.0)


@given(st.integers(1, 40), st.lists(st.integers(0, 60), max_size=8))
def test_the_buffer_holds_the_latest_rows(capacity: int, sizes: list[int]) -> None:
    layout = RowLayout(1, 1)
    buffer = ReplayBuffer(layout, capacity)
    ends = np.cumsum([0, *sizes])
    for first, last in pairwise(ends):
        buffer.add(np.repeat(np.arange(first, last, dtype=np.float32)[:, None], layout.width, axis=1))
    total = int(ends[-1])
    assert len(buffer) == min(capacity, total)
    assert sorted(buffer.rows[:, 0].tolist()) == list(range(max(total - capacity, 0), total))
    copy = ReplayBuffer(layout, capacity)
    copy.restore(*buffer.state())
    for each in (buffer, copy):
        each.add(np.full((3, layout.width), -1.0, np.float32))
    assert np.array_equal(buffer.rows, copy.rows)


def test_the_loss_of_nothing_is_finite() -> None:
    """Actions far out, where tanh is flat, have a finite density."""
    learner = SoftActorCritic(RowLayout(1, 1), SETTINGS, seed=0)
    sampled = learner._sample(torch.tensor([[[40.0, 0.0], [-40.0, 0.0]]]), torch.zeros(1, 2, 1))
    assert all(math.isfinite(number) for number in sampled.log_probability.flatten().tolist())
