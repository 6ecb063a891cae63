"""Where the training data come from: random actions, the noisy policy, and the layer itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo_control.bundle import Bundle
from demo_control.configuration import Settings, setting
from demo_control.controllers import make_controller
from demo_control.layer import LayerSettings
from demo_control.learning.dataset import Dataset, split
from demo_control.learning.episodes import ControlLaw, Recording, run_episodes
from demo_control.learning.linear_policy import denormalised
from demo_control.learning.seeding import Purpose, stream, streams
from demo_control.learning.varied_plants import VariedPlants
from demo_control.tasks import Array, Task


@dataclass(frozen=True)
class CollectionSettings(Settings):
    """How data are collected. Noise is a fraction of half the action range."""

    simulator: str = setting("", "Simulator for search and data; empty: the task's first.")
    random_episodes: int = setting(16, "Episodes of random actions.", minimum=1)
    random_episode_s: float = setting(3.0, "Length of an episode of random actions.", minimum=1e-3)
    policy_episodes: int = setting(8, "Episodes of the policy with noise.", minimum=1)
    policy_episode_s: float = setting(10.0, "Length of an episode of the policy.", minimum=1e-3)
    policy_noise: float = setting(0.5, "Deviation of the noise on the policy.", minimum=0.0)
    rounds: int = setting(6, "Rounds in which the layer itself collects data.", minimum=0)
    round_episodes: int = setting(4, "Full episodes per round.", minimum=1)
    round_noise: float = setting(0.3, "Largest noise on the layer; its plants get from none to that.", minimum=0.0)
    hold_ticks: int = setting(5, "Control periods for which noise is held.", minimum=1)
    held_out_fraction: float = setting(0.2, "Share of the episodes that judge the fit.", minimum=0.01, maximum=0.5)


class HeldNoise:
    """Gaussian noise that changes every few calls: slow enough to move something heavy.

    Args:
        deviations: One per plant, in normalised action units. Shape=(num_plants,).
        action_dim: Entries of an action.
        hold_ticks: Calls with the same noise.
        generators: One per plant.
    """

    def __init__(
        self,
        deviations: Array,
        action_dim: int,
        hold_ticks: int,
        generators: Sequence[np.random.Generator],
    ) -> None:
        self._deviations, self._action_dim = deviations, action_dim
        self._hold_ticks, self._generators = hold_ticks, generators
        self._calls = 0
        self._value = np.zeros((len(generators), action_dim))

    def __call__(self) -> Array:
        """The noise now. Shape=(num_plants, action_dim)."""
        if self._calls % self._hold_ticks == 0:
            draws = [generator.standard_normal(self._action_dim) for generator in self._generators]
            self._value = np.stack(draws) * self._deviations[:, np.newaxis]
        self._calls += 1
        return self._value


def collect_first(task: Task, policy: ControlLaw, settings: CollectionSettings, seed: int) -> Dataset:
    """Data before there is a model: random held actions, and the policy with noise."""
    zero = np.zeros((1, task.action_dim))
    parts = (
        (settings.random_episodes, settings.random_episode_s, 1.0, lambda _: denormalised(zero, task)),
        (
            settings.policy_episodes,
            settings.policy_episode_s,
            settings.policy_noise,
            policy,
        ),
    )
    dataset = Dataset()
    for index, (count, length_s, deviation, law) in enumerate(parts):
        generators = streams(seed, Purpose.COLLECTION_ACTIONS, count, index)
        noise = HeldNoise(np.full(count, deviation), task.action_dim, settings.hold_ticks, generators)
        starts = streams(seed, Purpose.COLLECTION_STARTS, count, index)
        recording = _run(task, settings, noisy(task, law, noise), starts, length_s)
        dataset += split(recording.episodes(), settings.held_out_fraction)
    return dataset


def collect_round(
    task: Task,
    bundle: Bundle,
    layer: LayerSettings,
    settings: CollectionSettings,
    seed: int,
    index: int,
) -> tuple[Dataset, Recording]:
    """Full episodes of the layer with noise.

    Without data of the layer's own the model is wrong exactly where the planner goes.

    Args:
        task: The task.
        bundle: Policy and the model so far.
        layer: Settings of the layer.
        settings: See :class:`CollectionSettings`.
        seed: Of the whole run.
        index: Number of the round.

    Returns:
        The new data, and all that happened.
    """
    count = settings.round_episodes
    controller = make_controller("demo", task, bundle, layer, count)
    controller.reset(streams(seed, Purpose.ROUND_ACTIONS, count, index, 0))
    # No plant shall always get the same noise, nor the same ones always be held out.
    order = stream(seed, Purpose.ROUND_STARTS, index).permutation(count)
    deviations = np.linspace(0.0, settings.round_noise, count)[order]
    generators = streams(seed, Purpose.ROUND_ACTIONS, count, index, 1)
    noise = HeldNoise(deviations, task.action_dim, settings.hold_ticks, generators)
    starts = streams(seed, Purpose.ROUND_STARTS, count, index)
    law = noisy(task, controller.act, noise)
    recording = _run(task, settings, law, starts, task.episode_s)
    episodes = recording.episodes()
    shuffled = [episodes[i] for i in order if i < len(episodes)]
    return split(shuffled, settings.held_out_fraction), recording


def noisy(task: Task, law: ControlLaw, noise: HeldNoise) -> ControlLaw:
    """A control law with noise on its actions."""
    half_range = (task.action_maximum - task.action_minimum) / 2.0
    return lambda observations: law(observations) + half_range * noise()


def successes(task: Task, recording: Recording) -> int:
    """How many of the recorded episodes the task's score calls a success."""
    count = 0
    for plant in range(recording.failed.shape[1]):
        score = task.make_score()
        for step in range(len(recording.actions)):
            score.update(
                (step + 1) * task.control_period_s,
                recording.true_observations[step + 1, plant],
                bool(recording.failed[step + 1, plant]),
            )
        count += bool(score.result()["success"])
    return count


def _run(
    task: Task,
    settings: CollectionSettings,
    law: ControlLaw,
    starts: Sequence[np.random.Generator],
    length_s: float,
) -> Recording:
    variations = task.training_plants or ({},)
    plants = VariedPlants(task, task.simulator_or_first(settings.simulator), len(starts), variations)
    try:
        return run_episodes(task, plants, law, starts, round(length_s / task.control_period_s))
    finally:
        plants.close()
