"""Ways of planning that the study compares, as data: a name and what is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from demo_control.configuration import Scalar
from demo_control.mpc import PRESETS, PlannerSettings, preset

NOISE, PRESET, LAYER = FIGURES = ("noise", "presets", "layer")
"""Kinds of noise in one plain planner; presets; the DeMo Layer, improved step by step."""

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
        figures: In which figures it is drawn; see :data:`FIGURES`.
        settings: All that belongs to the method; the problem adds :data:`OF_THE_PROBLEM`. Empty for the settings
            that the problem's task ships with. None for the policy alone.
        text: One sentence for people.
        style: How its line is drawn.
    """

    name: str
    figures: tuple[str, ...]
    settings: Mapping[str, Scalar] | None
    text: str
    style: Style


def _whole(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The method's settings with the defaults of those not given, so that nothing comes from a task's own."""
    settings = PlannerSettings.from_mapping(values).as_mapping()
    return {name: value for name, value in settings.items() if name not in _NOT_THE_METHOD}


_BLUE, _ORANGE, _GREEN, _PINK, _GREY, _BLACK = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#888888", "#000000"
"""Colours that are told apart by all readers (M. Okabe, K. Ito, *Color Universal Design*, 2008)."""


_PLAIN: Mapping[str, Scalar] = {"shift": "shift_and_repeat", "utility": "elite_fraction", "step_size": 0.9}
"""The planner of the noise kinds: the plan before, moved on, and the elites among the samples around it."""
_KEPT: Mapping[str, Scalar] = {"keep_elites": 0.3}
_KINDS: tuple[tuple[str, Mapping[str, Scalar], str, str], ...] = (
    ("white", {"noise": "white"}, "White noise", _BLUE),
    ("coloured_1", {"noise": "coloured", "noise_colour_exponent": 1.0}, "Coloured noise, β = 1", _ORANGE),
    ("coloured_2", {"noise": "coloured", "noise_colour_exponent": 2.0}, "Coloured noise, β = 2", _GREEN),
    ("knots", {"noise": "knots", "noise_knots": 5}, "Straight lines between 5 knots", _PINK),
)


def _noise_kinds() -> list[Variant]:
    kinds = []
    for name, values, text, colour in _KINDS:
        kinds.append(Variant(name, (NOISE,), _whole({**_PLAIN, **values}), text, Style(colour)))
        kept = _whole({**_PLAIN, **values, **_KEPT})
        kept_text = f"{text}; 30 % of the elites are samples again"
        kinds.append(Variant(f"{name}_kept", (NOISE,), kept, kept_text, Style(colour, "--", "^")))
    return kinds


LEFT_OUT: Mapping[str, str] = {
    "mbpo": "makes no mirror step, so it is the policy alone",
    "polo": "is mppi but for the value at the horizon's end, and no shipped bundle has a value function",
}
"""Presets that would be a second line in the same place, and why."""

_PRESET_STYLES: Mapping[str, Style] = {
    "mppi": Style(_BLUE),
    "mopac": Style(_BLUE, "--", "^"),
    "cem": Style(_ORANGE),
    "pets": Style(_ORANGE, ":", "v"),
    "icem": Style(_ORANGE, "--", "^"),
    "topdm": Style(_GREEN),
    "demo_layer": Style(_PINK),
    "demo_layer_thesis": Style(_PINK, ":", "v"),
    "demo_rl": Style(_PINK, "--", "^"),
}
"""A colour for each family: softmax, cross-entropy, best sample, and the method of this project."""


def _presets() -> list[Variant]:
    """The presets, first those with a style."""
    names = dict.fromkeys([*_PRESET_STYLES, *PRESETS])
    presets = [
        Variant(
            name, (PRESET, LAYER) if name == "demo_layer" else (PRESET,), _whole(preset(name)), f"Preset {name}",
            _PRESET_STYLES.get(name, Style(_GREY)),
        )
        for name in names
        if name in PRESETS and name not in LEFT_OUT
    ]  # fmt: skip
    cold = _whole({**preset("mppi"), "temperature": 0.02})
    return [
        *presets,
        Variant("mppi_cold", (PRESET,), cold, "Preset mppi with a fifth of its temperature", Style(_BLUE, "-.", "s")),
    ]


_IMPROVEMENTS: tuple[tuple[str, Mapping[str, Scalar], str, str], ...] = (
    ("layer_steps", {"mirror_steps": 3, "covariance": "adapted", "covariance_step_size": 0.9},
     "Preset demo_layer with three mirror steps and a spread that follows the elites", _BLUE),
    ("layer_kept", _KEPT, "The same, and 30 % of the elites are samples again", _ORANGE),
    ("layer_coloured", {"noise": "coloured", "noise_colour_exponent": 1.0},
     "The same with coloured noise, β = 1", _GREEN),
)  # fmt: skip


def _layers() -> list[Variant]:
    """The DeMo Layer with more and more of what the cross-entropy methods do."""
    settings = dict(preset("demo_layer"))
    tail = _whole({**settings, "shift": "policy_tail"})
    tail_text = "Preset demo_layer without the policy's rollout as a candidate (shift policy_tail)"
    layers = [Variant("layer_tail", (LAYER,), tail, tail_text, Style(_GREY, "--", "v"))]
    for name, values, text, colour in _IMPROVEMENTS:
        settings.update(values)
        layers.append(Variant(name, (LAYER,), _whole(settings), text, Style(colour)))
    return layers


POLICY = Variant("policy", FIGURES, None, "The policy alone", Style(_GREY, ":"))
SHIPPED = Variant("shipped", FIGURES, {}, "The settings that the task ships with", Style(_BLACK, "-", "s"))
VARIANTS: Mapping[str, Variant] = {
    variant.name: variant for variant in (POLICY, SHIPPED, *_noise_kinds(), *_presets(), *_layers())
}
"""By name, in the order of the tables."""
QUICK_VARIANTS = ("policy", "shipped", "white", "demo_layer")
"""Those of a quick look."""
