"""The data that a bundle's model was trained on, for who trains it on: those of its run, or others like them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.layer import LayerSettings
from demo_control.learning.collection import collect_first, collect_round
from demo_control.learning.correction_model import load_groups
from demo_control.learning.dataset import Dataset
from demo_control.learning.episodes import Episode
from demo_control.learning.exploration import explore
from demo_control.learning.progress import Reporter
from demo_control.learning.settings import TrainingSettings
from demo_control.learning.workers import Workers
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Task


@dataclass(frozen=True)
class OldData:
    """Episodes to be replayed.

    Attributes:
        episodes: In the planning problem's terms.
        source: Where they come from, for the card.
    """

    episodes: tuple[Episode, ...]
    source: str

    @property
    def transitions(self) -> int:
        """Number of transitions."""
        return sum(len(episode) for episode in self.episodes)


def data_of_run(task: Task, folder: Path) -> OldData:
    """The training data that a run's folder holds.

    Raises:
        ConfigurationError: It holds none, of another task, or files that cannot be read.
    """
    checkpoints = folder / "checkpoints"
    pattern = "data-*.npz" if task.planning is None else "data-training-*.npz"
    files = sorted(checkpoints.glob(pattern))
    if not files:
        raise ConfigurationError(f"data '{folder}': no {pattern} in its checkpoints; expected a training run's folder")
    try:
        episodes = tuple(episode for file in files for episode in _episodes(task, file))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(f"data '{folder}': cannot be read ({error})") from None
    problem = task.planning_problem
    if any(e.observations.shape[1:] != (problem.observation_dim,) or e.actions.shape[1:] != (problem.action_dim,)
           for e in episodes):  # fmt: skip
        raise ConfigurationError(f"data '{folder}': of another robot than '{task.name}'")
    return OldData(episodes, f"{len(files)} files of the training run's folder")


def _episodes(task: Task, file: Path) -> Iterator[Episode]:
    if task.planning is None:
        yield from Dataset.load(file).training
        return
    for group in load_groups(file):
        yield from group


def data_like_those_of_training(
    task: Task, bundle: Bundle, *, rounds: int, episodes: int, seed: int, reporter: Reporter
) -> OldData:
    """Data made anew as the training made its own: the same plants, the bundle's policy, the settings that it records.

    They are not the same numbers: the layer that collected in the training had the models of that time, here it has the
    finished one, and there are fewer of them.

    Args:
        task: The robot's.
        bundle: Whose model it is.
        rounds: Rounds of the layer, each of some episodes.
        episodes: Where plans decide on corrections, episodes with random corrections instead.
        seed: Of everything random.
        reporter: Told what goes on.

    Raises:
        ConfigurationError: The bundle records settings that are unknown here.
    """
    settings = TrainingSettings.for_task(task, recorded_settings(bundle.contract.provenance))
    made: list[Episode] = []
    if task.planning is None:
        reporter.start("old data: simulated as in the training", 1 + rounds)
        made += collect_first(task, OnnxPolicy(bundle.policy).act, settings.collection, seed).training
        layer = LayerSettings.for_task(task)
        for index in range(rounds):
            reporter.advance(1 + index, f"{sum(map(len, made))} transitions")
            made += collect_round(task, bundle, layer, settings.collection, seed, index)[0].training
    else:
        reporter.start("old data: simulated as in the training", episodes)
        size = settings.exploration.batch_episodes
        simulator = task.simulator_or_first(settings.collection.simulator)
        arguments = [
            (simulator, "training", seed, first, min(size, episodes - first), bundle.policy, settings.exploration)
            for first in range(0, episodes, size)
        ]
        with Workers(task) as workers:
            for number, groups in enumerate(workers.map(explore, arguments), 1):
                made += [episode for group in groups for episode in group]
                reporter.advance(min(number * size, episodes), f"{sum(map(len, made))} transitions")
    data = OldData(tuple(made), "simulated anew with the plants, policy and settings of the training")
    reporter.finish(f"{data.transitions} transitions")
    return data


def recorded_settings(provenance: Mapping[str, Any]) -> dict[str, Scalar]:
    """The training's settings by ``group.name``; of a refitted bundle those of the one that it goes back to."""
    while isinstance(provenance.get("parent"), dict):
        provenance = provenance["parent"].get("provenance", {})
    settings = provenance.get("settings", {})
    return {
        name: value
        for name, value in settings.items()
        if name.partition(".")[0] in ("collection", "exploration") and isinstance(value, (bool, int, float, str))
    }
