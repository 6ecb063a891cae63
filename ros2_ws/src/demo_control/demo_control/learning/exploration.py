"""Data for the model of a policy with corrections: the policy goes on, random corrections are added to it.

A decision is made from the observation at tick k, takes effect at k + ``planning_ticks`` and is held for
``decision_ticks``, exactly as on the robot; see :class:`demo_control.tasks.Planning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import onnx

from demo_control.configuration import Settings, setting
from demo_control.learning.dataset import Dataset
from demo_control.learning.episodes import Episode
from demo_control.learning.seeding import Purpose, streams
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Array, Planning, Task
from demo_control.training_spec import DataPlants, ModelTraining

Mask = npt.NDArray[np.bool_]

KINDS = ("training", "unseen")


@dataclass(frozen=True)
class ExplorationSettings(Settings):
    """How the policy with random corrections is explored."""

    episodes: int = setting(400, "Episodes to learn from and to judge the fit by.", minimum=2)
    unseen_episodes: int = setting(60, "Episodes on terrains and settings that the training never sees.", minimum=1)
    episode_s: float = setting(7.0, "Length of an episode.", minimum=1e-3)
    batch_episodes: int = setting(20, "Episodes that one process runs side by side.", minimum=1)
    bias: float = setting(1.0, "Factor on the task's largest bias of a correction.", minimum=0.0)
    noise: float = setting(1.0, "Factor on the task's noise of a correction.", minimum=0.0)
    bias_decisions: int = setting(16, "Decisions for which a bias stays.", minimum=1)
    held_out_fraction: float = setting(0.1, "Share of the episodes that judge the fit.", minimum=0.01, maximum=0.5)


class RandomCorrections:
    """Corrections with a bias that changes now and then and noise at every decision, more or less guided.

    Args:
        planning: Gives the limits.
        spec: Gives guide, biases and noise.
        settings: Factors on these.
        generators: One per plant.
    """

    def __init__(
        self,
        planning: Planning,
        spec: ModelTraining,
        settings: ExplorationSettings,
        generators: Sequence[np.random.Generator],
    ) -> None:
        self._bias_range, self._noise = settings.bias * spec.bias, settings.noise * spec.noise
        self._bias_decisions, self._guide = settings.bias_decisions, spec.guide
        self._generators = generators
        self._minimum = np.array([quantity.minimum for quantity in planning.correction])
        self._maximum = np.array([quantity.maximum for quantity in planning.correction])
        self._biases = np.zeros((len(generators), len(planning.correction)))
        self._levels = np.zeros(len(generators))
        self._guidance = np.zeros(len(generators))
        self._counts = np.zeros(len(generators), dtype=int)

    def draw(self, plant: int, observation: Array) -> Array:
        """The next decision for one plant.

        Args:
            plant: Its number.
            observation: What it observes. Shape=(observation_dim,).

        Returns:
            Shape=(correction_dim,).
        """
        generator = self._generators[plant]
        if self._counts[plant] % self._bias_decisions == 0:
            # Strengths are drawn too: most of the time gentle, now and then up to the limits.
            self._biases[plant] = self._bias_range * generator.uniform(-1.0, 1.0, self._bias_range.size)
            self._biases[plant] *= generator.uniform()
            self._levels[plant], self._guidance[plant] = generator.uniform(size=2)
        self._counts[plant] += 1
        noise = self._levels[plant] * self._noise * generator.standard_normal(self._noise.size)
        guided = self._guidance[plant] * self._guide(observation[np.newaxis])[0]
        return np.asarray(np.clip(guided + self._biases[plant] + noise, self._minimum, self._maximum))


def explore(
    task: Task,
    simulator: str,
    kind: str,
    seed: int,
    first: int,
    count: int,
    policy: onnx.ModelProto,
    settings: ExplorationSettings,
) -> list[list[Episode]]:
    """Run some of the episodes.

    Args:
        task: Has ``planning`` and ``model_training``.
        simulator: Name of the simulator.
        kind: 'training' or 'unseen': which plants.
        seed: Of the whole run.
        first: Number of the first episode.
        count: How many.
        policy: policy.onnx.
        settings: See :class:`ExplorationSettings`.

    Returns:
        For each episode its undisturbed stretches, in the planning problem's terms.
    """
    spec, planning = task.model_training, task.planning
    assert spec is not None
    assert planning is not None
    number = KINDS.index(kind)

    def generators(purpose: Purpose) -> list[np.random.Generator]:
        return streams(seed, purpose, first + count, number)[first:]

    num_ticks = round(settings.episode_s / task.control_period_s)
    make = spec.plants if kind == "training" else spec.unseen_plants
    data = make(simulator, generators(Purpose.DATA_PLANTS), num_ticks)
    try:
        chosen = generators(Purpose.EXPLORATION)
        offsets = np.array([generator.integers(planning.decision_ticks) for generator in chosen])
        corrections = RandomCorrections(planning, spec, settings, chosen)
        starts = generators(Purpose.COLLECTION_STARTS)
        return run_corrected(task, data, OnnxPolicy(policy), corrections, offsets, starts, num_ticks)
    finally:
        data.plants.close()


def run_corrected(
    task: Task,
    data: DataPlants,
    policy: OnnxPolicy,
    corrections: RandomCorrections,
    offsets: npt.NDArray[np.int64],
    starts: Sequence[np.random.Generator],
    num_ticks: int,
) -> list[list[Episode]]:
    """Run the policy with corrections.

    Args:
        task: Has ``planning``.
        data: The plants; reset here.
        policy: Acts at every tick.
        corrections: Drawn at every decision.
        offsets: Tick of each plant's first decision; decisions may fall on any phase of a motion.
            Shape=(num_plants,).
        starts: Passed to the plants' reset.
        num_ticks: Length of the episodes.

    Returns:
        As :func:`explore`.
    """
    planning = task.planning
    assert planning is not None
    count, every = data.plants.num_plants, planning.decision_ticks
    in_force = np.zeros((count, len(planning.correction)))
    decided = in_force.copy()
    observation = data.plants.reset(starts)
    failed: Mask = np.zeros(count, dtype=bool)
    observations, failures = [observation], [failed]
    decisions: list[list[tuple[int, Array, Array]]] = [[] for _ in range(count)]
    for tick in range(num_ticks):
        nominal = policy.act(observation)
        since = tick - offsets
        for plant in np.flatnonzero((since % every == 0) & (since >= 0) & ~failed):
            decided[plant] = corrections.draw(int(plant), observation[plant])
            decisions[plant].append((tick, in_force[plant].copy(), decided[plant].copy()))
        effective = ((since - planning.planning_ticks) % every == 0) & (since >= planning.planning_ticks)
        in_force = np.where(effective[:, None], decided, in_force)
        action = np.clip(planning.correct(nominal, in_force), task.action_minimum, task.action_maximum)
        observation, failed = data.plants.step(action)
        failed = np.array(failed, dtype=bool)
        observations.append(observation)
        failures.append(failed)
        if failed.all():
            break
    stacked, fallen = np.stack(observations), np.stack(failures)
    names = [quantity.name for quantity in task.observation]
    seen = stacked[..., [names.index(name) for name in planning.observation]]
    foreign = ~_within_ranges(task, stacked)
    return [
        _stretches(seen[:, plant], fallen[:, plant], data.disturbed[:, plant], foreign[:, plant], decisions[plant])
        for plant in range(count)
    ]


def _within_ranges(task: Task, observations: Array) -> Mask:
    """Where all that the model looks at is within the range the robot works in. Shape=observations.shape[:-1]."""
    seen = [i for i, quantity in enumerate(task.observation) if quantity.name in task.planning_problem.model_inputs]
    low = np.array([task.observation[i].minimum for i in seen])
    high = np.array([task.observation[i].maximum for i in seen])
    within = (observations[..., seen] >= low) & (observations[..., seen] <= high)
    return np.asarray(within.all(axis=-1))


def _stretches(
    seen: Array, failed: Mask, disturbed: Mask, foreign: Mask, decisions: Sequence[tuple[int, Array, Array]]
) -> list[Episode]:
    """Cut one plant's decisions into runs of transitions that follow one another.

    Cut out is what began outside the ranges the robot works in, was disturbed, or ended in a failure.
    """
    stretches: list[Episode] = []
    rows: list[Array] = []
    actions: list[Array] = []
    for (tick, before, chosen), (tick_next, before_next, _) in pairwise(decisions):
        if foreign[tick] or disturbed[tick:tick_next].any() or failed[tick_next]:
            if actions:
                stretches.append(Episode(np.array(rows), np.array(actions)))
            rows, actions = [], []
            continue
        if not rows:
            rows = [np.concatenate([seen[tick], before])]
        rows.append(np.concatenate([seen[tick_next], before_next]))
        actions.append(chosen)
    if actions:
        stretches.append(Episode(np.array(rows), np.array(actions)))
    return stretches


def split_groups(groups: Sequence[Sequence[Episode]], held_out_fraction: float) -> Dataset:
    """Hold out every k-th group whole: stretches of one episode are of one robot on one ground."""
    every = max(2, round(1.0 / held_out_fraction))
    training = tuple(episode for i, group in enumerate(groups) if i % every != every - 1 for episode in group)
    held_out = tuple(episode for i, group in enumerate(groups) if i % every == every - 1 for episode in group)
    return Dataset(training, held_out)
