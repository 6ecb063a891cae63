"""Settings of augmented random search."""

from __future__ import annotations

from dataclasses import dataclass

from demo_control.configuration import ConfigurationError, Settings, setting


@dataclass(frozen=True)
class UpdateSettings(Settings):
    """Settings of an update; names of the paper in brackets, those of :mod:`demo_control.learning.ars_update`, too."""

    variant: str = setting(
        "V2-t",
        "V2 standardises observations; -t uses the best directions only.",
        choices=("V1", "V1-t", "V2", "V2-t"),
    )
    num_directions: int = setting(16, "Directions per update (N); 2N episodes each.", minimum=1)
    num_top_directions: int = setting(8, "Directions the -t variants use (b).", minimum=1)
    step_size: float = setting(0.03, "Step size (alpha), in normalised action units.", minimum=1e-9)
    noise: float = setting(0.05, "Deviation of the directions tried (nu).", minimum=1e-9)
    use_bias: bool = setting(True, "Whether the policy has a constant term.")
    acceleration: str = setting(
        "none",
        "two_step_sizes: the estimate is the gradient of an accelerated scheme.",
        choices=("none", "two_step_sizes"),
    )
    large_step_ratio: float = setting(
        5.0, "The large step size as a multiple of the small one (gamma / alpha).", minimum=1.0
    )
    coupling: float = setting(
        0.1,
        "Share of the sequence with large steps in the policy (tau); what is stable, ars_update.py says.",
        minimum=1e-3,
        maximum=1.0,
    )

    def __post_init__(self) -> None:
        """Validate, also across fields."""
        super().__post_init__()
        if self.num_top_directions > self.num_directions and self.variant.endswith("-t"):
            raise ConfigurationError(
                f"{type(self).__name__}.num_top_directions = {self.num_top_directions}: "
                f"must be at most num_directions = {self.num_directions}"
            )

    @property
    def normalises(self) -> bool:
        """Whether observations are standardised (V2)."""
        return self.variant.startswith("V2")

    @property
    def num_used(self) -> int:
        """Number of directions an update uses."""
        return self.num_top_directions if self.variant.endswith("-t") else self.num_directions


@dataclass(frozen=True)
class SearchSettings(UpdateSettings):
    """Settings of a search on a task."""

    iterations: int = setting(400, "Number of updates.", minimum=1)
    episode_s: float = setting(10.0, "Length of the episodes of the search.", minimum=1e-3)
    evaluation_interval: int = setting(10, "Iterations between two evaluations.", minimum=1)
