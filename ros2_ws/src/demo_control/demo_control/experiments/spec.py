"""The specification of an experiment: a YAML file, and the training runs ("cells") that follow from it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from demo_control.configuration import Scalar
from demo_control.experiments.training import TRAINERS, EvaluationSettings, RunRequest
from demo_control.yaml_reader import Section, read_yaml

_ENVIRONMENT = ("steps", "settings", "evaluation", "thresholds", "scale")
_METHOD = ("text", "settings", "trainer", "steps", "evaluation", "axes")
_TOP = (
    "name", "text", "trainer", "environments", "seeds", "steps", "evaluation", "thresholds", "in_a_row", "base",
    "methods", "variants", "reference",
)  # fmt: skip
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Environment:
    """One environment of an experiment.

    Attributes:
        name: Its name, for example 'InvertedDoublePendulum-v5'.
        steps: Environment steps of a run at most.
        settings: Trainer settings that hold here, by ``group.name``.
        evaluation: How runs are judged here.
        thresholds: Returns whose first reaching is reported.
        scale: The returns that count as 0 and as 1 where environments are averaged; None: this one is in no average.
    """

    name: str
    steps: int
    settings: Mapping[str, Scalar]
    evaluation: EvaluationSettings
    thresholds: tuple[float, ...]
    scale: tuple[float, float] | None = None


@dataclass(frozen=True)
class Method:
    """One way of training that is compared: a method of the file, or one of its variants.

    Attributes:
        name: Of the method, with the variants' names: 'mbpo updates=10'.
        text: What it is, for people.
        trainer: Name of its trainer.
        settings: By ``group.name``.
        shared: Whether the experiment's ``base`` and the environments' settings hold for it, too: they are the
            settings of the experiment's trainer.
        steps: In place of the environment's; None: the environment's.
        evaluation: Settings in place of the environment's, by name.
    """

    name: str
    text: str
    trainer: str
    settings: Mapping[str, Scalar]
    shared: bool = True
    steps: int | None = None
    evaluation: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One training run of an experiment.

    Attributes:
        method: Name of the method.
        trainer: Name of its trainer.
        request: What the trainer is asked for. Together with the trainer's name it is all that decides the result.
    """

    method: str
    trainer: str
    request: RunRequest

    @property
    def name(self) -> str:
        """A name for files: environment, method and seed."""
        words = (self.request.environment, self.method, f"seed-{self.request.seed}")
        return "--".join(re.sub(r"[^A-Za-z0-9._=-]+", "_", word) for word in words)

    @property
    def title(self) -> str:
        """A name for people."""
        return f"{self.request.environment} {self.method} seed {self.request.seed}"


@dataclass(frozen=True)
class Experiment:
    """What a specification says.

    Attributes:
        name: Of the experiment.
        text: What it is about.
        environments: In the file's order.
        methods: With their variants, in the file's order.
        seeds: Of the runs.
        in_a_row: Evaluations in a row at a threshold that count as reaching it.
        base: Settings of all methods of the experiment's trainer, by ``group.name``.
        reference: Method that the others are compared with; '' for none.
    """

    name: str
    text: str
    environments: tuple[Environment, ...]
    methods: tuple[Method, ...]
    seeds: tuple[int, ...]
    in_a_row: int = 1
    base: Mapping[str, Scalar] = field(default_factory=dict)
    reference: str = ""

    def cells(self) -> list[Cell]:
        """All runs, methods within environments within seeds: whatever is done first can be compared."""
        return [
            self._cell(environment, method, seed)
            for seed in self.seeds
            for environment in self.environments
            for method in self.methods
        ]

    def _cell(self, environment: Environment, method: Method, seed: int) -> Cell:
        shared = {**self.base, **environment.settings} if method.shared else {}
        evaluation = EvaluationSettings.from_mapping(method.evaluation, base=environment.evaluation)
        steps = method.steps or environment.steps
        request = RunRequest(environment.name, seed, steps, {**shared, **method.settings}, evaluation)
        return Cell(method.name, method.trainer, request)


def read_experiment(path: Path, name: str | None = None) -> Experiment:
    """Read and check a specification.

    Args:
        path: YAML file.
        name: What the experiment is called where the file does not say it; by default as the file.

    Raises:
        ConfigurationError: What is wrong, with file, field, value and what is allowed.
        OSError: It cannot be read.
    """
    top = read_yaml(path)
    top.check_names(_TOP)
    trainer = top.word("trainer", "model_based", TRAINERS)
    in_a_row = top.whole("in_a_row", 1, minimum=1)
    steps = top.whole("steps", None, minimum=1) if "steps" in top.values else None
    evaluation = top.settings("evaluation", EvaluationSettings())
    thresholds = tuple(top.numbers("thresholds"))
    environments = tuple(_environments(top, steps, evaluation, thresholds))
    methods = tuple(_methods(top, trainer))
    reference = top.word("reference", "", [method.name for method in methods])
    experiment = Experiment(
        name=top.word("name", path.stem if name is None else name),
        text=top.text("text"),
        environments=environments,
        methods=methods,
        seeds=_seeds(top),
        in_a_row=in_a_row,
        base=top.scalars("base"),
        reference=reference,
    )
    _check(experiment, top)
    return experiment


def _seeds(top: Section) -> tuple[int, ...]:
    """A number of seeds, counted from 0, or a list of them."""
    value = top.values.get("seeds", 1)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_SEEDS:
        return tuple(range(value))
    if isinstance(value, list) and value and all(type(seed) is int and seed >= 0 for seed in value):
        if len(set(value)) == len(value):
            return tuple(value)
        raise top.wrong("seeds", value, "a seed occurs twice")
    raise top.wrong("seeds", value, f"must be how many (1 to {_MOST_SEEDS}) or a list of whole numbers from 0 on")


def _environments(
    top: Section, steps: int | None, evaluation: EvaluationSettings, thresholds: tuple[float, ...]
) -> Iterator[Environment]:
    """The environments: a list of names, or names with what differs there."""
    listed = top.values.get("environments")
    if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
        top = replace(top, values={**top.values, "environments": dict.fromkeys(listed)})
    found = list(top.sections("environments"))
    if not found:
        raise top.wrong("environments", listed, "must be a list of names, or names with what differs there")
    for name, section in found:
        section.check_names(_ENVIRONMENT)
        own_steps = section.whole("steps", steps, minimum=1)
        scale = section.numbers("scale")
        if scale and (len(scale) != 2 or scale[0] >= scale[1]):  # noqa: PLR2004 - a pair
            raise section.wrong("scale", section.values["scale"], "must be two returns, those that count as 0 and as 1")
        yield Environment(
            name=name,
            steps=own_steps,
            settings=section.scalars("settings"),
            evaluation=section.settings("evaluation", evaluation),
            thresholds=tuple(section.numbers("thresholds")) if "thresholds" in section.values else thresholds,
            scale=(scale[0], scale[1]) if scale else None,
        )


def _methods(top: Section, trainer: str) -> Iterator[Method]:
    """The methods, each crossed with the values of its axes."""
    axes: dict[str, dict[str, dict[str, Scalar]]] = {
        axis: {value: settings.own_scalars() for value, settings in section.sections("")}
        for axis, section in top.sections("variants")
    }
    for axis, values in axes.items():
        if not values:
            raise top.wrong(f"variants.{axis}", None, "must be names with settings")
    found = list(top.sections("methods"))
    if not found:
        raise top.wrong("methods", top.values.get("methods"), "must be names with text and settings")
    for name, section in found:
        section.check_names(_METHOD)
        chosen = section.words("axes", axes) if "axes" in section.values else list(axes)
        own = section.word("trainer", trainer, TRAINERS)
        section.settings("evaluation", EvaluationSettings())  # only checked: what it changes differs by environment
        method = Method(
            name=name,
            text=section.text("text"),
            trainer=own,
            settings=section.scalars("settings"),
            shared=own == trainer,
            steps=section.whole("steps", None, minimum=1) if "steps" in section.values else None,
            evaluation=section.mapping("evaluation"),
        )
        yield from _variants(method, {axis: axes[axis] for axis in chosen})


def _variants(method: Method, axes: Mapping[str, Mapping[str, Mapping[str, Scalar]]]) -> Iterator[Method]:
    """A method with each combination of its axes' values; the method itself without any axis."""
    for values in itertools.product(*axes.values()):
        settings = dict(method.settings)
        for axis, value in zip(axes, values, strict=True):
            settings |= axes[axis][value]
        words = [method.name, *(f"{axis}={value}" for axis, value in zip(axes, values, strict=True))]
        yield replace(method, name=" ".join(words), settings=settings)


def _check(experiment: Experiment, top: Section) -> None:
    """What no single field shows."""
    for environment, method in itertools.product(experiment.environments, experiment.methods):
        judged = EvaluationSettings.from_mapping(method.evaluation, base=environment.evaluation)
        if not judged.stop_in_a_row:
            continue
        # A run that stops below a threshold, or too soon for it, would count as one that never reached it.
        above = [threshold for threshold in environment.thresholds if threshold > judged.stop_return]
        if above:
            allowed = f"runs of '{method.name}' stop at {judged.stop_return:g}: must be at most that"
            raise top.wrong(f"thresholds of {environment.name}", above, allowed)
        if environment.thresholds and experiment.in_a_row > judged.stop_in_a_row:
            allowed = f"must be at most stop_in_a_row, which is {judged.stop_in_a_row} for '{method.name}'"
            raise top.wrong("in_a_row", experiment.in_a_row, allowed)
    names: Sequence[str] = [cell.name for cell in experiment.cells()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise top.wrong("methods", twice, "runs have the same file name; only letters, digits and ._=- count in it")
