"""Settings of a refit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from demo_control.configuration import Settings, setting
from demo_control.learning.fitting import FitSettings

_USUAL_SHARE = 0.2


@dataclass(frozen=True)
class RefitSettings(Settings):
    """How a model is adapted to recordings."""

    steps: int = setting(1500, "Most gradient steps.", minimum=1)
    batch_size: int = setting(256, "Stretches per member and step, replayed ones included.", minimum=2)
    learning_rate: float = setting(3e-3, "Peak of the one-cycle learning rate.", minimum=1e-9)
    weight_decay: float = setting(1e-5, "Decoupled weight decay.", minimum=0.0)
    unroll_steps: int = setting(4, "Steps of the model per stretch of data.", minimum=1)
    evaluation_interval: int = setting(50, "Steps between two looks at what says when to stop.", minimum=1)
    patience: int = setting(12, "Looks without an improvement before the fit ends.", minimum=1)
    replay_share: float = setting(
        -1.0,
        "Share of each batch that is rehearsed; 0 for none; negative: 0.2, but none where the layer adapts its model.",
        minimum=-1.0,
        maximum=0.9,
    )
    replay_rounds: int = setting(
        1, "Rounds of the layer that old data are simulated with, where no run's folder is given.", minimum=0
    )
    replay_episodes: int = setting(
        60, "Episodes with random corrections instead, where plans decide on corrections.", minimum=2
    )

    def resolved(self, *, adapts: bool) -> RefitSettings:
        """With the share that holds where none is set.

        Args:
            adapts: Whether the layer adapts the task's model while it runs.
        """
        return self if self.replay_share >= 0.0 else replace(self, replay_share=0.0 if adapts else _USUAL_SHARE)

    def fit_settings(self) -> FitSettings:
        """As the fit takes them."""
        names = {entry.name for entry in FitSettings.entries()}
        return FitSettings.from_mapping({name: value for name, value in self.as_mapping().items() if name in names})
