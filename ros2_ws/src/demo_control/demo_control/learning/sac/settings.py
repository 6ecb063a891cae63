"""Settings of soft actor-critic."""

from __future__ import annotations

from dataclasses import dataclass

from demo_control.configuration import Settings, setting


@dataclass(frozen=True)
class SacSettings(Settings):
    """How soft actor-critic learns; the defaults are those of the paper and of the common implementations."""

    hidden_layers: int = setting(2, "Hidden layers of policy and critics.", minimum=1, maximum=8)
    hidden_units: int = setting(256, "Units of a hidden layer.", minimum=1, maximum=4096)
    batch_size: int = setting(256, "Transitions per gradient step.", minimum=1)
    learning_rate: float = setting(3e-4, "Of policy, critics and temperature.", minimum=1e-9)
    discount: float = setting(0.99, "γ per step.", minimum=0.0, maximum=1.0)
    target_step: float = setting(0.005, "τ: share by which target critics follow the critics.", minimum=0.0, maximum=1)
    target_entropy_per_action: float = setting(
        -1.0, "Entropy that the temperature is tuned for, per action entry, the range of an action being -1 to 1."
    )
    initial_temperature: float = setting(1.0, "Weight of the entropy at the start.", minimum=1e-9)
