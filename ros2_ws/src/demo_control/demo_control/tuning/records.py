"""What is looked for, and what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from demo_control.configuration import ConfigurationError, Settings, setting

_SEARCH_S = 1.0
_FEWEST_PLANS = 20
_MOST_PLANS = 100


@dataclass(frozen=True)
class TuningGoal(Settings):
    """What a proposal must hold, and the sizes among which it is looked for."""

    period_ms: float = setting(20.0, "Time between two plans.", minimum=0.1, maximum=60_000.0)
    share: float = setting(0.8, "Share of the period that a plan may take.", minimum=0.01, maximum=1.0)
    quantile: float = setting(0.99, "Share of the plans that must keep to it.", minimum=0.5, maximum=0.9999)
    plans: int = setting(300, "Plans by which a proposal is verified.", minimum=20, maximum=100_000)
    minimum_samples: int = setting(
        32, "With fewer samples a shorter horizon is tried instead.", minimum=1, maximum=65536
    )
    maximum_samples: int = setting(4096, "More samples are not tried.", minimum=1, maximum=65536)
    minimum_horizon: int = setting(5, "Shorter horizons are not tried.", minimum=1, maximum=1000)

    def __post_init__(self) -> None:
        """Check what spans several fields, too."""
        super().__post_init__()
        if self.maximum_samples < self.minimum_samples:
            raise ConfigurationError(
                f"maximum_samples = {self.maximum_samples}: must be at least minimum_samples = {self.minimum_samples}"
            )

    @property
    def deadline_s(self) -> float:
        """How long a plan may take."""
        return 1e-3 * self.share * self.period_ms

    def late_plans(self, plans: int) -> int:
        """How many of some plans may take longer."""
        return math.floor(round((1.0 - self.quantile) * plans, 9))

    @property
    def search_plans(self) -> int:
        """Plans of each size that is tried on the way: about a second of them."""
        return max(_FEWEST_PLANS, min(self.plans, int(_SEARCH_S / self.deadline_s), _MOST_PLANS))


@dataclass(frozen=True)
class Candidate:
    """Settings whose plans are timed."""

    engine: str
    threads: int
    horizon: int
    num_samples: int


@dataclass(frozen=True)
class Measurement:
    """How long a candidate's plans took.

    Attributes:
        candidate: What was measured.
        plans: How many plans; fewer than asked for where so many were late that nothing could change it.
        median_s: Half of them took at most that.
        quantile_s: The goal's share of them took at most that.
        longest_s: All of them did.
    """

    candidate: Candidate
    plans: int
    median_s: float
    quantile_s: float
    longest_s: float


@dataclass(frozen=True)
class Tuned:
    """The outcome.

    Attributes:
        proposal: The verified one, or None where nothing holds.
        measured: Everything, in order.
    """

    proposal: Measurement | None
    measured: tuple[Measurement, ...]

    @property
    def fastest(self) -> Measurement:
        """What took least time."""
        return min(self.measured, key=lambda measurement: measurement.quantile_s)
