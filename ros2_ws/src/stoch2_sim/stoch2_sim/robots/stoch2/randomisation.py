"""The paper's randomisation of robot, ground and push, one draw for each episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stoch2_sim.robots.stoch2.episode import Episode, Push

SLOPES_DEG = (5.0, 7.0, 9.0, 11.0)
ORIENTATIONS_DEG = tuple(15.0 * step for step in range(7))
WEDGE_FRICTION = 0.7
"""Of the paper's ground; Bullet multiplies it by the foot's."""

_EXTRA_MASSES_KG = (0.0, 0.05, 0.10, 0.15)
_EXTRA_MASS_X_M = 0.1396
"""Where the front half's mass sits, and as far behind the back half's."""
_FORCES_N = (0.0, 60.0, -60.0, 100.0, -100.0)
_PUSH_TICK, _PUSH_TICKS = 150, 6


def randomised(episode: Episode, generator: np.random.Generator) -> Episode:
    """An episode on a slope as the paper draws it, otherwise like the given one.

    Source: StochLab/SlopedTerrainLinearPolicy, ranges of its domain randomisation.

    Args:
        episode: What is not drawn is taken from it; its pushes come in addition.
        generator: Draws.
    """
    front, back = generator.choice(_EXTRA_MASSES_KG, 2)
    payload = float(front + back)
    robot = replace(
        episode.robot,
        terrain="slope",
        slope_deg=float(generator.choice(SLOPES_DEG)),
        orientation_deg=float(generator.choice(ORIENTATIONS_DEG)),
        friction=WEDGE_FRICTION * float(np.clip(generator.normal(0.6, 0.08), 0.55, 0.8)),
        payload_kg=payload,
        payload_x_m=_EXTRA_MASS_X_M * float(front - back) / payload if payload else 0.0,
        torque_limit_nm=float(np.clip(generator.normal(6.5, 0.4), 5.0, 8.0)),
    )
    force = float(generator.choice(_FORCES_N))
    pushes = (Push(_PUSH_TICK, _PUSH_TICKS, (0.0, force, 0.0)),) if force else ()
    return replace(episode, robot=robot, pushes=(*episode.pushes, *pushes))
