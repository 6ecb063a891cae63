"""Random streams that depend on a seed and a purpose only, never on what ran before.

A stage that is resumed therefore draws exactly the numbers it would have drawn without the
interrupt, and no generator state has to be stored.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for; the numbers are part of every seeded result and never change."""

    DIRECTIONS = 1
    SEARCH_STARTS = 2
    SEARCH_EVALUATION = 3
    COLLECTION_STARTS = 4
    COLLECTION_ACTIONS = 5
    FIT = 6
    ROUND_STARTS = 7
    ROUND_ACTIONS = 8
    PARITY = 9
    ACCEPTANCE = 10
    CURRICULUM = 12
    CURRICULUM_PLANTS = 13
    EXPLORATION = 14
    DATA_PLANTS = 15
    WEIGHTS = 20
    EPISODE_STARTS = 21
    ACTIONS = 22
    UPDATES = 23
    MODEL_FIT = 24
    MODEL_STARTS = 25
    MODEL_PLANS = 26
    MODEL_ROLLOUTS = 27
    TRUST_STARTS = 28
    EVALUATION_STARTS = 29
    FIGURES = 30
    REFIT_SHARES = 31
    REFIT_REHEARSAL = 32


def stream(seed: int, purpose: Purpose, *indices: int) -> np.random.Generator:
    """The generator of one purpose (and, say, one iteration).

    Args:
        seed: Seed of the whole run, at least 0.
        purpose: What the numbers are for.
        indices: Further keys, for example the iteration and the plant.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(purpose), *indices)))


def streams(seed: int, purpose: Purpose, count: int, *indices: int) -> list[np.random.Generator]:
    """``count`` independent generators of one purpose, one per plant."""
    return [stream(seed, purpose, *indices, plant) for plant in range(count)]
