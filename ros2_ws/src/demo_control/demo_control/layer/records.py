"""What the layer says: corrections, plans, reports and counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from demo_control.configuration import Scalar
from demo_control.mpc import Previous
from demo_control.tasks import Array

SOURCE_POLICY = "policy"
SOURCE_LAYER = "demo_layer"
FALLBACK_REASONS = (
    "disabled",
    "no_plan",
    "plan_rejected",
    "stale_plan",
    "non_finite_correction",
    "wrong_shape",
    "non_finite_nominal",
)
"""Why a nominal action passed through (or, for the last two, was not answered at all)."""


@dataclass(frozen=True)
class Correction:
    """Answer to a nominal action.

    Attributes:
        values: The command, or None: nothing must be sent. Shape=(action_dim,).
        source: 'demo_layer' where corrected, 'policy' where the nominal action passed through.
        reason: Why it was not corrected; '' where it was.
        plans: Number of the newest plan there was, 0 before the first: with it a recording can be answered again.
        control: What was decided, in the planning problem's terms: the command, or the correction where plans decide on
            corrections. Shape=(control_dim,).
    """

    values: Array | None
    source: str
    reason: str
    plans: int = 0
    control: Array | None = None


@dataclass(frozen=True)
class Plan:
    """A plan in use.

    Attributes:
        first_sequence: Number of the first observation that step 0 answers.
        search: What the next search needs of it.
        policy_actions: The policy's predicted answers. Shape=(horizon, control_dim).
        controls: What is followed: a share of μ, the rest of the policy's answers. Shape=(horizon, control_dim).
        rejection_reason: '' for an accepted plan.
        number: The layer's plans are counted from 1 on.
        before: What is in force until this plan begins, or None.
    """

    first_sequence: int
    search: Previous
    policy_actions: Array
    controls: Array
    rejection_reason: str = ""
    number: int = 0
    before: Plan | None = None


@dataclass(frozen=True)
class PlanReport:
    """All that is published of one plan; units and shapes as in PlannerStatus."""

    observation_sequence: int
    num_samples: int
    horizon: int
    effective_sample_size: float
    cost_terms: tuple[str, ...]
    nominal_costs: tuple[float, ...]
    plan_costs: tuple[float, ...]
    nominal_cost: float
    plan_cost: float
    predicted_gain: float
    ensemble_disagreement: float
    accepted: bool
    rejection_reason: str
    followed_share: float
    path_length: float
    regret: float
    realised_cost: float
    plan_time_s: float = 0.0


@dataclass(frozen=True)
class LayerState:
    """What the layer's answers depend on besides its inputs, and from when on.

    Attributes:
        commands: Commands made before; it holds from the next one on.
        plans: Plans begun before; it holds from the next one on.
        bundle_sha256: Of the bundle in use.
        seed: Of the noise.
        engine: Which engine makes the rollouts, and why.
        settings: All of the layer's, by name.
        cost_weights: By name of the term.
    """

    commands: int
    plans: int
    bundle_sha256: str
    seed: int
    engine: str
    settings: Mapping[str, Scalar]
    cost_weights: Mapping[str, float]


@dataclass(frozen=True)
class TrialEnd:
    """How the trial of a swapped bundle ended.

    Attributes:
        sha256: Of the bundle that was on trial.
        text: What its predictions were like, for people.
        state: What is in force since the bundle before is back; None where the new one stays.
    """

    sha256: str
    text: str
    state: LayerState | None


@dataclass
class Counters:
    """What happened since the start.

    Attributes:
        commands: Nominal actions answered with a command.
        plans: Plans made.
        overruns: Plans not started in time because the one before was not done.
        fallbacks: Nominal actions that passed through or were not answered, by reason.
    """

    commands: int = 0
    plans: int = 0
    overruns: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)
