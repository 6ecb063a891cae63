"""One epoch of an ensemble's fit: seven Gaussian networks, each on its own bootstrap of the same transitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bench_support import those_there
from learning_contenders import OURS, Case, Contender

ENVIRONMENT = "HalfCheetah-v5"
MEMBERS, LAYERS, UNITS, BATCH, SAMPLES = 7, 4, 200, 256, 10_000
INPUTS, OUTPUTS = 17 + 6, 17 + 1
"""Observation and action; change of the observation and reward. A mean and a logarithm of a variance of each."""
_LEARNING_RATE = 1e-3
_WEIGHT_DECAY = 1e-5


def ensemble_case() -> Case:
    """Ours beside mbrl-lib's."""
    contenders, absent = those_there({"torch": _ours, "mbrl": _mbrl})
    return Case(contenders, absent, {})


def _data() -> tuple[Any, Any]:
    """Standardised inputs and outputs of a function with noise."""
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((SAMPLES, INPUTS)).astype(np.float32)
    outputs = np.tanh(inputs @ generator.standard_normal((INPUTS, OUTPUTS)).astype(np.float32) / 5)
    return inputs, (outputs + 0.1 * generator.standard_normal(outputs.shape)).astype(np.float32)


def _ours() -> Sequence[Contender]:
    """The gradient steps of ``EnsembleFitter``.

    Raises:
        ImportError: PyTorch is not there.
    """
    import torch  # noqa: PLC0415 - optional

    torch.set_num_threads(1)
    return [Contender(OURS, ensemble_epoch())]


def ensemble_fitter() -> tuple[Any, Any]:
    """Our fitter with the settings of the comparison, and its examples.

    Raises:
        ImportError: PyTorch is not there.
    """
    import torch  # noqa: PLC0415 - optional

    from demo_control.learning.gymnasium_environments import gymnasium_problem  # noqa: PLC0415
    from demo_control.learning.model_based.fitting import EnsembleFitter, Examples  # noqa: PLC0415
    from demo_control.learning.model_based.planning_problem import planning_task  # noqa: PLC0415
    from demo_control.learning.model_based.settings import ModelSettings  # noqa: PLC0415

    settings = ModelSettings(
        num_members=MEMBERS,
        hidden_layers=LAYERS,
        hidden_units=UNITS,
        activation="silu",
        batch_size=BATCH,
        learning_rate=_LEARNING_RATE,
        weight_decay=_WEIGHT_DECAY,
        variance_weighting=0.0,  # the Gaussian likelihood itself, as mbrl-lib's
    )
    fitter = EnsembleFitter(planning_task(gymnasium_problem(ENVIRONMENT)), settings, seed=0)
    assert fitter.networks.sizes == (INPUTS, *[UNITS] * LAYERS, 2 * OUTPUTS)
    return fitter, Examples(*(torch.from_numpy(part) for part in _data()))


def ensemble_epoch() -> Callable[[], float]:
    """What does one epoch with our fitter.

    Raises:
        ImportError: PyTorch is not there.
    """
    fitter, examples = ensemble_fitter()
    generator = np.random.default_rng(0)

    def epoch() -> float:
        order = np.stack([generator.permutation(SAMPLES) for _ in range(MEMBERS)])
        for first in range(0, SAMPLES, BATCH):
            fitter.step(examples, order[:, first : first + BATCH])
        return 1.0

    return epoch


def _mbrl() -> Sequence[Contender]:
    """mbrl-lib's ``ModelTrainer`` on its ``GaussianMLP``, without its evaluation of the model.

    Raises:
        ImportError: It is not there.
    """
    import torch  # noqa: PLC0415 - optional
    from mbrl.models import GaussianMLP, ModelTrainer, OneDTransitionRewardModel  # noqa: PLC0415 - optional
    from mbrl.types import TransitionBatch  # noqa: PLC0415 - optional
    from mbrl.util.replay_buffer import BootstrapIterator  # noqa: PLC0415 - optional

    torch.set_num_threads(1)
    network = GaussianMLP(
        in_size=INPUTS,
        out_size=OUTPUTS,
        device="cpu",
        num_layers=LAYERS,
        ensemble_size=MEMBERS,
        hid_size=UNITS,
        activation_fn_cfg={"_target_": "torch.nn.SiLU"},
    )
    model = OneDTransitionRewardModel(network, target_is_delta=True, normalize=False, learned_rewards=True)
    trainer = ModelTrainer(model, optim_lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    inputs, outputs = _data()
    x, u = inputs[:, : OUTPUTS - 1], inputs[:, OUTPUTS - 1 :]
    none = np.zeros(SAMPLES, dtype=bool)
    transitions = TransitionBatch(x, u, x + outputs[:, :-1], outputs[:, -1], none, none)
    batches = BootstrapIterator(transitions, BATCH, MEMBERS, shuffle_each_epoch=True, rng=np.random.default_rng(0))

    def epoch() -> float:
        trainer.train(batches, num_epochs=1, evaluate=False, silent=True)
        return 1.0

    return [Contender("mbrl", epoch)]
