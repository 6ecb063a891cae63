"""Texts that others wrote, as plain values: whatever stands in them, a value that is safe to use or one error."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Hashable
from typing import Any, NoReturn

import yaml

_MAXIMUM_PARTS = 200_000
"""Values in one text, references to other parts of it followed: those of a few kilobytes can stand for billions."""
_SHOWN_CHARACTERS = 200
_REASON_CHARACTERS = 400
"""Of why a text cannot be used: some reasons quote all of a value."""
_LARGEST_INT = 2**63 - 1
_YAML_ERRORS = (
    yaml.YAMLError,
    # Of values that are not what their tag or look says: !!int '', !!bool maybe, !!timestamp x, 2020-99-99, 0x_.
    ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError,
    RecursionError,
)  # fmt: skip


class TextError(ValueError):
    """A text that cannot be used; says why, in one line."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line: those of some libraries go on for many, and some say nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


# The parser in C is ten times as fast, where it is installed.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a name that occurs twice: the first one would be lost silently."""


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    names = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in names:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' occurs twice", key.start_mark)
            names.add(key.value)
    mapping: dict[Hashable, Any] = loader.construct_mapping(node, deep=True)
    return mapping


_Loader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def load_yaml(text: str) -> object:
    """The value of a YAML text.

    Raises:
        TextError: No YAML, a name twice, a part that contains itself, or more or larger values than anybody means.
    """
    try:
        value: object = yaml.load(text, _Loader)
        _count_parts(value, {})
    except TextError:
        raise
    except _YAML_ERRORS as error:
        raise TextError(_one_line(error)) from None
    return value


def load_json(text: str) -> object:
    """The value of a JSON text.

    Raises:
        TextError: No JSON, a name twice, a number that is not finite, or more or larger values than anybody means.
    """
    try:
        value: object = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique_names
        )
        _count_parts(value, {})
    except TextError:
        raise
    except (ValueError, RecursionError) as error:
        raise TextError(_one_line(error)) from None
    return value


def finite_only(value: Any) -> Any:  # noqa: ANN401 - whatever JSON has
    """The same with None for numbers that are not finite, which JSON has none of."""
    if isinstance(value, dict):
        return {name: finite_only(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [finite_only(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def number_or_word(value: object) -> object:
    """A value; YAML 1.1 takes 1e-3 for a word, people mean the number."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def shown(value: object) -> str:
    """A value for a message: its beginning, if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _one_line(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = " ".join(f"{error}".split()) or type(error).__name__
    text = text if len(text) <= _REASON_CHARACTERS else text[:_REASON_CHARACTERS] + "…"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _count_parts(value: object, counted: dict[int, int]) -> int:
    """Number of values in a value, itself included; checks each.

    Args:
        value: It.
        counted: Those of the containers that were looked at, by their identity; 0 while one is being looked at.
    """
    if isinstance(value, str):
        # Half a pair of UTF-16 can be neither shown nor written.
        value.encode()
    elif isinstance(value, int) and abs(value) > _LARGEST_INT:
        raise TextError("a whole number is larger than 64 bits hold")
    if not isinstance(value, (dict, list, tuple, set)):
        return 1
    if id(value) in counted:
        if counted[id(value)] == 0:
            raise TextError("a part contains itself")
        return counted[id(value)]
    counted[id(value)] = 0
    if isinstance(value, dict):
        for name in value:
            if isinstance(name, str) and not name.isprintable():
                raise TextError(f"the name {shown(name)} has a character that cannot be shown")
    inside = (*value.keys(), *value.values()) if isinstance(value, dict) else value
    parts = 1 + sum(_count_parts(part, counted) for part in inside)
    if parts > _MAXIMUM_PARTS:
        raise TextError(f"has more than {_MAXIMUM_PARTS} values")
    counted[id(value)] = parts
    return parts


def _refuse_constant(name: str) -> NoReturn:
    raise TextError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise TextError(f"{text[:_SHOWN_CHARACTERS]} is too large")
    return number


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        listed = [name for name, _ in pairs]
        twice = next(name for name in names if listed.count(name) > 1)
        raise TextError(f"{twice!r} occurs twice")
    return names
