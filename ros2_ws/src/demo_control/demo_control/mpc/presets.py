"""Presets: the methods that this frame contains, each a row of the thesis's table as settings.

A preset fixes what characterises a method. Horizon, number of samples, spread of the noise and the weights of the cost
are the problem's, so they stay as the task has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.mpc.settings import PlannerSettings

_ONE_SAMPLE = 1e-6

_PLAIN: Mapping[str, Scalar] = {
    "step_size": 1.0,
    "step_size_schedule": "constant",
    "mirror_steps": 1,
    "mirror_step_tolerance": 0.0,
    "sample_decay": 1.0,
    "answer": "mean",
    "bounds": "clip",
    "noise": "white",
    "noise_last_share": 1.0,
    "noise_held_share": 0.0,
    "noise_smallest_share": 1.0,
    "covariance": "fixed",
    "carry_covariance": False,
    "keep_elites": 0.0,
    "remembered_share": 1.0,
    "elite_weighting": "uniform",
    "ensemble": "split",
}
"""What a method does not say otherwise."""

_NO_TERMINAL_COST: Mapping[str, Scalar] = {"terminal_weight": 0.0, "value_weight": 0.0}
_VALUE: Mapping[str, Scalar] = {"terminal_weight": 0.0, "value_weight": 1.0}
_SOFTMAX: Mapping[str, Scalar] = {
    "utility": "exponential", "temperature": 0.1, "temperature_scale": "standard_deviation",
}  # fmt: skip
_ELITES: Mapping[str, Scalar] = {"utility": "elite_fraction", "elite_fraction": 0.1}
_CEM: Mapping[str, Scalar] = {
    **_ELITES, **_NO_TERMINAL_COST, "shift": "shift_and_repeat", "mirror_steps": 5, "covariance": "adapted",
    "covariance_step_size": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """A method.

    Attributes:
        name: For configuration.
        source: Where it was published.
        used_for: What its plans are for: acting, or data for another learner.
        settings: Names and values of planner settings.
        text: What is particular about it.
    """

    name: str
    source: str
    used_for: str
    settings: Mapping[str, Scalar]
    text: str

    @property
    def terminal_cost(self) -> str:
        """'task', 'value', 'none': what counts at the end of the horizon."""
        if "terminal_weight" not in self.settings:
            return "task"
        return "value" if self.settings["value_weight"] else "none"

    @property
    def mirror_steps(self) -> str:
        """How many per plan, or 'task': as many as the task says."""
        return str(self.settings.get("mirror_steps", "task"))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                "mppi", "Williams et al. 2017", "acting",
                {**_PLAIN, **_SOFTMAX, "shift": "shift_and_repeat"},
                "Softmax of the costs around the previous plan.",
            ),
            Preset(
                "cem", "Rubinstein 1999; Kobilarov 2012", "acting",
                {**_PLAIN, **_CEM},
                "Elites, several times per plan, with a covariance that follows them.",
            ),
            Preset(
                "pets", "Chua et al. 2018", "acting",
                {**_PLAIN, **_CEM, "ensemble": "mean", "covariance_step_size": 0.9, "step_size": 0.9},
                "CEM whose samples meet every member of the ensemble; their mean cost counts.",
            ),
            Preset(
                "icem", "Pinneri et al. 2020", "acting",
                {**_PLAIN, **_CEM, "mirror_steps": 3, "noise": "coloured", "noise_colour_exponent": 2.0,
                 "keep_elites": 0.3, "sample_decay": 1.25, "answer": "best", "step_size": 0.9,
                 "covariance_step_size": 0.9},
                "CEM with coloured noise, kept elites, fewer samples each time; the best sample is played.",
            ),
            Preset(
                "polo", "Lowrey et al. 2019", "acting",
                {**_PLAIN, **_SOFTMAX, **_VALUE, "shift": "shift_and_repeat"},
                "MPPI with a learned value at the end of the horizon.",
            ),
            Preset(
                "mopac", "Morgan et al. 2021", "data",
                {**_PLAIN, **_SOFTMAX, **_VALUE, "shift": "policy"},
                "MPPI around the policy, whose plans are data for SAC.",
            ),
            Preset(
                "mbpo", "Janner et al. 2019", "data",
                {**_PLAIN, **_VALUE, "shift": "policy", "mirror_steps": 0, "step_size": 0.0},
                "No mirror step: the policy's own rollouts on the model.",
            ),
            Preset(
                "topdm", "Charlesworth & Montana 2021", "acting",
                {**_PLAIN, "utility": "elite_fraction", "elite_fraction": _ONE_SAMPLE, "shift": "shift_and_repeat",
                 "mirror_steps": 5, "noise_smallest_share": 0.1, "noise_held_share": 0.2},
                "The best sample becomes the plan, several times; noise of many sizes around it.",
            ),
            Preset(
                "demo_rl", "Samineni 2021; Mishra et al. 2022", "data",
                {**_PLAIN, **_ELITES, **_VALUE, "shift": "policy", "step_size": 0.6},
                "DeMoRL: a step from the policy towards the elites; data for SAC.",
            ),
            Preset(
                "demo_layer", "Samineni 2021, section 3.3; hybrid shift ours", "acting",
                {**_ELITES, "shift": "hybrid", "step_size": 0.6},
                "The DeMo Layer as it measured best: around the policy and the previous plan.",
            ),
            Preset(
                "demo_layer_thesis", "Samineni 2021, section 3.3", "acting",
                {**_ELITES, "shift": "policy", "step_size": 0.9},
                "The DeMo Layer with the thesis's pure policy shift.",
            ),
        )
    }
)  # fmt: skip
"""By name."""


def preset(name: str) -> Mapping[str, Scalar]:
    """The settings of a preset.

    Raises:
        ConfigurationError: No such preset.
    """
    if name not in PRESETS:
        raise ConfigurationError(f"preset = '{name}': must be one of {', '.join(PRESETS)}")
    return PRESETS[name].settings


def settings_of(name: str) -> PlannerSettings:
    """A preset's settings, those it leaves to the task at their defaults.

    Raises:
        ConfigurationError: No such preset.
    """
    return PlannerSettings.from_mapping(preset(name), source=f"preset '{name}'")
