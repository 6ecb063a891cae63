"""What training must know of a robot beyond its task: where the search starts, and on which plants it learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from demo_control.configuration import ConfigurationError
from demo_control.plugins import in_one_line

if TYPE_CHECKING:  # a task holds these, so its module comes first
    from demo_control.tasks import Array, Plants

_ROBOTS = 3


@dataclass(frozen=True)
class PolicyTraining:
    """The training of a policy that starts from a hand-made linear one and meets ever harder plants.

    Attributes:
        inputs: Names of the observation entries that a linear policy sees; the weights of all others stay zero.
        initial_weights: Maps the simulator's name to the weights that the search starts from, in units of the
            normalised action. Shape=(action_dim, observation_dim).
        plants: Maps (simulator, iteration, a generator for what all plants of the iteration have in common, one
            generator per plant) to plants. Equal generators give equal plants.
        evaluation_plants: Maps the simulator's name to the plants that decide which policy is kept.
        evaluation_names: What each of these is, for people.
        network_inputs: Names of the entries that a network sees; empty: those of a linear policy. They should vary on
            the plants, and where plans correct the policy, its model should know them.
    """

    inputs: tuple[str, ...]
    initial_weights: Callable[[str], Array]
    plants: Callable[[str, int, np.random.Generator, Sequence[np.random.Generator]], Plants]
    evaluation_plants: Callable[[str], Plants]
    evaluation_names: tuple[str, ...]
    network_inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataPlants:
    """Plants to collect data with.

    Attributes:
        plants: The plants.
        disturbed: Whether something that no model can know of (a push) acts in a control period.
            Shape=(num_ticks, num_plants).
    """

    plants: Plants
    disturbed: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ModelTraining:
    """Data for the model of a policy with corrections; see :class:`demo_control.tasks.Planning`.

    Attributes:
        plants: Maps (simulator, one generator per plant, control periods per episode) to plants as various as those
            the model shall know.
        unseen_plants: The same, of terrains and settings that occur in no training data.
        guide: Maps observations, Shape=(num_plants, observation_dim), to corrections that would roughly do what is
            asked for, Shape=(num_plants, correction_dim): random ones alone would lead away from where the robot works.
        bias: Largest bias of each entry of the correction while exploring. Shape=(correction_dim,).
        noise: Deviation of each entry's noise while exploring. Shape=(correction_dim,).
    """

    plants: Callable[[str, Sequence[np.random.Generator], int], DataPlants]
    unseen_plants: Callable[[str, Sequence[np.random.Generator], int], DataPlants]
    guide: Callable[[Array], Array]
    bias: Array
    noise: Array

    def check(self, observation_dim: int, correction_dim: int) -> None:
        """Try the guide, and compare shapes; else they would be found wrong behind the policy's search.

        Args:
            observation_dim: Of the task.
            correction_dim: Of its planning.

        Raises:
            ConfigurationError: The guide raises an error, or something has another shape.
        """
        with in_one_line("model_training: guide"):
            guided = np.asarray(self.guide(np.zeros((_ROBOTS, observation_dim))))
        each, together = (correction_dim,), (_ROBOTS, correction_dim)
        for name, found, expected in (
            ("bias", np.shape(self.bias), each),
            ("noise", np.shape(self.noise), each),
            (f"guide of {_ROBOTS} robots", guided.shape, together),
        ):
            if found != expected:
                raise ConfigurationError(f"model_training: {name}: shape {found}, must be {expected}")
