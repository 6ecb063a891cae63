"""All settings of a training run, in groups; on the command line a name is ``group.name``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

from demo_control.configuration import ConfigurationError, Scalar, Settings, setting
from demo_control.learning.ars_settings import SearchSettings
from demo_control.learning.collection import CollectionSettings
from demo_control.learning.ensemble import NetworkSettings
from demo_control.learning.exploration import ExplorationSettings
from demo_control.learning.fitting import FitSettings
from demo_control.learning.sac.settings import LearningSettings, SacSettings
from demo_control.tasks import Task

POLICIES: Mapping[str, tuple[str, ...]] = MappingProxyType({"linear": ("search",), "sac": ("sac", "learning")})
"""Kinds of policies, and the groups of settings that only they have."""


@dataclass(frozen=True)
class AcceptanceSettings(Settings):
    """What a model must show before it is exported."""

    simulator: str = setting("", "Simulator of the closed loop; empty: the task's first.")
    episodes: int = setting(50, "Full episodes of the layer; 0: no closed-loop check.", minimum=0)
    success_rate: float = setting(0.96, "Smallest share of successes to be accepted.", minimum=0.0, maximum=1.0)

    @property
    def needed(self) -> int:
        """Successes needed to be accepted."""
        # Rounded: 0.55 · 100 is a little more than 55.
        return math.ceil(round(self.success_rate * self.episodes, 9))


@dataclass(frozen=True)
class TrainingSettings:
    """Groups of settings, one per stage.

    Attributes:
        search: Of a linear policy.
        sac: Of the networks of soft actor-critic.
        learning: Of a policy that is learned by soft actor-critic.
        collection: Of the data.
        exploration: Of the data for the model of a policy with corrections.
        network: Shape of the ensemble.
        fit: Fits between the rounds.
        final_fit: The fit that is exported.
        acceptance: The closed-loop check.
    """

    search: SearchSettings = field(default_factory=lambda: SearchSettings(iterations=200))
    sac: SacSettings = field(default_factory=SacSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    collection: CollectionSettings = field(default_factory=CollectionSettings)
    exploration: ExplorationSettings = field(default_factory=ExplorationSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fit: FitSettings = field(default_factory=lambda: FitSettings(steps=1500))
    final_fit: FitSettings = field(default_factory=lambda: FitSettings(steps=4000, unroll_steps=8))
    acceptance: AcceptanceSettings = field(default_factory=AcceptanceSettings)

    @classmethod
    def for_task(cls, task: Task, overrides: Mapping[str, Scalar] | None = None) -> TrainingSettings:
        """The task's own settings, with some replaced.

        Args:
            task: Its ``training`` settings come first.
            overrides: By ``group.name``.

        Raises:
            ConfigurationError: An unknown group or name, or a bad value.
        """
        return cls().updated(task.training).updated(overrides or {})

    def updated(self, values: Mapping[str, Scalar]) -> TrainingSettings:
        """A copy with some settings replaced, by ``group.name``.

        Raises:
            ConfigurationError: An unknown group or name, or a bad value.
        """
        groups: dict[str, dict[str, Scalar]] = {entry.name: {} for entry in fields(self)}
        for dotted, value in values.items():
            group, separator, name = dotted.partition(".")
            if not separator or group not in groups:
                known = ", ".join(groups)
                raise ConfigurationError(f"unknown setting '{dotted}'; names are group.name of {known}")
            groups[group][name] = value
        changed = {}
        for group, replaced in groups.items():
            current: Settings = getattr(self, group)
            changed[group] = type(current).from_mapping(replaced, source=group, base=current)
        return replace(self, **changed)  # type: ignore[arg-type]

    def check_learning(self) -> None:
        """Refuse settings of soft actor-critic that make no sense together.

        Raises:
            ConfigurationError: Nothing would be learned, or what a failure misses is without end.
        """
        learning = self.learning
        if learning.steps <= learning.initial_steps:
            raise ConfigurationError(
                f"learning.steps = {learning.steps}: must be more than learning.initial_steps = "
                f"{learning.initial_steps}, before which nothing is learned"
            )
        if learning.reward_offset and self.sac.discount == 1.0:
            raise ConfigurationError(
                f"sac.discount = 1: must be less with learning.reward_offset = {learning.reward_offset:g}, of which a "
                "failure misses one per control period for ever"
            )

    def changed(self, task: Task, policy: str) -> dict[str, Scalar]:
        """Settings that differ from the task's own and matter to a kind of policy, by ``group.name``."""
        usual = TrainingSettings.for_task(task).as_mapping()
        return {name: value for name, value in self.used_for(policy).items() if value != usual[name]}

    def used_for(self, policy: str) -> dict[str, Scalar]:
        """All values by ``group.name`` but those of other kinds of policies; ``policy`` is one of :data:`POLICIES`."""
        others = {group for kind, groups in POLICIES.items() if kind != policy for group in groups}
        return {name: value for name, value in self.as_mapping().items() if name.partition(".")[0] not in others}

    def as_mapping(self) -> dict[str, Scalar]:
        """All values by ``group.name``."""
        return {
            f"{entry.name}.{name}": value
            for entry in fields(self)
            for name, value in getattr(self, entry.name).as_mapping().items()
        }
