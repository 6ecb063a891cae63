"""Gradient steps of soft actor-critic, each with its batch from a replay buffer and its random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from bench_support import DifferentResultsError, those_there
from learning_contenders import OURS, OURS_IN_BFLOAT16, Case, Contender

OBSERVATIONS, ACTIONS, BATCH = 17, 6, 256
"""The half-cheetah's; two hidden layers of 256 units."""
UPDATES = 10
"""Of a contender before it is the next one's turn."""
MAXIMUM_DIFFERENCE = 1e-4
"""Between the change of a network by one update of ours and of automatic differentiation, relative; in float32."""
_TRANSITIONS = 10_000


def sac_case() -> Case:
    """Ours beside plain PyTorch and stable-baselines3.

    Raises:
        DifferentResultsError: Ours and plain PyTorch do not do the same.
    """
    differences: dict[str, float] = {}
    makers = {"torch": partial(_torch, differences), "stable_baselines3": _stable_baselines3}
    contenders, absent = those_there(makers)
    return Case(contenders, absent, differences)


def _torch(differences: dict[str, float]) -> Sequence[Contender]:
    """Ours, which needs PyTorch too, and the same with its automatic differentiation.

    Raises:
        ImportError: It is not there.
    """
    import torch  # noqa: PLC0415 - optional
    from learning_autograd import AutogradActorCritic, random_rows  # noqa: PLC0415

    from demo_control.learning.precision import matrix_products  # noqa: PLC0415
    from demo_control.learning.sac import ReplayBuffer, RowLayout, SacSettings, SoftActorCritic  # noqa: PLC0415

    torch.set_num_threads(1)
    layout = RowLayout(OBSERVATIONS, ACTIONS)
    ours = SoftActorCritic(layout, SacSettings(), seed=0)
    autograd = AutogradActorCritic(ours)
    buffer = ReplayBuffer(layout, _TRANSITIONS)
    buffer.add(random_rows(layout, _TRANSITIONS, seed=0))
    generator = np.random.default_rng(1)
    batch = np.empty((BATCH, layout.width), np.float32)

    def updates(update: Callable[[Any, Any], None], count: int = UPDATES) -> float:
        for _ in range(count):
            buffer.take(generator.integers(len(buffer), size=BATCH), batch)
            update(batch, generator.standard_normal((2, BATCH, ACTIONS), dtype=np.float32))
        return float(count)

    buffer.take(generator.integers(len(buffer), size=BATCH), batch)
    differences["autograd"] = _difference(ours, autograd, batch, generator)
    rounded = SoftActorCritic(layout, SacSettings(), seed=0)

    def updates_in_bfloat16() -> float:
        with matrix_products("bfloat16"):
            return updates(rounded.update)

    return [
        Contender(OURS, partial(updates, ours.update)),
        Contender(OURS_IN_BFLOAT16, updates_in_bfloat16),
        Contender("autograd", partial(updates, autograd.update)),
    ]


def _difference(ours: Any, autograd: Any, batch: Any, generator: np.random.Generator) -> float:  # noqa: ANN401
    """Of the changes of the weights by one update, the largest of all networks; relative, in the Euclidean norm.

    Raises:
        DifferentResultsError: It is too large.
    """
    from learning_autograd import parameters_of  # noqa: PLC0415 - optional

    before = parameters_of(ours)
    noise = generator.standard_normal((2, BATCH, ACTIONS), dtype=np.float32)
    ours.update(batch, noise)
    autograd.update(batch, noise)
    mine, theirs = parameters_of(ours), autograd.parameters()
    found = {name: float((mine[name] - theirs[name]).norm() / (theirs[name] - before[name]).norm()) for name in before}
    worst = max(found, key=lambda name: found[name])
    if not found[worst] <= MAXIMUM_DIFFERENCE:
        raise DifferentResultsError(
            f"autograd: an update changes the {worst} differently from ours, by {found[worst]:.1e} of the change, "
            f"more than {MAXIMUM_DIFFERENCE:.0e}"
        )
    return found[worst]


def _stable_baselines3() -> Sequence[Contender]:
    """The ``train()`` of its SAC, from its own replay buffer.

    Raises:
        ImportError: It is not there.
    """
    import torch  # noqa: PLC0415 - optional
    from gymnasium import Env, spaces  # noqa: PLC0415
    from stable_baselines3 import SAC  # noqa: PLC0415 - optional
    from stable_baselines3.common.logger import Logger  # noqa: PLC0415 - optional

    class Spaces(Env[Any, Any]):
        """Nothing but the sizes."""

        observation_space = spaces.Box(-np.inf, np.inf, (OBSERVATIONS,), np.float64)
        action_space = spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)

    torch.set_num_threads(1)
    learner = SAC("MlpPolicy", Spaces(), batch_size=BATCH, buffer_size=_TRANSITIONS, device="cpu", seed=0)
    learner.set_logger(Logger(None, []))
    generator = np.random.default_rng(0)
    assert learner.replay_buffer is not None
    for _ in range(_TRANSITIONS):
        x, x_next = generator.standard_normal((2, 1, OBSERVATIONS))
        reward, done = generator.standard_normal(1), np.array([generator.random() < 0.01])
        learner.replay_buffer.add(x, x_next, generator.uniform(-1, 1, (1, ACTIONS)), reward, done, [{}])

    def updates() -> float:
        learner.train(UPDATES, BATCH)
        return float(UPDATES)

    return [Contender("stable_baselines3", updates)]
