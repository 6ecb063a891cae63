"""Definitions of message types as text: found where a type is installed, and understood where it is not."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from demo_control.bags.errors import BagError

_SEPARATOR = "\n" + "=" * 80 + "\n"
_FIELD_TYPE = re.compile(r"^\s*([A-Za-z][\w/]*)(?:\[[^\]]*\])?\s+[A-Za-z]\w*", re.MULTILINE)
_PARTS = 3


@cache
def installed_definition(type_name: str) -> str:
    """Definition of an installed type, followed by those of all types that it contains, as bags hold it.

    Args:
        type_name: For example 'std_msgs/msg/Header'.

    Raises:
        BagError: No package of AMENT_PREFIX_PATH has it, nor the Python environment.
    """
    own = _text_of(type_name)
    texts: dict[str, str] = {}
    open_ends = [(type_name, own)]
    while open_ends:
        name, text = open_ends.pop()
        for contained in _contained(name, text):
            if contained not in texts and contained != type_name:
                texts[contained] = _text_of(contained)
                open_ends.append((contained, texts[contained]))
    parts = [f"MSG: {name.replace('/msg/', '/')}\n{text}" for name, text in texts.items()]
    return _SEPARATOR.join([own, *parts])


@cache
def known_definition(type_name: str, distribution: str = "") -> str:
    """Definition of a type that a recording has none of: ROS 2's own, or that of an installed package.

    Args:
        type_name: For example 'std_msgs/msg/Header'.
        distribution: ROS 2's, with which it was recorded, for example 'humble'; '' where that is not known.

    Returns:
        With the types that it contains; '' if it is not known.
    """
    stores = {store.value: store for store in Stores}
    store = get_typestore(stores.get(f"ros2_{distribution}", stores["ros2_jazzy"]))
    if type_name in store.fielddefs:
        return str(store.generate_msgdef(type_name, ros_version=2)[0])
    try:
        return installed_definition(type_name)
    except (BagError, OSError, UnicodeDecodeError):
        return ""


def type_hash(type_name: str, definition: str) -> str:
    """The type's hash as ROS 2 has it (REP 2011), '' for a definition that cannot be understood."""
    try:
        return str(_store(((type_name, definition),)).hash_rihs01(type_name))
    except Exception:  # rosbags raises whatever it runs into, for example a KeyError for a type that is not there
        return ""


class Decoder:
    """Makes messages of bytes, by the definitions that a bag holds.

    Args:
        definitions: (type name, definition) of every type; must be ROS 2's .msg form.

    Raises:
        BagError: A definition that cannot be understood.
    """

    def __init__(self, definitions: Iterable[tuple[str, str]]) -> None:
        definitions = tuple(definitions)
        self.types = frozenset(name for name, _ in definitions)
        self._store = _store(definitions)

    def fields(self, type_name: str) -> frozenset[str]:
        """Names of a type's fields."""
        return frozenset(name for name, _ in self._store.fielddefs[type_name][1])

    def decode(self, data: bytes, type_name: str) -> Any:  # noqa: ANN401 - of the type
        """One message.

        Raises:
            BagError: Bytes that are no message of this type.
        """
        try:
            return self._store.deserialize_cdr(data, type_name)
        except Exception as error:  # rosbags raises whatever its generated code runs into
            raise BagError(f"a message is no {type_name} ({type(error).__name__})") from None


@lru_cache(maxsize=64)
def _store(definitions: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401 - rosbags' name for it is not public
    """A store of types."""
    store = get_typestore(Stores.EMPTY)
    for name, text in definitions:
        try:
            types = get_types_from_msg(text, name)
            store.register({key: value for key, value in types.items() if key not in store.fielddefs})
        except Exception as error:  # rosbags' parser raises its own and Python's errors
            raise BagError(f"type {name}: its definition cannot be understood ({type(error).__name__})") from None
        if name not in store.fielddefs:
            raise BagError(f"type {name}: the bag holds no definition of it")
    return store


def _contained(type_name: str, text: str) -> list[str]:
    """Full names of the message types that a definition's fields have."""
    package = type_name.split("/", 1)[0]
    without_comments = re.sub(r"#.*", "", text)
    found = []
    for name in _FIELD_TYPE.findall(without_comments):
        parts = name.split("/")
        if len(parts) > 1:
            found.append(f"{parts[0]}/msg/{parts[-1]}")
        elif name == "Header":
            found.append("std_msgs/msg/Header")
        elif name[0].isupper():
            found.append(f"{package}/msg/{name}")
    return found


def _text_of(type_name: str) -> str:
    """A type's own definition."""
    parts = type_name.split("/")
    if len(parts) != _PARTS or parts[1] != "msg":
        raise BagError(f"type '{type_name}': expected package/msg/Name")
    for prefix in _prefixes():
        path = prefix / "share" / parts[0] / "msg" / f"{parts[2]}.msg"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise BagError(f"type '{type_name}': no installed package has its definition")


def _prefixes() -> list[Path]:
    """Where ROS packages are installed: the sourced ones, then the Python environment (ROS 2 from PyPI)."""
    sourced = [Path(entry) for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    return [*sourced, Path(sys.prefix)]
