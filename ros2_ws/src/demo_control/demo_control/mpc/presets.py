"""Named settings: rows of the thesis's table of methods that this frame contains."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from demo_control.configuration import ConfigurationError, Scalar

PRESETS: Mapping[str, Mapping[str, Scalar]] = MappingProxyType(
    {
        "demo_layer": {"shift": "hybrid", "utility": "elite_fraction", "step_size": 0.6},
        "demo_layer_thesis": {"shift": "policy", "utility": "elite_fraction", "step_size": 0.9},
    }
)
"""Settings by preset: the DeMo layer as it measured best, and with the thesis's pure policy shift."""


def preset(name: str) -> Mapping[str, Scalar]:
    """The settings of a preset.

    Raises:
        ConfigurationError: No such preset.
    """
    if name not in PRESETS:
        raise ConfigurationError(f"preset = '{name}': must be one of {', '.join(PRESETS)}")
    return PRESETS[name]
