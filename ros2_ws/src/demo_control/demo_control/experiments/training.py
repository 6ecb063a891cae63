"""What an experiment asks of a trainer, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from demo_control.configuration import ConfigurationError, Scalar, Settings, setting


@dataclass(frozen=True)
class EvaluationSettings(Settings):
    """How a learner is judged while it learns; fixed before a run, the same for all methods."""

    every_steps: int = setting(250, "Environment steps between two evaluations.", minimum=1)
    episodes: int = setting(20, "Episodes of an evaluation, without exploration.", minimum=1)
    seed: int = setting(1_000_000, "Of the evaluations' starts, which are the same each time.", minimum=0)
    stop_return: float = setting(0.0, "Mean return at which a run may stop; see stop_in_a_row.")
    stop_in_a_row: int = setting(0, "Evaluations in a row at stop_return that end a run; 0: none does.", minimum=0)


@dataclass(frozen=True)
class RunRequest:
    """One training run.

    Attributes:
        environment: Name of the environment, for example 'InvertedDoublePendulum-v5'.
        seed: Decides everything random but the evaluations' starts.
        steps: Environment steps at most.
        settings: The trainer's settings that differ from its defaults, by ``group.name``.
        evaluation: How it is judged.
    """

    environment: str
    seed: int
    steps: int
    settings: Mapping[str, Scalar]
    evaluation: EvaluationSettings


@dataclass(frozen=True)
class Record:
    """Figures of one moment of a run.

    Attributes:
        kind: What they are of: 'evaluation' (always has ``return_mean`` and ``return_deviation``), 'model', 'plan',
            'learner'.
        step: Environment steps taken so far.
        seconds: Time spent on the run so far, over all interruptions.
        values: By name.
    """

    kind: str
    step: int
    seconds: float
    values: Mapping[str, float]


Trainer = Callable[[RunRequest, Path, Callable[[Record], None]], Sequence[Record]]
"""Trains: maps (request, folder for its checkpoint, what to tell of each new record) to all records.

The checkpoint is written beside and renamed, and holds the records so far: a trainer that is called again with the same
request and folder, after an interruption at any moment, goes on and returns what it would have returned without. A
``ConfigurationError`` says what is wrong with the request.
"""

TRAINERS = {
    "model_based": "demo_control.learning.model_based.trainer:train",
    "ars": "demo_control.learning.ars_experiment:train",
}
"""Where each trainer is, by name."""


def load_trainer(name: str) -> Trainer:
    """A trainer by name.

    Raises:
        ConfigurationError: There is none of that name, or what it needs is not installed.
    """
    if name not in TRAINERS:
        raise ConfigurationError(f"trainer = '{name}': must be one of {', '.join(TRAINERS)}")
    module, _, function = TRAINERS[name].partition(":")
    try:
        return cast(Trainer, getattr(import_module(module), function))
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"trainer '{name}' needs the Python package '{error.name}'") from error
