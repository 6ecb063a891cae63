"""Names under which Gymnasium finds our environments."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from stoch2_sim.robots.cartpole.parameters import CONTROL_PERIOD_S, EPISODE_S

CARTPOLE_IDS = ("DemoControl/CartpoleSwingup-v0", "CartpoleSwingup-v0")


def register_environments() -> None:
    """Register each environment, unless the name is taken."""
    for identifier in CARTPOLE_IDS:
        if identifier not in registry:
            register(
                identifier,
                entry_point="stoch2_sim.envs.cartpole_swingup:CartpoleSwingUpEnv",
                max_episode_steps=round(EPISODE_S / CONTROL_PERIOD_S),
            )
