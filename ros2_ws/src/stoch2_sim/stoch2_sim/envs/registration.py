"""Names under which Gymnasium finds our environments."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from stoch2_sim.robots.cartpole.parameters import CONTROL_PERIOD_S, EPISODE_S

CARTPOLE_IDS = ("DemoControl/CartpoleSwingup-v0", "CartpoleSwingup-v0")
STOCH2_IDS = ("DemoControl/Stoch2Walk-v0", "Stoch2Walk-v0")
STOCH2_PLANNING_IDS = ("DemoControl/Stoch2WalkPlanning-v0", "Stoch2WalkPlanning-v0")
STOCH2_STEPS = 400

_ENVIRONMENTS = (
    (CARTPOLE_IDS, "cartpole_swingup:CartpoleSwingUpEnv", round(EPISODE_S / CONTROL_PERIOD_S)),
    (STOCH2_IDS, "stoch2_walk:Stoch2WalkEnv", STOCH2_STEPS),
    (STOCH2_PLANNING_IDS, "stoch2_walk:Stoch2WalkPlanningEnv", STOCH2_STEPS),
)
"""Names, class, and length of an episode in control periods."""


def register_environments() -> None:
    """Register each environment, unless the name is taken."""
    for identifiers, entry_point, steps in _ENVIRONMENTS:
        for identifier in identifiers:
            if identifier not in registry:
                register(identifier, entry_point=f"stoch2_sim.envs.{entry_point}", max_episode_steps=steps)
