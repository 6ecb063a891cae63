"""Settings of the loop, by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from demo_control.configuration import ConfigurationError, Scalar, Settings, setting
from demo_control.learning.precision import PRECISIONS
from demo_control.learning.sac import SacSettings
from demo_control.mpc import PlannerSettings
from demo_control.mpc.presets import preset

METHODS: Mapping[str, str | None] = MappingProxyType(
    {"sac": None, "mbpo": "mbpo", "mopac": "mopac", "demo_rl": "demo_rl"}
)
"""By name: the planner's preset that makes data from the model, or None for no model."""

STORED = ("plan", "policy_along_plan")
GATES = ("none", "members", "votes", "disagreement")


@dataclass(frozen=True)
class LoopSettings(Settings):
    """The outer loop."""

    method: str = setting("demo_rl", "Where transitions of the model come from.", choices=METHODS)
    initial_steps: int = setting(250, "Steps with random actions before anything is learned.", minimum=2)
    episode_steps: int = setting(
        0, "Steps after which an episode is broken off while learning, so that more of them begin; 0: the "
        "environment's own limit.", minimum=0,
    )  # fmt: skip
    updates_per_step: int = setting(10, "Gradient steps of SAC per environment step, G.", minimum=0, maximum=1000)
    model_interval: int = setting(250, "Environment steps between two refits of the model.", minimum=1)
    start_states: int = setting(1000, "States that plans start from, per refit.", minimum=1)
    real_share: float = setting(0.5, "Share of the environment's transitions in a batch.", minimum=0.0, maximum=1.0)
    real_share_last: float = setting(-1.0, "The same at the last step, linear in between; -1: constant.", minimum=-1.0,
                                    maximum=1.0)  # fmt: skip
    model_refits_kept: int = setting(
        4, "Refits whose transitions are kept, with plans as long as the planner's.", minimum=1
    )
    first_horizon: int = setting(
        0, "Length of plans at first, growing or falling to the planner's; 0: as that.", minimum=0
    )
    horizon_steps: int = setting(1, "Environment steps over which the horizon changes.", minimum=1)
    stored: str = setting(
        "plan",
        "What is rolled through the model and stored: the plan's actions as they are, or the policy's draws along the "
        "way with the plan's corrections added. Without a mirror step there is no correction: that is MBPO.",
        choices=STORED,
    )
    imagined_noise: float = setting(
        0.0,
        "Standard deviation of noise that is added to every action that is rolled through the model, in half action "
        "ranges: what is learned from may try more than the policy would, and in the model that costs no step. 0: "
        "none, as MBPO's authors.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    gate: str = setting(
        "none",
        "Which plans give way to the policy's actions: none; those that not every member of the model finds better; "
        "each in part, by the share of members that do not (votes: the step size follows the trust); or those where "
        "the members disagree the most.",
        choices=GATES,
    )
    gate_share: float = setting(0.5, "Share of plans that the gate 'disagreement' keeps.", minimum=0.0, maximum=1.0)
    trust_starts: int = setting(32, "States from which plans are tried in the true environment to see whether they "
                                "are better; 0: none.", minimum=0)  # fmt: skip
    trust_steps: int = setting(45, "Steps of such a trial, the plan first and then the policy.", minimum=1)
    matrix_products: str = setting(
        "float32",
        "To what the factors of the networks' matrix products are rounded; sums are in float32. bfloat16 is faster "
        "where the processor multiplies it itself, and changes nothing elsewhere.",
        choices=tuple(PRECISIONS),
    )

    def __post_init__(self) -> None:
        """Validate, also what no range says."""
        super().__post_init__()
        if -1.0 < self.real_share_last < 0.0:
            raise ConfigurationError(
                f"LoopSettings.real_share_last = {self.real_share_last}: must be a share of 0 to 1, or -1 for the same "
                "share at all steps"
            )


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The ensemble and how it is fitted."""

    num_members: int = setting(5, "Networks that are trained.", minimum=1)
    num_elites: int = setting(4, "Members with the lowest hold-out error that are used.", minimum=1)
    hidden_layers: int = setting(3, "Hidden layers of a member.", minimum=1, maximum=8)
    hidden_units: int = setting(128, "Units of a hidden layer.", minimum=1, maximum=4096)
    activation: str = setting("silu", "Activation function.", choices=("tanh", "silu"))
    batch_size: int = setting(256, "Transitions per member and gradient step.", minimum=1)
    learning_rate: float = setting(1e-3, "Of Adam.", minimum=1e-9)
    weight_decay: float = setting(1e-5, "Decoupled weight decay.", minimum=0.0)
    first_steps: int = setting(1000, "Gradient steps of the first fit at most.", minimum=1)
    steps: int = setting(300, "Gradient steps of a refit at most, not epochs: few data need as many.", minimum=1)
    look_interval: int = setting(50, "Gradient steps between two looks at the hold-out.", minimum=1)
    patience: int = setting(5, "Looks without an improvement before a fit ends.", minimum=1)
    held_out_share: float = setting(0.2, "Share of the transitions that are held out.", minimum=0.01, maximum=0.9)
    held_out_most: int = setting(2000, "Held-out transitions looked at, at most.", minimum=1)
    variance_weighting: float = setting(
        0.5, "β of the β-likelihood: 0 is the Gaussian likelihood, 1 fits means as least squares do.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    deviation_floor: float = setting(0.01, "Smallest deviation by which inputs are divided.", minimum=1e-9)

    def __post_init__(self) -> None:
        """Validate, also across fields."""
        super().__post_init__()
        if self.num_elites > self.num_members:
            raise ConfigurationError(
                f"ModelSettings.num_elites = {self.num_elites}: must be at most num_members = {self.num_members}"
            )


_PLANNER_DEFAULTS: Mapping[str, Scalar] = {
    "horizon": 5, "num_samples": 100, "noise_standard_deviation": 0.3, "engine_threads": 1,
}  # fmt: skip


@dataclass(frozen=True)
class TrainerSettings:
    """All groups.

    Attributes:
        loop: The outer loop.
        sac: The learner.
        model: The ensemble.
        planner: How data are planned, with the method's preset; see :mod:`demo_control.mpc.settings`.
    """

    loop: LoopSettings
    sac: SacSettings
    model: ModelSettings
    planner: PlannerSettings

    @classmethod
    def from_mapping(cls, values: Mapping[str, Scalar]) -> TrainerSettings:
        """Settings by ``group.name``; the method's preset lies below what is said of the planner.

        Raises:
            ConfigurationError: An unknown group or name, or a bad value.
        """
        groups: dict[str, dict[str, Scalar]] = {"loop": {}, "sac": {}, "model": {}, "planner": {}}
        for dotted, value in values.items():
            group, _, name = dotted.partition(".")
            if group not in groups:
                raise ConfigurationError(f"setting '{dotted}': its group must be one of {', '.join(groups)}")
            groups[group][name] = value
        loop = LoopSettings.from_mapping(groups["loop"], source="loop")
        sac = SacSettings.from_mapping(groups["sac"], source="sac")
        model = ModelSettings.from_mapping(groups["model"], source="model")
        planned_by = METHODS[loop.method]
        chosen = {**_PLANNER_DEFAULTS, **(preset(planned_by) if planned_by else {})}
        # The reward of a step is told by the state behind it, that of the last one too; see planning_problem.py.
        accounting = {"discount": sac.discount, "terminal_weight": 1.0, "value_weight": sac.discount}
        planner = PlannerSettings.from_mapping({**chosen, **accounting, **groups["planner"]}, source="planner")
        if planned_by and planner.ensemble == "split" and planner.num_samples % model.num_elites:
            raise ConfigurationError(
                f"planner.num_samples = {planner.num_samples}: must be a multiple of model.num_elites = "
                f"{model.num_elites}"
            )
        if planned_by and loop.start_states < model.num_elites:
            raise ConfigurationError(
                f"loop.start_states = {loop.start_states}: must be at least model.num_elites = {model.num_elites}"
            )
        return cls(loop, sac, model, planner)

    def as_mapping(self) -> dict[str, Scalar]:
        """All values by ``group.name``."""
        groups = {"loop": self.loop, "sac": self.sac, "model": self.model, "planner": self.planner}
        return {f"{group}.{name}": value for group, part in groups.items() for name, value in part.as_mapping().items()}
