"""Settings: frozen dataclasses that validate themselves and describe themselves.

A setting is declared once with :func:`setting`: default, unit-bearing name, description, allowed range and
whether it may change while the node runs. The same declaration validates values wherever they come from
(Python, YAML, the command line, ROS parameters) and yields the ROS parameter descriptors.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast, get_type_hints

from demo_control.texts import TextError, load_yaml, number_or_word, shown

SettingsT = TypeVar("SettingsT", bound="Settings")
Scalar = bool | int | float | str

_KEY = "demo_control.setting"


class ConfigurationError(ValueError):
    """A setting with a wrong name, type or value; the text names field, value and what is allowed."""


class UnknownSettingError(ConfigurationError):
    """A name that no setting has.

    Args:
        name: What was asked for.
        known: All names that there are.
        source: Where it stands; '' where that is plain.
    """

    def __init__(self, name: str, known: Sequence[str], source: str = "") -> None:
        super().__init__(name, known, source)
        self.name, self.known, self.source = name, known, source

    def __str__(self) -> str:
        """With the nearest known name, or else all of them."""
        near = difflib.get_close_matches(self.name, self.known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(self.known)}"
        return f"{f'{self.source}: ' if self.source else ''}unknown setting '{self.name}'{hint}"


@dataclass(frozen=True)
class Description:
    """What is known of one setting besides its type and default.

    Attributes:
        text: One sentence for people, shown by ``ros2 param describe`` and the docs.
        minimum: Smallest allowed value (inclusive), or None.
        maximum: Largest allowed value (inclusive), or None.
        choices: The allowed values, or empty for no restriction. A registry (a mapping by name) is looked at whenever
            a value is checked: what is added to it later is allowed, too.
        in_flight: True where the value may change while the node is active.
    """

    text: str
    minimum: float | None = None
    maximum: float | None = None
    choices: Collection[str] = ()
    in_flight: bool = False

    def allowed(self) -> str:
        """The allowed values in words, for messages."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"between {self.minimum:g} and {self.maximum:g}"
        if self.minimum is not None:
            return f"at least {self.minimum:g}"
        if self.maximum is not None:
            return f"at most {self.maximum:g}"
        return "any value of its type"


@dataclass(frozen=True)
class Entry:
    """One declared setting of a :class:`Settings` class: name, type, default and description."""

    name: str
    type: type
    default: Scalar
    description: Description


def setting(
    default: Scalar,
    text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Collection[str] = (),
    in_flight: bool = False,
) -> Any:  # noqa: ANN401 - a dataclass field takes the type of the attribute it is assigned to
    """Declare one setting; arguments as in :class:`Description`."""
    description = Description(text, minimum, maximum, choices, in_flight)
    return dataclasses.field(default=default, metadata={_KEY: description})


@dataclass(frozen=True)
class Settings:
    """Base of all settings classes: scalar fields only, validated on construction.

    Raises:
        ConfigurationError: A value of the wrong type, not finite, or outside its range.
    """

    def __post_init__(self) -> None:
        """Validate every field, and turn whole numbers into floats where a float is declared."""
        for entry in self.entries():
            value = _checked(type(self).__name__, entry, getattr(self, entry.name))
            object.__setattr__(self, entry.name, value)

    @classmethod
    def entries(cls) -> Iterator[Entry]:
        """The declared settings, in order."""
        types = get_type_hints(cls)
        for field in dataclasses.fields(cls):
            description = field.metadata.get(_KEY)
            if description is None:
                raise TypeError(f"{cls.__name__}.{field.name} is not declared with setting()")
            yield Entry(field.name, types[field.name], cast(Scalar, field.default), description)

    @classmethod
    def from_mapping(
        cls: type[SettingsT],
        values: Mapping[str, object],
        *,
        source: str = "",
        base: SettingsT | None = None,
    ) -> SettingsT:
        """Build from names and values; missing names keep their default, or ``base``'s value.

        Raises:
            ConfigurationError: An unknown name (with the nearest known one), or a bad value.
        """
        prefix = f"{source}: " if source else ""
        known = [entry.name for entry in cls.entries()]
        for name in values:
            if name not in known:
                raise UnknownSettingError(str(name), known, source)
        try:
            return dataclasses.replace(base or cls(), **cast("dict[str, Any]", dict(values)))
        except ConfigurationError as error:
            raise ConfigurationError(f"{prefix}{error}") from None

    def as_mapping(self) -> dict[str, Scalar]:
        """All values by name."""
        return {entry.name: getattr(self, entry.name) for entry in self.entries()}


def _checked(owner: str, entry: Entry, value: object) -> Scalar:
    """The value in its declared type, or a ConfigurationError."""
    where = f"{owner}.{entry.name}"
    description = entry.description
    if entry.type is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise ConfigurationError(f"{where} = {shown(value)}: must be finite") from None
    if type(value) is not entry.type:
        raise ConfigurationError(
            f"{where} = {shown(value)}: expected {entry.type.__name__}, got {type(value).__name__}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{where} = {shown(value)}: must be finite")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        below = description.minimum is not None and value < description.minimum
        above = description.maximum is not None and value > description.maximum
        if below or above:
            raise ConfigurationError(f"{where} = {shown(value)}: must be {description.allowed()}")
    if description.choices and value not in description.choices:
        raise ConfigurationError(f"{where} = {shown(value)}: must be {description.allowed()}")
    return cast(Scalar, value)


def parse_assignments(assignments: Sequence[str]) -> dict[str, Scalar]:
    """Parse ``name=value`` texts of the command line; values are read as YAML scalars.

    Raises:
        ConfigurationError: Text without '=', or a value that is no scalar.
    """
    values: dict[str, Scalar] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name.strip():
            raise ConfigurationError(f"'{assignment}': expected name=value")
        try:
            value = number_or_word(load_yaml(text))
        except TextError:
            raise ConfigurationError(f"'{assignment}': cannot read the value '{text}'") from None
        if not isinstance(value, (bool, int, float, str)):
            raise ConfigurationError(f"'{assignment}': expected one number, word, true or false")
        values[name.strip()] = value
    return values
