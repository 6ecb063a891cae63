"""Settings of the planner."""

from __future__ import annotations

from dataclasses import dataclass

from demo_control.configuration import Settings, setting
from demo_control.mpc.distribution import BOUNDS, COVARIANCES
from demo_control.mpc.ensemble_use import ENSEMBLE_USES
from demo_control.mpc.mirror_step import STEP_SIZES
from demo_control.mpc.noise import NOISES
from demo_control.mpc.shift_models import SHIFT_MODELS
from demo_control.mpc.utilities import ELITE_WEIGHTINGS, TEMPERATURE_SCALES, UTILITIES
from demo_control.rollout.selection import ENGINES

ANSWERS = ("mean", "best")


@dataclass(frozen=True)
class PlannerSettings(Settings):
    """How a plan is made; symbols as in the paper (Samineni 2021, Wagener et al. 2019)."""

    shift: str = setting("hybrid", "Shift model Φ: where the search starts.", choices=SHIFT_MODELS)
    utility: str = setting("elite_fraction", "Utility J of the cost.", choices=UTILITIES, in_flight=True)
    num_samples: int = setting(128, "Sampled control sequences M per mirror step.", minimum=1, maximum=65536)
    sample_decay: float = setting(
        1.0, "Each further mirror step of a plan draws fewer samples by this factor.", minimum=1.0, maximum=100.0
    )
    horizon: int = setting(35, "Steps H that a plan looks ahead.", minimum=1, maximum=1000)
    step_size: float = setting(
        0.6, "Step size α: 0 keeps what Φ proposed, 1 forgets it.", minimum=0.0, maximum=1.0, in_flight=True
    )
    step_size_schedule: str = setting(
        "constant", "α_t over the plans: α, or α / √t.", choices=STEP_SIZES, in_flight=True
    )
    mirror_steps: int = setting(
        1, "Mirror steps per plan; with 0 the plan is what Φ proposed.", minimum=0, maximum=100, in_flight=True
    )
    mirror_step_tolerance: float = setting(
        0.0,
        "A plan ends with a mirror step that moves it by less than this: Euclidean, in half ranges of the action. 0: "
        "all mirror steps are made.",
        minimum=0.0, in_flight=True,
    )  # fmt: skip
    answer: str = setting(
        "mean", "What the plan is: the mean μ, or the best sample of the last mirror step.",
        choices=ANSWERS, in_flight=True,
    )  # fmt: skip
    bounds: str = setting("clip", "How samples stay within the limits: cut off there, or tanh.", choices=BOUNDS)
    noise: str = setting("white", "Kind of the samples' noise over the horizon.", choices=NOISES)
    noise_standard_deviation: float = setting(
        0.5, "Spread of the samples, as a fraction of half the action range.",
        minimum=0.0, maximum=10.0, in_flight=True,
    )  # fmt: skip
    noise_last_share: float = setting(
        1.0, "Spread at the last step as a share of that at the first.", minimum=1e-3, maximum=1e3, in_flight=True
    )
    noise_colour_exponent: float = setting(
        1.0, "Exponent β of coloured noise, whose power falls with 1/f^β.", minimum=0.0, maximum=10.0
    )
    noise_knots: int = setting(5, "Number of knots of noise made of straight lines.", minimum=1, maximum=1000)
    noise_held_share: float = setting(
        0.0, "Share of the samples whose noise is the same at every step.", minimum=0.0, maximum=1.0, in_flight=True
    )
    noise_smallest_share: float = setting(
        1.0, "Noise of the calmest samples as a share of the wildest; the others lie between.",
        minimum=1e-3, maximum=1.0, in_flight=True,
    )  # fmt: skip
    noise_pool_seed: int = setting(0, "Seed of the table that the noise is taken from.", minimum=0, maximum=2**31 - 1)
    covariance: str = setting(
        "fixed", "Whether the spread is learned from the weighted samples.", choices=COVARIANCES, in_flight=True
    )
    covariance_step_size: float = setting(
        1.0, "Step size β of a learned spread: 0 keeps it, 1 forgets it.", minimum=0.0, maximum=1.0, in_flight=True
    )
    covariance_floor: float = setting(
        0.01, "A learned spread stays above this share of the initial one.", minimum=0.0, maximum=1.0, in_flight=True
    )
    carry_covariance: bool = setting(
        False, "The learned spread moves on with the plan; false: each plan begins with the initial one.",
        in_flight=True,
    )  # fmt: skip
    keep_elites: float = setting(
        0.0, "Share of the elites that are samples again, in the next mirror step and in the next plan.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    remembered_share: float = setting(
        1.0, "What is left of a remembered plan at each plan; the rest is the policy.",
        minimum=0.0, maximum=1.0, in_flight=True,
    )  # fmt: skip
    elite_fraction: float = setting(
        0.1, "Share p of the samples that count as elites.", minimum=1e-6, maximum=1.0, in_flight=True
    )
    elite_weighting: str = setting("uniform", "How elites are weighted.", choices=ELITE_WEIGHTINGS, in_flight=True)
    temperature: float = setting(
        0.05, "Temperature λ of the exponential utility.", minimum=1e-9, maximum=1e9, in_flight=True
    )
    temperature_scale: str = setting(
        "standard_deviation",
        "Unit of the temperature: cost units, the standard deviation of the samples' costs, or the share of the "
        "samples that effectively count.",
        choices=TEMPERATURE_SCALES, in_flight=True,
    )  # fmt: skip
    ensemble: str = setting(
        "split", "How samples meet the model's members: each sample one member, or all, their mean or worst counting.",
        choices=ENSEMBLE_USES,
    )  # fmt: skip
    discount: float = setting(1.0, "Discount γ per step.", minimum=0.0, maximum=1.0, in_flight=True)
    terminal_weight: float = setting(
        20.0, "Factor of the stage cost of the last state, as terminal cost.",
        minimum=0.0, maximum=1e6, in_flight=True,
    )  # fmt: skip
    value_weight: float = setting(
        1.0, "Factor of the terminal cost −V, where the bundle has a value function.",
        minimum=0.0, maximum=1e6, in_flight=True,
    )  # fmt: skip
    command_delay_ticks: int = setting(
        0, "Control periods from a command's observation to its effect, beyond the usual none.",
        minimum=0, maximum=50,
    )  # fmt: skip
    engine: str = setting(
        "auto", "Who makes the rollouts: the compiled kernel, ONNX Runtime, or the kernel where it can.",
        choices=ENGINES,
    )  # fmt: skip
    engine_threads: int = setting(
        0, "Threads that share a long plan's rollouts at most; 0 for one per core.",
        minimum=0, maximum=64,
    )  # fmt: skip
