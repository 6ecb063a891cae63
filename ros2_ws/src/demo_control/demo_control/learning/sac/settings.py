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


@dataclass(frozen=True)
class LearningSettings(Settings):
    """How a policy for a task is learned by soft actor-critic; a step is a control period of one plant."""

    steps: int = setting(100_000, "Steps of all plants together.", minimum=1)
    plants: int = setting(8, "Plants that run side by side.", minimum=1)
    episode_s: float = setting(0.0, "Length of the episodes; 0: the task's.", minimum=0.0)
    initial_steps: int = setting(5_000, "Steps with random actions before anything is learned.", minimum=1)
    residual_share: float = setting(
        0.3,
        "Where the task's search starts from a policy: how much the network may add to each of its actions, as a share "
        "of half the action range.",
        minimum=1e-3, maximum=2.0,
    )  # fmt: skip
    decision_ticks: int = setting(
        1,
        "Control periods for which an action is held while learning, a transition then spanning them all; the policy "
        "that is found is asked at every one. What one action of a fast loop is worth drowns in the critics' errors.",
        minimum=1,
    )
    updates_per_step: float = setting(1.0, "Gradient steps per step.", minimum=0.0, maximum=1000.0)
    capacity: int = setting(300_000, "Latest transitions that are kept to learn from.", minimum=1)
    noise_correlation: float = setting(
        0.0,
        "Correlation of the exploring noise from one action to the next: where actions are many and a robot heavy, "
        "independent noise cancels itself.",
        minimum=0.0, maximum=0.9999,
    )  # fmt: skip
    reward_unit: float = setting(
        1.0, "What a reward of 1 is to the learner: returns of hundreds are slow to learn.", minimum=1e-9
    )
    reward_offset: float = setting(
        0.0,
        "Reward of a control period that counts as nothing: critics begin at zero, and what is expected should be near "
        "that. What a failure misses is counted, so the best policy stays the same.",
    )
    evaluation_interval: int = setting(5, "Batches of episodes between two evaluations.", minimum=1)
    evaluation_episodes: int = setting(10, "Episodes of one, where the task does not say it.", minimum=1)
