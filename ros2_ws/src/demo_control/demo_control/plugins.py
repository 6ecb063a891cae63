"""Plug-ins: what the entry points of installed packages name, loaded so that a broken one is one clear error."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TypeVar

from demo_control.configuration import ConfigurationError
from demo_control.texts import kind_and_first_line

PluginT = TypeVar("PluginT")


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
    try:
        loaded = point.load()
        plugin = loaded() if is_made else loaded
    except Exception as error:  # whatever another package's module raises when it is imported
        raise ConfigurationError(f"{told} cannot be loaded: {kind_and_first_line(error)}") from error
    if not isinstance(plugin, kind):
        raise ConfigurationError(f"{told}: expected a {kind.__name__}, not a {type(plugin).__name__}")
    return plugin
