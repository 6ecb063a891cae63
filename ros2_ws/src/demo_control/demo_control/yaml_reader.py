"""A YAML file read field by field, with errors that name file, field, value and what is allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from demo_control.configuration import ConfigurationError, Scalar, Settings
from demo_control.texts import TextError, load_yaml, number_or_word, shown

SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True)
class Section:
    """A mapping of the file.

    Attributes:
        file: Name of the file.
        path: Where in the file: 'methods.sac.', '' for the whole.
        values: What stands there.
    """

    file: str
    path: str
    values: Mapping[str, object]

    def wrong(self, name: str, value: object, allowed: str) -> ConfigurationError:
        """The error for a field."""
        return ConfigurationError(f"{self.file}: {self.path}{name} = {shown(value)}: {allowed}")

    def check_names(self, known: Collection[str]) -> None:
        """Refuse fields that are not known.

        Raises:
            ConfigurationError: With the nearest known name.
        """
        for name in self.values:
            if name not in known:
                raise ConfigurationError(f"{self.file}: unknown field '{self.path}{name}'{_hint(name, known)}")

    def text(self, name: str) -> str:
        """A text, '' by default."""
        value = self.values.get(name, "")
        if not isinstance(value, str):
            raise self.wrong(name, value, "must be a text")
        return value.strip()

    def word(self, name: str, default: str, allowed: Iterable[str] | None = None) -> str:
        """A word, one of the allowed ones if these are given."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, value, "must be a word")
        choices = None if allowed is None else list(allowed)
        if choices is not None and name in self.values and value not in choices:
            raise self.wrong(
                name, value, f"must be one of {', '.join(choices)}{_hint(value, choices, known_too=False)}"
            )
        return value

    def words(self, name: str, allowed: Collection[str]) -> list[str]:
        """A list of words, each one of the allowed ones."""
        value = self.values.get(name, [])
        if not isinstance(value, list) or any(not isinstance(word, str) or word not in allowed for word in value):
            raise self.wrong(name, value, f"must be a list of some of {', '.join(allowed) or 'nothing'}")
        return cast("list[str]", value)

    def whole(self, name: str, default: int | None, minimum: int) -> int:
        """A whole number; without a default it must be there."""
        value = self.values.get(name, default)
        if type(value) is not int or value < minimum:
            raise self.wrong(name, value, f"must be a whole number, at least {minimum}")
        return value

    def numbers(self, name: str) -> list[float]:
        """A list of numbers, or one number; [] by default."""
        value = self.values.get(name, [])
        listed = value if isinstance(value, list) else [value]
        numbers = [number_or_word(number) for number in listed]
        for number in numbers:
            if isinstance(number, (bool, str)) or not isinstance(number, (int, float)) or not math.isfinite(number):
                raise self.wrong(name, value, "must be a list of numbers")
        return [float(cast(float, number)) for number in numbers]

    def mapping(self, name: str) -> dict[str, object]:
        """Names and what stands there; {} by default."""
        value = self.values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(name, value, "must be names with values")
        for key in value:
            if not isinstance(key, str):
                raise self.wrong(name, value, f"{key!r} must be a word; put it in quotes")
        return cast("dict[str, object]", value)

    def scalars(self, name: str) -> dict[str, Scalar]:
        """Names with one number, word, true or false each."""
        return Section(self.file, f"{self.path}{name}.", self.mapping(name)).own_scalars()

    def own_scalars(self) -> dict[str, Scalar]:
        """All that stands here as names with one number, word, true or false each."""
        scalars: dict[str, Scalar] = {}
        for name, value in self.values.items():
            scalar = number_or_word(value)
            if not isinstance(scalar, (bool, int, float, str)):
                raise self.wrong(name, value, "must be one number, word, true or false")
            if isinstance(scalar, float) and not math.isfinite(scalar):
                raise self.wrong(name, value, "must be finite")
            scalars[name] = scalar
        return scalars

    def settings(self, name: str, base: SettingsT) -> SettingsT:
        """Settings that differ from others."""
        return type(base).from_mapping(self.scalars(name), source=f"{self.file}: {self.path}{name}", base=base)

    def sections(self, name: str) -> Iterator[tuple[str, Section]]:
        """Names with a section each, which may be empty; of a field, or with '' of this section itself."""
        mapping = self.mapping(name) if name else dict(self.values)
        path = f"{self.path}{name}." if name else self.path
        outer = Section(self.file, path, mapping)
        for key in mapping:
            yield key, Section(self.file, f"{path}{key}.", outer.mapping(key))


def read_yaml(path: Path) -> Section:
    """Read a file that holds one mapping.

    Raises:
        ConfigurationError: It is no YAML, or no mapping.
        OSError: It cannot be read.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (TextError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: no YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: expected names with values")
    whole = Section(str(path), "", {"": content})
    return Section(str(path), "", whole.mapping(""))


def _hint(name: str, known: Collection[str], *, known_too: bool = True) -> str:
    """The nearest known name, or all of them."""
    near = difflib.get_close_matches(str(name), known, n=1)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(known)}" if known_too else ""
