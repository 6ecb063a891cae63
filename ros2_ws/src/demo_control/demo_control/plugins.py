"""Plug-ins: what the entry points of installed packages name, loaded so that a broken one is one clear error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from typing import TypeVar

from demo_control.configuration import ConfigurationError
from demo_control.texts import first_line

PluginT = TypeVar("PluginT")


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """For code of other packages: whatever it raises becomes one line, and nobody can know what that is.

    Args:
        what: Is called, for people.

    Raises:
        ConfigurationError: Something was raised; tells what, its kind, and what it says, if anything.
    """
    try:
        yield
    except Exception as error:
        kind, said = type(error).__name__, first_line(error)
        raise ConfigurationError(f"{what}: {kind}" + (f": {said}" if said != kind else "")) from error


def load_plugin(point: EntryPoint, kind: type[PluginT], *, is_made: bool = False) -> PluginT:
    """Load what an entry point names.

    Args:
        point: The entry point.
        kind: What is expected of it.
        is_made: Whether it names a function without arguments that makes the plug-in.

    Raises:
        ConfigurationError: It cannot be loaded, or is something else; names entry point, value and error.
    """
    told = f"plug-in '{point.name}' = '{point.value}' of {point.group}"
    with in_one_line(f"{told} cannot be loaded"):
        loaded = point.load()
        plugin = loaded() if is_made else loaded
    if not isinstance(plugin, kind):
        raise ConfigurationError(f"{told}: expected a {kind.__name__}, not a {type(plugin).__name__}")
    return plugin
