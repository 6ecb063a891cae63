"""contract.json: what a bundle's graphs expect and promise, checked field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from demo_control.configuration import ConfigurationError
from demo_control.tasks import Quantity, Task
from demo_control.texts import TextError, load_json, shown

FORMAT = 1
"""Version of contract.json; raised when a field changes its meaning."""

_SHA256_LENGTH = 64


class BundleError(ValueError):
    """A bundle that must not be used; the text names field, value and what was expected."""


@dataclass(frozen=True)
class PlanningContract:
    """The planning problem of a task whose plans decide on corrections; see :class:`demo_control.tasks.Planning`.

    Attributes:
        observation: The vector that the dynamics work on, in order.
        correction: The correction vector c.
        correction_map: Name of the map that corrects the action.
        decision_ticks: Control periods that one correction is held.
        planning_ticks: Control periods from an observation to the effect of the plan made from it.
        outputs: Names of the quantities that the network learned; ``log_variance`` is theirs.
    """

    observation: tuple[Quantity, ...]
    correction: tuple[Quantity, ...]
    correction_map: str
    decision_ticks: int
    planning_ticks: int
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, task: Task) -> PlanningContract | None:
        """That of a task, or None if its plans decide on the action itself."""
        planning = task.planning
        if planning is None:
            return None
        return cls(
            observation=task.planning_problem.observation,
            correction=planning.correction,
            correction_map=planning.correct.name,
            decision_ticks=planning.decision_ticks,
            planning_ticks=planning.planning_ticks,
            outputs=planning.transition.outputs,
        )

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any] | None) -> PlanningContract | None:
        """Parse the field ``planning`` of contract.json.

        Raises:
            BundleError: A missing, unknown or wrongly typed field.
        """
        if raw is None:
            return None
        expected: dict[str, type] = {
            "observation": list, "correction": list, "correction_map": str, "decision_ticks": int,
            "planning_ticks": int, "outputs": list,
        }  # fmt: skip
        if not isinstance(raw, dict) or set(raw) - set(expected):
            raise BundleError(f"contract.json: planning = {shown(raw)}, expected an object with {', '.join(expected)}")
        values = {name: _typed(raw, name, kind) for name, kind in expected.items()}
        for name in ("observation", "correction"):
            values[name] = _quantities(values[name], f"planning.{name}")
        values["outputs"] = _words(values["outputs"], "planning.outputs")
        return cls(**values)


@dataclass(frozen=True)
class Contract:
    """What the graphs of a bundle expect and promise.

    Attributes:
        task: Name of the task.
        observation: Names, units and ranges of the observation vector, in order.
        action: The same of the action vector, in physical units.
        control_period_s: Time between two actions of the policy.
        model_period_s: Time that one step of the dynamics spans.
        members: Ensemble members inside dynamics.onnx.
        opset: ONNX operator set of all graphs.
        files: SHA-256 of each file, by name.
        provenance: How it was made: command, seed, versions, hash of the training data.
        metrics: Measured quality.
        planning: The planning problem where plans decide on corrections of the action, else None.
        outputs: Names of the learned quantities where they are neither the changes of the observation's entries nor
            those of ``planning``; ``log_variance`` is theirs.
    """

    task: str
    observation: tuple[Quantity, ...]
    action: tuple[Quantity, ...]
    control_period_s: float
    model_period_s: float
    members: int
    opset: int
    files: Mapping[str, str]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    planning: PlanningContract | None = None
    outputs: tuple[str, ...] = ()

    @property
    def model_observation(self) -> tuple[Quantity, ...]:
        """The vector that the dynamics work on."""
        return self.observation if self.planning is None else self.planning.observation

    @property
    def model_action(self) -> tuple[Quantity, ...]:
        """What the dynamics are driven by."""
        return self.action if self.planning is None else self.planning.correction

    @property
    def num_model_outputs(self) -> int:
        """Number of learned quantities."""
        if self.planning is not None:
            return len(self.planning.outputs)
        return len(self.outputs or self.observation)

    def to_json(self) -> str:
        """The text of contract.json."""
        fields = {"format": FORMAT, **asdict(self)}
        if self.planning is None:
            del fields["planning"]
        if not self.outputs:
            del fields["outputs"]
        return json.dumps(fields, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Parse contract.json.

        Raises:
            BundleError: Not JSON, a missing, unknown or wrongly typed field, or another format version.
        """
        try:
            raw = load_json(text)
        except TextError as error:
            raise BundleError(f"contract.json: not valid JSON ({error})") from None
        if not isinstance(raw, dict):
            raise BundleError(f"contract.json: expected an object, got {type(raw).__name__}")
        if raw.get("format") != FORMAT:
            raise BundleError(f"contract.json: format = {shown(raw.get('format'))}, expected {FORMAT}")
        expected: dict[str, type] = {
            "task": str, "observation": list, "action": list, "control_period_s": float,
            "model_period_s": float, "members": int, "opset": int, "files": dict,
            "provenance": dict, "metrics": dict,
        }  # fmt: skip
        for name in raw:
            if name not in expected and name not in ("format", "planning", "outputs"):
                raise BundleError(
                    f"contract.json: unknown field {name!r}; known: {', '.join(expected)}, planning, outputs"
                )
        values = {name: _typed(raw, name, kind) for name, kind in expected.items()}
        values["observation"] = _quantities(values["observation"], "observation")
        values["action"] = _quantities(values["action"], "action")
        values["outputs"] = _words(_typed({"outputs": [], **raw}, "outputs", list), "outputs")
        contract = cls(**values, planning=PlanningContract.from_raw(raw.get("planning")))
        contract._check_values()
        return contract

    def _check_values(self) -> None:
        """Ranges of the plain fields."""
        for name in ("control_period_s", "model_period_s"):
            if not 0.0 < getattr(self, name) <= 10.0:  # noqa: PLR2004 - no robot is that slow
                raise BundleError(f"contract.json: {name} = {shown(getattr(self, name))}, expected seconds in (0, 10]")
        if self.members < 1:
            raise BundleError(f"contract.json: members = {self.members}, expected at least 1")
        for name, digest in self.files.items():
            if not isinstance(digest, str) or len(digest) != _SHA256_LENGTH:
                raise BundleError(f"contract.json: files[{name!r}] = {shown(digest)}, expected a SHA-256 in hex")
            if "/" in name or "\\" in name or name.startswith("."):
                raise BundleError(f"contract.json: files names {name!r}, expected a plain file name")

    def check_task(self, task: Task) -> None:
        """Compare with a task.

        Raises:
            BundleError: The first field that differs.
        """
        pairs: list[tuple[str, object, object]] = [("task", self.task, task.name)]
        for vector in ("observation", "action"):
            mine, theirs = getattr(self, vector), getattr(task, vector)
            pairs.append((f"length of {vector}", len(mine), len(theirs)))
            for i, (a, b) in enumerate(zip(mine, theirs, strict=False)):
                pairs += [(f"{vector}[{i}].{key}", getattr(a, key), getattr(b, key)) for key in asdict(b)]
        pairs.append(("control_period_s", self.control_period_s, task.control_period_s))
        pairs.append(("model_period_s", self.model_period_s, task.planning_problem.control_period_s))
        pairs.append(("outputs", self.outputs, learned_names(task)))
        mine, theirs = (vars(planning) if planning else {} for planning in (self.planning, PlanningContract.of(task)))
        pairs += [(f"planning.{name}", mine.get(name), theirs.get(name)) for name in {**theirs, **mine}]
        for name, value, expectation in pairs:
            if value != expectation:
                raise BundleError(f"contract.json: {name} = {value!r}, task '{task.name}' expects {expectation!r}")


def learned_names(task: Task) -> tuple[str, ...]:
    """What the contract's ``outputs`` are for a task."""
    return task.transition.outputs if task.planning is None and task.transition is not None else ()


def _typed(raw: Mapping[str, Any], name: str, kind: type, path: str = "") -> Any:  # noqa: ANN401 - of type ``kind``
    """raw[name] in its type, or a BundleError."""
    if name not in raw:
        raise BundleError(f"contract.json: field '{path}{name}' is missing, expected {kind.__name__}")
    value = raw[name]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise BundleError(f"contract.json: {path}{name} = {shown(value)}, expected {kind.__name__}")
    return value


def _words(raw: list[Any], name: str) -> tuple[str, ...]:
    """A list of words, or a BundleError."""
    if not all(isinstance(word, str) for word in raw):
        raise BundleError(f"contract.json: {name} = {shown(raw)}, expected words")
    return tuple(raw)


def _quantities(raw: list[Any], vector: str) -> tuple[Quantity, ...]:
    """The quantities of one vector, or a BundleError."""
    if not raw:
        raise BundleError(f"contract.json: {vector} is empty, expected at least one quantity")
    quantities = []
    for i, entry in enumerate(raw):
        where = f"contract.json: {vector}[{i}]"
        if not isinstance(entry, dict) or set(entry) != {"name", "unit", "minimum", "maximum"}:
            raise BundleError(f"{where} = {shown(entry)}, expected name, unit, minimum and maximum")
        name, unit = (_typed(entry, key, str, f"{vector}[{i}].") for key in ("name", "unit"))
        minimum, maximum = (_typed(entry, key, float, f"{vector}[{i}].") for key in ("minimum", "maximum"))
        try:
            quantities.append(Quantity(name, unit, minimum, maximum))
        except ConfigurationError as error:
            raise BundleError(f"{where}: {error}") from None
    names = [quantity.name for quantity in quantities]
    if len(set(names)) != len(names):
        raise BundleError(f"contract.json: {vector} has a name twice: {shown(names)}")
    return tuple(quantities)
