"""Ways of planning that the study compares, as data: a name and what is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from demo_control.configuration import Scalar
from demo_control.mpc import PRESETS, PlannerSettings, preset

NOISE, PRESET, BOTH = "noise", "presets", "both"
FIGURES = (NOISE, PRESET)

OF_THE_PROBLEM = ("num_samples", "horizon", "terminal_weight", "noise_standard_deviation")
_NOT_THE_METHOD = (*OF_THE_PROBLEM, "command_delay_ticks", "engine", "engine_threads")


@dataclass(frozen=True)
class Style:
    """How a line is drawn."""

    colour: str
    line: str = "-"
    marker: str = "o"


@dataclass(frozen=True)
class Variant:
    """One way of planning.

    Attributes:
        name: For the command line and the tables.
        figure: In which figure it is drawn: 'noise', 'presets' or 'both'.
        settings: All that belongs to the method; the problem adds :data:`OF_THE_PROBLEM`. Empty for the settings
            that the problem's task ships with. None for the policy alone.
        text: One sentence for people.
        style: How its line is drawn.
    """

    name: str
    figure: str
    settings: Mapping[str, Scalar] | None
    text: str
    style: Style


def _whole(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The method's settings with the defaults of those not given, so that nothing comes from a task's own."""
    settings = PlannerSettings.from_mapping(values).as_mapping()
    return {name: value for name, value in settings.items() if name not in _NOT_THE_METHOD}


_BLUE, _ORANGE, _GREEN, _PINK, _GREY, _BLACK = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#888888", "#000000"
"""Colours that are told apart by all readers (M. Okabe, K. Ito, *Color Universal Design*, 2008)."""


def _noise_kinds() -> list[Variant]:
    """Kinds of noise in one plain planner: the plan before, shifted, moved by the elites among the samples."""
    plain: dict[str, Scalar] = {"shift": "shift_and_repeat", "utility": "elite_fraction", "step_size": 0.9}
    kinds: list[tuple[str, Mapping[str, Scalar], str, str]] = [
        ("white", {}, "White noise", _BLUE),
        ("held", {"noise_held_share": 0.5}, "Half of the samples with noise that is the same at every step", _PINK),
    ]
    return [
        Variant(name, NOISE, _whole({**plain, **values}), text, Style(colour)) for name, values, text, colour in kinds
    ]


def _presets() -> list[Variant]:
    return [Variant(name, PRESET, _whole(preset(name)), f"Preset {name}", Style(_BLUE)) for name in PRESETS]


POLICY = Variant("policy", BOTH, None, "The policy alone", Style(_GREY, ":"))
SHIPPED = Variant("shipped", BOTH, {}, "The settings that the task ships with", Style(_BLACK, "-", "s"))
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in (POLICY, SHIPPED, *_noise_kinds(), *_presets())}
"""By name, in the order of the tables."""
QUICK_VARIANTS = ("policy", "shipped", "white", "demo_layer")
"""Those of a quick look."""
