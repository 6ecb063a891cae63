"""What a model knows, put into data before it is trained on: its own predictions where its training data were.

The old data themselves tell of other robots than the one that was recorded; fitted to both, a network without memory
would land between them. So only their states and controls are used. What follows is what the old model says, drawn from
its predicted distribution, and where the layer adapts the model while it runs, scaled as it would be there by what the
recordings show (a longer pole turns by 0.65 of what was expected): the shape of what was learned stays where the
recordings do not reach, for this robot.
(Rehearsal on a network's own answers: A. Robins, *Catastrophic forgetting, rehearsal and pseudorehearsal*, Connection
Science 7, 1995.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from demo_control.learning.dataset import Windows
from demo_control.learning.ensemble import Ensemble
from demo_control.learning.episodes import Episode
from demo_control.tasks import Array
from demo_control.transitions import learned_outputs

_PRIOR_SHARE = 0.05
"""Of the predictions' squares: so much says that the model is right as it is."""

_LARGEST_FACTOR = 5.0


def change_factors(ensemble: Ensemble, episodes: Sequence[Episode], *, adapted: bool) -> Array:
    """What each learned quantity is of what the model says, by ridge regression towards 1. Shape=(num_outputs,).

    Entries on a unit circle keep theirs: they follow from an angle whose rate is scaled. So do quantities that are not
    changes of entries.

    Args:
        ensemble: The old model.
        episodes: Of the recordings.
        adapted: Whether a factor is what the model's errors on this robot are like; else all are 1.
    """
    task = ensemble.task
    windows = Windows.of(episodes, 1)
    x, u = windows.take(windows.starts)
    said, _ = _outputs(ensemble, _tensor(x[:, 0]), _tensor(u[:, 0]))
    if not adapted or task.transition is not None:
        return np.ones(said.shape[-1])
    mean = said.mean(dim=0).numpy().astype(float)
    wanted = learned_outputs(task, x[:, 0], x[:, 1], u[:, 0])
    squares = np.square(mean).sum(axis=0)
    prior = _PRIOR_SHARE * squares + 1e-12
    factors = (prior + (wanted * mean).sum(axis=0)) / (prior + squares)
    circles = {name for pair in task.unit_circles for name in pair}
    free = np.array([quantity.name not in circles for quantity in task.observation])
    return np.asarray(np.where(free, np.clip(factors, 1.0 / _LARGEST_FACTOR, _LARGEST_FACTOR), 1.0))


def rehearsed(
    ensemble: Ensemble, episodes: Sequence[Episode], factors: Array, length: int, generator: np.random.Generator
) -> tuple[Episode, ...]:
    """Short episodes from states of old ones along their controls, as a member of the model predicts them.

    Args:
        ensemble: The old model.
        episodes: The old data.
        factors: See :func:`change_factors`.
        length: Transitions of each episode.
        generator: Chooses the members, and draws from what they predict.
    """
    windows = Windows.of(episodes, length)
    x, u = windows.take(windows.starts[::length])
    rows = torch.arange(len(x))
    member = torch.from_numpy(generator.integers(ensemble.num_members, size=len(x)))
    scale, states = _tensor(factors), [_tensor(x[:, 0])]
    for step in range(length):
        control = _tensor(u[:, step])
        said, deviations = (values[member, rows] for values in _outputs(ensemble, states[-1], control))
        drawn = scale * said + deviations * _tensor(generator.standard_normal(said.shape))
        with torch.no_grad():
            standardised = (drawn - ensemble.output_mean) / ensemble.output_scale
            states.append(ensemble.moved(states[-1], control, standardised))
    observations = torch.stack(states, dim=1).numpy().astype(float)
    good = np.isfinite(observations).all(axis=(1, 2))
    return tuple(Episode(seen, done) for seen, done in zip(observations[good], u[good], strict=True))


def _outputs(ensemble: Ensemble, observations: Tensor, controls: Tensor) -> tuple[Tensor, Tensor]:
    """What each member says of the learned quantities, and their deviations. Shape=(members, batch, num_outputs)."""
    members = ensemble.num_members
    with torch.no_grad():
        mean, log_variance = ensemble.standardised(
            observations.expand(members, -1, -1), controls.expand(members, -1, -1)
        )
        deviation = torch.exp(0.5 * log_variance) * ensemble.output_scale
        return mean * ensemble.output_scale + ensemble.output_mean, deviation


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
